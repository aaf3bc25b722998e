//! The bounded beginning of an answer, without the thinking some models put before it.

/// Characters kept.
const KEPT: usize = 700;
/// Tags around thinking, opening and closing.
const THINKING: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    (
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
    ),
];

/// Where the text is.
#[derive(Debug, Clone, Copy, Default)]
enum At {
    /// Before the first character that tells whether thinking comes.
    #[default]
    Start,
    /// In thinking, until this tag.
    Thinking(&'static str),
    /// In the answer.
    Answer,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Head {
    at: At,
    kept: String,
    chars: usize,
}

impl Head {
    /// Takes in the next text.
    pub(super) fn push(&mut self, text: &str) {
        let mut chars = text.chars();
        loop {
            if matches!(self.at, At::Answer) {
                let rest = chars.as_str();
                let room = KEPT.saturating_sub(self.chars);
                if room > 0 {
                    let end = rest
                        .char_indices()
                        .nth(room)
                        .map_or(rest.len(), |(end, _)| end);
                    self.kept.push_str(&rest[..end]);
                }
                self.chars = self.chars.saturating_add(rest.chars().count());
                return;
            }
            let Some(next) = chars.next() else { return };
            self.one(next);
        }
    }

    /// A character before the answer is known to have begun.
    fn one(&mut self, next: char) {
        match self.at {
            At::Start => {
                if self.kept.is_empty() && (next.is_whitespace() || next == '\u{feff}') {
                    return;
                }
                self.kept.push(next);
                if let Some((_, close)) = THINKING.iter().find(|(open, _)| *open == self.kept) {
                    self.kept.clear();
                    self.at = At::Thinking(close);
                } else if !THINKING
                    .iter()
                    .any(|(open, _)| open.starts_with(self.kept.as_str()))
                {
                    self.chars = self.kept.chars().count();
                    self.at = At::Answer;
                }
            }
            At::Thinking(close) => {
                // `kept` is as much of the closing tag as has been seen.
                self.kept.push(next);
                while !self.kept.is_empty() && !close.starts_with(self.kept.as_str()) {
                    self.kept.remove(0);
                }
                if self.kept == close {
                    self.kept.clear();
                    self.at = At::Start;
                }
            }
            At::Answer => {}
        }
    }

    /// The head of the answer.
    pub(super) fn as_str(&self) -> &str {
        if matches!(self.at, At::Thinking(_)) {
            ""
        } else {
            &self.kept
        }
    }

    /// Characters of the answer so far, the ones not kept included.
    pub(super) fn passed(&self) -> usize {
        self.chars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, cut: usize) -> String {
        let mut head = Head::default();
        let chars: Vec<char> = text.chars().collect();
        for part in chars.chunks(cut) {
            head.push(&part.iter().collect::<String>());
        }
        head.as_str().to_owned()
    }

    #[test]
    fn thinking_is_left_out_wherever_it_is_cut() {
        for cut in 1..12 {
            assert_eq!(
                read(" \n<think>a </thi b</think>\n\nHello < you", cut),
                "Hello < you"
            );
            assert_eq!(read("<thinking>x</thinking>Hi", cut), "Hi");
            assert_eq!(read("<b>x", cut), "<b>x");
            assert_eq!(read("<think>never closed", cut), "");
        }
    }

    #[test]
    fn keeps_a_bounded_head() {
        let mut head = Head::default();
        for _ in 0..1_000 {
            head.push("äöü ");
        }
        assert_eq!(head.as_str().chars().count(), KEPT);
        assert_eq!(head.passed(), 4_000);
    }
}
