//! The words of a head, in one spelling and without what is quoted.
//!
//! Case and the form of apostrophes do not matter, contractions are spelled out ("can't" is "can not"), and of each word only
//! the first letters count, which does for a stem in most languages. Chinese, Japanese and Korean are read by the character.
//! Signs that build a sentence are words of their own. A quotation becomes `"`, code three backticks or one, a number `0`: what they
//! hold is not the model speaking.

use super::hash;

/// Letters of a word that count.
pub(super) const STEM: usize = 6;
/// Before the first word and behind the last one.
const START: Symbol<'static> = Symbol::fixed("^");
const END: Symbol<'static> = Symbol::fixed("$");
const CAN: Symbol<'static> = Symbol::fixed("can");
const NOT: Symbol<'static> = Symbol::fixed("not");
/// Words for "can not".
const CANNOT: [u64; 3] = [
    hash::word("cannot"),
    hash::word("unable"),
    hash::word("cant"),
];
/// The end of a line.
const LINE: &str = "\u{b6}";

/// A word or a concept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'a> {
    /// As it stands in the text.
    text: &'a str,
    pub(super) hash: u64,
}

impl<'a> Symbol<'a> {
    /// One that is spelled as it is named.
    pub(super) const fn fixed(text: &'a str) -> Self {
        Self {
            text,
            hash: hash::word(text),
        }
    }

    /// A word of the text.
    fn word(text: &'a str) -> Self {
        let hash = stem(text).fold(hash::NONE, |hash, char| {
            char.encode_utf8(&mut [0; 4]).bytes().fold(hash, hash::byte)
        });
        Self { text, hash }
    }

    /// As it stands in the tables.
    pub(super) fn name(&self) -> String {
        let named = Self::fixed(self.text).hash == self.hash;
        if named {
            self.text.to_owned()
        } else {
            stem(self.text).collect()
        }
    }

    /// Whether it is made of letters.
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(char::is_alphanumeric)
    }

    /// Whether a sentence ends here.
    pub(super) fn ends_sentence(&self) -> bool {
        matches!(self.text, "." | "!" | "?" | LINE)
    }
}

/// The letters that count, in lower case.
fn stem(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).take(STEM)
}

/// The words of a head in order, between a `^` and a `$`.
pub(super) fn words(head: &str) -> Vec<Symbol<'_>> {
    let bare = head.trim_start_matches("```json").trim_start();
    // The values of an object are the model's own words, though quoted.
    let object = bare.starts_with(['{', '[']);
    let mut rest = if object { bare } else { head };
    let mut words = Vec::with_capacity(head.len() / 4 + 8);
    words.push(START);
    let mut before = ' ';
    while let Some(char) = rest.chars().next() {
        let (this, after) = rest.split_at(char.len_utf8());
        if char == ' ' {
            rest = after;
        } else if let Some((end, hash)) = plain_word(rest) {
            let (text, after) = rest.split_at(end);
            if CANNOT.contains(&hash) {
                words.extend([CAN, NOT]);
            } else {
                words.push(Symbol { text, hash });
            }
            rest = after;
        } else if stands_alone(char) {
            words.push(Symbol::fixed(this));
            rest = after;
        } else if char.is_alphanumeric() {
            let (word, after) = rest.split_at(word_end(rest));
            spell(word, &mut words);
            rest = after;
        } else if let Some((mark, beyond)) = quotation(rest, before, object) {
            // A text that is one quotation as a whole speaks for itself.
            let whole = words.len() == 1 && beyond.trim().is_empty() && mark == "\"";
            if whole {
                rest = after;
            } else {
                words.push(Symbol::fixed(mark));
                rest = beyond;
            }
        } else {
            let repeated = words.len() == 1 || words.last().is_some_and(|last| last.text == LINE);
            if let Some(sign) = sign(char, before).filter(|sign| *sign != LINE || !repeated) {
                words.push(Symbol::fixed(sign));
            }
            rest = after;
        }
        before = char;
    }
    words.push(END);
    words
}

/// Adds a word of letters, contractions spelled out.
fn spell<'a>(raw: &'a str, words: &mut Vec<Symbol<'a>>) {
    let raw = raw.trim_end_matches(['\'', '\u{2019}']);
    if raw.starts_with(char::is_numeric) {
        return words.push(const { Symbol::fixed("0") });
    }
    let Some((stem, end)) = raw.split_once(['\'', '\u{2019}']) else {
        return words.push(Symbol::word(raw));
    };
    match end {
        "t" | "T" => words.extend([
            match stem {
                "can" | "Can" | "CAN" => CAN,
                "won" | "Won" | "WON" => const { Symbol::fixed("will") },
                _ => Symbol::word(stem.strip_suffix(['n', 'N']).unwrap_or(stem)),
            },
            NOT,
        ]),
        _ => {
            let end = match end {
                "m" => "am",
                "d" => "would",
                "ll" => "will",
                "ve" => "have",
                "re" => "are",
                "s" => "is",
                other => other,
            };
            words.extend([Symbol::word(stem), Symbol::word(end)]);
        }
    }
}

/// The sign for a character, if it builds the sentence.
fn sign(char: char, before: char) -> Option<&'static str> {
    Some(match char {
        '\n' => LINE,
        '.' | '。' | '।' => ".",
        '!' | '！' => "!",
        '?' | '？' | '؟' => "?",
        ',' | '，' | '、' | '،' => ",",
        ':' | '：' => ":",
        ';' | '；' => ";",
        '(' => "(",
        '|' => "|",
        '=' => "=",
        '{' | '}' => "{",
        '<' | '>' => "<",
        '/' => "/",
        '\u{2014}' | '\u{2013}' => "\u{2014}",
        '-' if before.is_whitespace() => "-",
        _ => return None,
    })
}

/// Characters of scripts without spaces between words.
fn stands_alone(char: char) -> bool {
    matches!(char, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// The end and the hash of the word that a text begins with, where it is of plain letters only: nearly every one of English.
fn plain_word(text: &str) -> Option<(usize, u64)> {
    let mut hash = hash::NONE;
    let mut end = 0;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' if end > 0 => {}
            b'\'' | 0x80.. => return None,
            _ => break,
        }
        if end < STEM {
            hash = hash::byte(hash, byte.to_ascii_lowercase());
        }
        end += 1;
    }
    (end > 0).then_some((end, hash))
}

/// Where the word at the beginning of a text ends.
fn word_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'\'');
    match end {
        None => text.len(),
        Some(end) if bytes.get(end).is_some_and(u8::is_ascii) => end,
        Some(_) => text.find(|c| !joins(c)).unwrap_or(text.len()),
    }
}

/// Whether a character goes on with a word.
fn joins(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || char == '\'';
    }
    let mark = matches!(char, '\u{2019}' | '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{652}' | '\u{900}'..='\u{963}');
    (mark || char.is_alphanumeric()) && !stands_alone(char)
}

/// Where the text begins with a quotation or code: the mark to put in its place, and what comes after it. In an object only
/// code is quoted.
fn quotation(text: &str, before: char, object: bool) -> Option<(&'static str, &str)> {
    let first = text.chars().next()?;
    let inside = text.get(first.len_utf8()..)?;
    if (first != '`' && object) || inside.trim_start().is_empty() {
        return None;
    }
    let (mark, end) = match first {
        '`' if text.starts_with("```") => {
            let inside = text.get(3..)?;
            return Some((
                "```",
                inside.split_once("```").map_or("", |(_, after)| after),
            ));
        }
        '`' => ("`", inside.find('`')),
        '"' if !before.is_alphanumeric() => ("\"", inside.find('"')),
        '\u{201c}' => ("\"", inside.find(['\u{201d}', '"'])),
        '\u{201e}' => ("\"", inside.find(['\u{201c}', '\u{201d}', '"'])),
        '\u{ab}' => ("\"", inside.find('\u{bb}')),
        '「' => ("\"", inside.find('」')),
        '『' => ("\"", inside.find('』')),
        '《' => ("\"", inside.find('》')),
        '\'' | '\u{2018}' if !before.is_alphanumeric() => ("\"", Some(single_end(inside)?)),
        _ => return None,
    };
    Some((mark, end.map_or("", |end| after_char(inside, end))))
}

/// Where a quotation in single marks, which also are apostrophes, ends: before something that is no letter.
fn single_end(inside: &str) -> Option<usize> {
    if !inside.starts_with(char::is_alphabetic) {
        return None;
    }
    let mut ends = inside.match_indices(['\'', '\u{2019}']).map(|(at, _)| at);
    ends.find(|at| {
        let next = after_char(inside, *at).chars().next();
        let last = inside.get(..*at).and_then(|text| text.chars().next_back());
        !next.is_some_and(char::is_alphanumeric) && !last.is_some_and(char::is_whitespace)
    })
}

/// What follows the character at a place.
fn after_char(text: &str, at: usize) -> &str {
    let mut chars = text.get(at..).unwrap_or_default().chars();
    chars.next();
    chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> String {
        let names: Vec<String> = words(head).iter().map(Symbol::name).collect();
        names.join(" ")
    }

    #[test]
    fn one_spelling() {
        assert_eq!(read("I can\u{2019}t HELP."), "^ i can not help . $");
        assert_eq!(
            read("I'm unable, it's 3.5"),
            "^ i am can not , it is 0 . 0 $"
        );
        assert_eq!(
            read("**I won't**\n\nassisting"),
            "^ i will not \u{b6} assist $"
        );
        assert_eq!(read("Je n'ai rien"), "^ je n ai rien $");
        assert_eq!(read("我不能。"), "^ 我 不 能 . $");
        assert_eq!(read("НЕ МОГУ"), "^ не могу $");
    }

    #[test]
    fn what_is_quoted_is_left_out() {
        assert_eq!(
            read("He said \u{201c}I can\u{2019}t\u{201d}."),
            "^ he said \" . $"
        );
        assert_eq!(read("'I can't,' he said."), "^ \" he said . $");
        assert_eq!(read("```rust\nno\n```"), "^ ``` $");
        assert_eq!(read("run `rm x` now"), "^ run ` now $");
        assert_eq!(read("\"I can't.\""), "^ i can not . $");
        assert_eq!(read("{\"error\": \"no\"}"), "^ { error : no { $");
    }
}
