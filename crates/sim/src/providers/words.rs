//! The words that answers are made of. One word is one token here, blank included.

/// No JSON escapes are needed for any of them. Some are wider than ASCII, as real text is.
const WORDS: [&str; 64] = [
    " the",
    " harbour",
    " lies",
    " quiet",
    " at",
    " dawn",
    " and",
    " small",
    " boats",
    " wait",
    " for",
    " water",
    " under",
    " an",
    " old",
    " stone",
    " bridge",
    " where",
    " gulls",
    " argue",
    " over",
    " bread",
    ".",
    " Later",
    " a",
    " pilot",
    " reads",
    " tide",
    " tables",
    ",",
    " notes",
    " every",
    " mark",
    " twice",
    " then",
    " turns",
    " toward",
    " open",
    " sea",
    ";",
    " its",
    " colour",
    " shifts",
    " from",
    " slate",
    " to",
    " green",
    " while",
    " naïve",
    " travellers",
    " point",
    " cameras",
    " north",
    " past",
    " café",
    " roofs",
    " into",
    " wind",
    " —",
    " nobody",
    " hurries",
    " yet",
    " 潮",
    ".",
];

/// What thinking sounds like.
const THOUGHTS: [&str; 16] = [
    " First", " weigh", " what", " was", " asked", ",", " check", " each", " part", " against",
    " known", " facts", ",", " then", " decide", ".",
];

/// Refusals in prose, as models write them.
pub(super) const REFUSALS: [&str; 4] = [
    "I'm sorry, but I can't help with that request.",
    "I can't assist with that. If there is something else on your mind, I'm happy to help with it.",
    "I'm not able to provide that information, as it could be used to cause harm.",
    "Sorry, I won't be able to help with this one.",
];

/// Where an answer's words begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    start: usize,
    stride: usize,
}

impl Voice {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            start: (salt & 63) as usize,
            // Odd: every word comes up before one comes again.
            stride: ((salt >> 6) & 62) as usize | 1,
        }
    }

    /// The word at a place of the answer; the first has no blank before it.
    pub(super) fn word(self, index: usize) -> &'static str {
        let word = WORDS[(self.start + index * self.stride) % WORDS.len()];
        if index == 0 { word.trim_start() } else { word }
    }

    /// The same for thinking.
    pub(super) fn thought(self, index: usize) -> &'static str {
        let word = THOUGHTS[(self.start + index) % THOUGHTS.len()];
        if index == 0 { word.trim_start() } else { word }
    }

    /// A refusal.
    pub(super) fn refusal(self) -> &'static str {
        REFUSALS[self.start % REFUSALS.len()]
    }
}

/// Letters and digits from a number, for ids.
pub(super) fn id(prefix: &str, salt: u64, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = String::with_capacity(prefix.len() + length);
    out.push_str(prefix);
    let mut state = salt;
    for _ in 0..length {
        // Splitmix: every step is a fresh, well mixed number.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        out.push(char::from(LETTERS[(mixed >> 33) as usize % LETTERS.len()]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_need_no_escapes() {
        for word in WORDS.iter().chain(&THOUGHTS).chain(&REFUSALS) {
            assert!(
                word.chars()
                    .all(|char| !matches!(char, '"' | '\\' | '\0'..='\x1f'))
            );
        }
    }

    #[test]
    fn ids_differ() {
        assert_ne!(id("x", 1, 24), id("x", 2, 24));
        assert_eq!(id("chatcmpl-", 1, 24).len(), 33);
    }
}
