//! Takes out of a head what is not the model speaking for itself.

use super::any_of;
use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// Beginnings that are no prose of the model: code, letters, mails, translations. Lower case.
const NOT_SPEECH: [&str; 28] = [
    "```",
    "//",
    "/*",
    "def ",
    "fn ",
    "class ",
    "import ",
    "function ",
    "const ",
    "var ",
    "print(",
    "echo ",
    "select ",
    "#!",
    "#include",
    "dear ",
    "subject:",
    "re:",
    "translation:",
    "translated:",
    "to whom",
    "return ",
    "chapter ",
    "title:",
    "console.",
    "use std",
    "pub ",
    "$ ",
];
/// Salutations that open a letter when a line ends soon after them.
const SALUTATIONS: [&str; 7] = [
    "hi ",
    "hello ",
    "hey ",
    "hi,",
    "hello,",
    "good morning",
    "good afternoon",
];
/// What ends a letter.
const SIGNATURES: [&str; 9] = [
    "[your name]",
    "\nbest,",
    "\nbest regards",
    "\nregards,",
    "\nkind regards",
    "\nwarm regards",
    "\nsincerely",
    "\nyours sincerely",
    "\nthanks,\n",
];
static SIGNED: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| any_of(SIGNATURES));
/// Keys of JSON answers whose value is the model's own word.
const OWN_KEYS: [&str; 6] = [
    "error", "refusal", "message", "response", "answer", "content",
];

/// The model's own words of a head in lower case, straight apostrophes, without markdown; `None` where there are none.
pub(super) fn said(head: &str) -> Option<String> {
    let plain = plain(head);
    let mut text = plain.trim_start();
    if let Some(value) = json_value(text) {
        return Some(value.to_owned());
    }
    if text.starts_with(['{', '[', '<']) || NOT_SPEECH.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    text = without_decoration(text);
    if letter(text) || NOT_SPEECH.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    let text = whole_quotation(text).unwrap_or(text);
    if script(head) || list(&plain) || SIGNED.as_ref().is_some_and(|any| any.is_match(&plain)) {
        return None;
    }
    Some(without_quotations(text))
}

/// Lower case, straight quotation marks, no emphasis, no heading and quotation signs at line starts.
fn plain(head: &str) -> String {
    let mut out = String::with_capacity(head.len());
    let mut line_start = true;
    for char in head.chars() {
        match char {
            '\u{2019}' | '\u{2018}' | '\u{02bc}' => out.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' => out.push('"'),
            '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{fe0f}' | '*' | '\r' => {}
            '_' if line_start => {}
            '_' => out.push(' '),
            '>' | ' ' if line_start => continue,
            '\u{a0}' | '\u{202f}' => out.push(' '),
            '\n' => {
                out.push('\n');
                line_start = true;
                continue;
            }
            other if other.is_ascii() => out.push(other.to_ascii_lowercase()),
            other => out.extend(other.to_lowercase()),
        }
        line_start = false;
    }
    out
}

/// Heading signs, emoji, bullets and speaker names before the first word.
fn without_decoration(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| {
        !c.is_alphanumeric() && !matches!(c, '"' | '\'' | '\u{ab}' | '「' | '『')
    });
    ["assistant:", "ai:", "response:", "answer:", "a:"]
        .iter()
        .find_map(|name| text.strip_prefix(name))
        .unwrap_or(text)
        .trim_start()
}

/// The first value of a JSON object whose first key says that the model speaks.
fn json_value(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('{')?.trim_start().strip_prefix('"')?;
    let (key, rest) = rest.split_once('"')?;
    if !OWN_KEYS.contains(&key) {
        return None;
    }
    let value = rest
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .strip_prefix('"')?;
    Some(value.split_once('"').map_or(value, |(value, _)| value))
}

/// Whether the text is a letter or a mail.
fn letter(text: &str) -> bool {
    let first = text.split('\n').next().unwrap_or_default().trim_end();
    first.len() < text.len()
        && first.ends_with(',')
        && first.len() < 60
        && SALUTATIONS.iter().any(|word| text.starts_with(word))
}

/// Whether two lines begin with the name of a speaker in capitals, as in a play.
fn script(head: &str) -> bool {
    let speaker = |line: &&str| {
        line.split_once(':').is_some_and(|(name, _)| {
            let name = name.trim_matches(['*', ' ']);
            name.len() > 1
                && name.len() < 30
                && name.chars().any(char::is_alphabetic)
                && !name.chars().any(char::is_lowercase)
                && name.is_ascii()
        })
    };
    head.lines().filter(speaker).count() >= 2
}

/// Whether the text begins with a list: items somebody asked for.
fn list(plain: &str) -> bool {
    let item = |line: &&str| {
        ["- ", "\u{2022}", "1. ", "2. ", "1) ", "2) "]
            .iter()
            .any(|sign| line.starts_with(sign))
            || line.starts_with("example ")
    };
    plain.lines().next().is_some_and(|first| item(&first))
        && plain.lines().filter(item).count() >= 2
}

/// The inside, where the whole text is one quotation.
fn whole_quotation(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('"')).then_some(inside)
}

/// Puts a mark in the place of each quotation and of each span of code.
fn without_quotations(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut closing: Option<char> = None;
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match closing {
            Some(close) => {
                let ends = char == close
                    && (close != '\'' || (!next.is_alphanumeric() && !before.is_whitespace()));
                if ends {
                    closing = None;
                }
            }
            None => {
                closing = match char {
                    '"' => Some('"'),
                    '`' => Some('`'),
                    '\u{ab}' => Some('\u{bb}'),
                    '「' => Some('」'),
                    '『' => Some('』'),
                    '《' => Some('》'),
                    '\'' if !before.is_alphanumeric()
                        && next.is_alphabetic()
                        && text.matches('\'').count() > 1 =>
                    {
                        Some('\'')
                    }
                    _ => None,
                };
                out.push(if closing.is_some() { '\u{25a1}' } else { char });
            }
        }
        before = char;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_and_code_are_taken_out() {
        assert_eq!(
            said("The bot said \u{201c}I can\u{2019}t help\u{201d} twice.").as_deref(),
            Some("the bot said \u{25a1} twice.")
        );
        assert_eq!(
            said("'I can't,' he said. Don't.").as_deref(),
            Some("\u{25a1} he said. don't.")
        );
        assert_eq!(said("```rust\n// no\n```"), None);
        assert_eq!(said("Dear Ann,\nI can't come."), None);
        assert_eq!(
            said("**\u{26a0}\u{fe0f} I can\u{2019}t.**").as_deref(),
            Some("i can't.")
        );
        assert_eq!(said("\"I can't help.\"").as_deref(), Some("i can't help."));
        assert_eq!(
            said("{\"error\": \"I can't.\"}").as_deref(),
            Some("i can't.")
        );
        assert_eq!(said("ANN: I can't.\nBOB: Why?"), None);
    }
}
