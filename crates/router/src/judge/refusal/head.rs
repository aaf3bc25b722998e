//! The bounded beginning of an answer, without the thinking some models put before it.

/// Bytes kept.
const KEPT: usize = 400;
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
    full: bool,
}

impl Head {
    /// Takes in the next text.
    pub(super) fn push(&mut self, text: &str) {
        let mut chars = text.chars();
        loop {
            if matches!(self.at, At::Answer) {
                self.keep(chars.as_str());
                return;
            }
            let Some(next) = chars.next() else { return };
            self.one(next);
        }
    }

    /// As many whole characters as there is room for. A character that does not fit is the end, so that cuts change nothing.
    fn keep(&mut self, text: &str) {
        if self.full {
            return;
        }
        let room = KEPT.saturating_sub(self.kept.len());
        let end = text.floor_char_boundary(room);
        self.kept.push_str(text.get(..end).unwrap_or_default());
        self.full = end < text.len();
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
        assert!(head.as_str().len() <= KEPT && head.as_str().len() > KEPT - 4);
    }
}
