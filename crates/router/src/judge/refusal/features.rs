//! What a head is described by: the runs of one and two words in it, and the runs of one to three concepts.
//!
//! A concept stands for the words of the same sense in many languages (`concepts.txt`), so that what was learnt from "can't
//! help" holds for "kann nicht unterstützen". Words of no concept are `_`, however many stand side by side.

use super::hash::{self, Table};
use super::words::{Symbol, words};
use std::sync::LazyLock;

/// The longest run of words.
const WORDS: usize = 2;
/// The longest run of concepts.
const CONCEPTS: usize = 3;
/// Stands for words of no concept.
const OTHER: Symbol<'static> = Symbol::fixed("_");
/// Concepts without one of which nothing is declined: a negation, a word of refusing, a change of subject.
const NEEDED: [u64; 3] = [hash::word("NOT"), hash::word("REFUSE"), hash::word("SWAP")];
/// Before a concept of the first sentence.
const FIRST: Symbol<'static> = Symbol::fixed("first");

/// Concepts by the hash of a word.
static BY_WORD: LazyLock<Table<Symbol<'static>>> = LazyLock::new(|| {
    let mut table = Table::default();
    let mut concept = OTHER;
    for line in include_str!("concepts.txt").lines() {
        let mut line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, words)) = line.split_once(':') {
            concept = Symbol::fixed(name);
            line = words;
        }
        for word in line.split_whitespace() {
            table.insert(hash::word(word), concept);
        }
    }
    table
});

/// A head as words and as concepts, one for each word.
pub(super) struct Features<'a> {
    words: Vec<Symbol<'a>>,
    concepts: Vec<Symbol<'a>>,
}

impl<'a> Features<'a> {
    pub(super) fn of(head: &'a str) -> Self {
        let words = words(head);
        let concepts = words.iter().map(|word| concept(*word)).collect();
        Self { words, concepts }
    }

    /// Whether there is a word to decline with. Most answers have none, and need no weighing.
    pub(super) fn could_decline(&self) -> bool {
        let mut concepts = self.concepts.iter();
        concepts.any(|concept| NEEDED.contains(&concept.hash))
    }

    /// Calls for every run, some of them more than once.
    pub(super) fn each(mut self, mut each: impl FnMut(&[Symbol<'_>])) {
        runs(&self.words, WORDS, &mut each);
        for (word, concept) in self.words.iter().zip(&self.concepts) {
            each(&[FIRST, *concept]);
            if word.ends_sentence() {
                break;
            }
        }
        self.concepts.dedup_by_key(|concept| concept.hash);
        runs(&self.concepts, CONCEPTS, &mut each);
    }
}

/// The concept of a word; signs stand for themselves.
fn concept(word: Symbol<'_>) -> Symbol<'_> {
    match BY_WORD.get(&word.hash) {
        Some(concept) => *concept,
        None if word.is_word() => OTHER,
        None => word,
    }
}

/// All runs up to a length.
fn runs(symbols: &[Symbol<'_>], longest: usize, each: &mut impl FnMut(&[Symbol<'_>])) {
    for start in 0..symbols.len() {
        for length in 1..=longest {
            if let Some(run) = symbols.get(start..start + length) {
                each(run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::refusal::words::STEM;

    #[test]
    fn each_word_has_one_concept_and_is_short_enough_to_be_met() {
        let lines = include_str!("concepts.txt").lines();
        let lines = lines.filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(|line| {
            line.split_once(':')
                .map_or(line, |(_, words)| words)
                .split_whitespace()
        });
        let mut count = 0;
        for word in words {
            count += 1;
            assert!(word.chars().count() <= STEM, "{word}");
        }
        assert_eq!(BY_WORD.len(), count);
    }

    #[test]
    fn runs_of_words_and_of_concepts() {
        let mut names = Vec::new();
        Features::of("No help. No").each(|run| {
            let run: Vec<String> = run.iter().map(Symbol::name).collect();
            names.push(run.join(" "));
        });
        for name in ["no", "no help", "NOT HELP .", "first HELP", "^ NOT"] {
            assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
        }
        assert_eq!(names.iter().filter(|name| *name == "first NOT").count(), 1);
    }

    #[test]
    fn a_head_without_a_word_to_decline_with_is_not_weighed() {
        assert!(!Features::of("The tide comes in at four.").could_decline());
        assert!(Features::of("I can't.").could_decline());
    }
}
