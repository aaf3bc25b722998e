//! Clauses of English that decline: a first person, a negation, and a verb of doing what was asked.

mod verbs;

use super::words::{ADVERBS, HARD, SOFT, SUBORDINATE, TOLD};
use verbs::{am, can_not, do_not, refuses, will_not};

/// How sure a clause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    /// Declines whatever follows, unless the answer itself follows.
    Hard,
    /// Declines unless help follows after a "but".
    Soft,
    /// A disclaimer or a part: declines only if nothing else is said.
    Faint,
}

/// The word at a place, or nothing.
pub(super) fn at(words: &[String], place: usize) -> &str {
    words.get(place).map_or("", String::as_str)
}

/// Whether the words from a place on are these, where `|` parts choices.
pub(super) fn are(words: &[String], place: usize, expected: &[&str]) -> bool {
    expected
        .iter()
        .enumerate()
        .all(|(n, choice)| choice.split('|').any(|one| one == at(words, place + n)))
}

/// The first place from which on there is no adverb.
fn past_adverbs(words: &[String], mut place: usize) -> usize {
    while ADVERBS.contains(&at(words, place)) {
        place += 1;
    }
    place
}

/// The first clause that declines: how sure, and where the words after its verb begin.
pub(super) fn clause(words: &[String]) -> Option<(Force, usize)> {
    (0..words.len())
        .find_map(|place| first_person(words, place).or_else(|| impersonal(words, place)))
}

/// "I can't help", and the same without the "I" at a beginning or after an "and".
fn first_person(words: &[String], place: usize) -> Option<(Force, usize)> {
    let before = if place == 0 { "" } else { at(words, place - 1) };
    let earlier = if place < 2 { "" } else { at(words, place - 2) };
    // "I said (that) I can't", "the reason I can't".
    let quoted = TOLD.contains(&before)
        || (before == "that" && TOLD.contains(&earlier))
        || (before == "reason" && earlier == "the");
    let subject = match at(words, place) {
        "i" if quoted
            || (SUBORDINATE.contains(&before) && !(before == "why" && earlier == "is")) =>
        {
            return None;
        }
        "i" => place + 1,
        // Customers' letters say "we" too, so only the plainest words count.
        "we" if are(
            words,
            place + 1,
            &["can", "not", "help|assist", "with", "this|that"],
        ) =>
        {
            place + 1
        }
        "way" if before == "no" && are(words, place + 1, &["i", "can|will"]) => {
            return can_not(words, place + 3);
        }
        "not"
            if (place == 0 || before == "," && place < 3)
                && are(words, place + 1, &["able|going|willing|comfortable"]) =>
        {
            return am(words, place);
        }
        // Error messages begin so too.
        "can" | "unable" if place == 0 || before == "," && place < 3 => {
            let after = if at(words, place) == "can" {
                place + 2
            } else {
                place + 1
            };
            let spoken = at(words, place) == "unable" || are(words, place + 1, &["not"]);
            return can_not(words, after).filter(|(force, _)| spoken && *force == Force::Hard);
        }
        "will" if place == 0 || before == "," && place < 3 => place,
        "and" | "so" | "thus" if at(words, 0) == "i" && place > 0 => place + 1,
        _ => return None,
    };
    let verb = past_adverbs(words, subject);
    let negated = |place| are(words, place, &["not"]);
    match at(words, verb) {
        "can" if negated(verb + 1) => can_not(words, verb + 2),
        "unable" => can_not(words, verb + 1),
        "will" | "would" | "could" if negated(verb + 1) => {
            let next = at(words, verb + 2);
            if at(words, verb) == "could"
                || (at(words, verb) == "would"
                    && !are(words, verb + 2, &["be", "able|comfortable"]))
            {
                None
            } else if next == "be" && are(words, verb + 3, &["able|comfortable"]) {
                can_not(words, verb + 4)
            } else {
                will_not(words, verb + 2)
            }
        }
        "should" if negated(verb + 1) => will_not(words, verb + 2),
        "am" | "feel" => am(words, verb + 1),
        "do" if negated(verb + 1) => do_not(words, verb + 2),
        "would" if are(words, verb + 1, &["rather|prefer", "not|to"]) => {
            let next = if at(words, verb + 2) == "to" {
                verb + 3
            } else {
                verb + 2
            };
            if at(words, next) == "not" {
                Some((Force::Hard, next + 1))
            } else {
                refuses(words, verb + 1)
            }
        }
        "would" if are(words, verb + 1, &["decline|refuse|pass|say"]) => None,
        "have" if are(words, verb + 1, &["no", "intention|interest|plans"]) => {
            Some((Force::Soft, verb + 3))
        }
        _ => refuses(words, verb),
    }
}

/// "This goes against my guidelines", "not something I can help with".
fn impersonal(words: &[String], place: usize) -> Option<(Force, usize)> {
    if matches!(
        at(words, place),
        "something" | "request" | "what" | "one" | "topic" | "content" | "thing"
    ) {
        let mut next = place + 1;
        while matches!(at(words, next), "that" | "which") {
            next += 1;
        }
        let denied = words
            .get(..place)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(4)
            .any(|word| word == "not" || word == "beyond" || word == "outside");
        if denied && are(words, next, &["i"]) {
            let verb = past_adverbs(words, next + 1);
            let verb = match at(words, verb) {
                "can" | "will" | "could" | "would" => past_adverbs(words, verb + 1),
                "am" => past_adverbs(words, verb + 1),
                _ => verb,
            };
            let verb = if matches!(
                at(words, verb),
                "willing" | "going" | "comfortable" | "prepared" | "allowed" | "permitted"
            ) {
                past_adverbs(words, verb + 1)
            } else {
                verb
            };
            let word = at(words, verb);
            let word = word.strip_suffix("ing").unwrap_or(word);
            if word.is_empty()
                || word == "do"
                || word == "with"
                || HARD.contains(&word)
                || SOFT.contains(&word)
            {
                return Some((Force::Hard, verb + 1));
            }
        }
        if at(words, place) == "what" && denied && are(words, next, &["i", "can|will"]) {
            return Some((Force::Hard, next + 2));
        }
    }
    let near = |from: usize, reach: usize, list: &[&str]| {
        (from..from + reach).any(|n| list.contains(&at(words, n)))
    };
    let rules = [
        "policy",
        "policies",
        "guidelines",
        "guideline",
        "programming",
        "principles",
        "rules",
        "values",
        "terms",
    ];
    match at(words, place) {
        "violates" | "violate" | "against" | "breaches" | "contravenes" | "violating"
            if are(words, place + 1, &["my|our"]) && near(place + 2, 4, &rules) =>
        {
            Some((Force::Hard, place + 3))
        }
        "my" if (near(place + 1, 3, &rules)
            || near(place + 1, 2, &["instructions", "training"])) =>
        {
            let verb = (place + 1..place + 7).find(|n| {
                matches!(
                    at(words, *n),
                    "prevent"
                        | "prevents"
                        | "prohibit"
                        | "prohibits"
                        | "forbid"
                        | "restrict"
                        | "not"
                )
            })?;
            (at(words, verb) != "not" || near(verb + 1, 1, &["allow", "permit", "let"]))
                .then_some((Force::Hard, verb + 1))
        }
        "unethical" | "inappropriate" | "irresponsible" | "wrong" | "appropriate" | "right"
        | "ethical" | "responsible" | "illegal"
            if are(words, place + 1, &["for|of", "me", "to"]) =>
        {
            let denied = words
                .get(..place)
                .unwrap_or_default()
                .iter()
                .any(|word| word == "not");
            (denied
                || !matches!(
                    at(words, place),
                    "appropriate" | "right" | "ethical" | "responsible"
                ))
            .then_some((Force::Hard, place + 4))
        }
        "where" if are(words, place + 1, &["i"]) && near(place + 2, 4, &["stop", "line"]) => {
            Some((Force::Soft, place + 4))
        }
        "line" if are(words, place + 1, &["i", "will|can", "not", "cross"]) => {
            Some((Force::Hard, place + 5))
        }
        "draw"
            if are(words, place + 1, &["a|the", "line"])
                && words.iter().any(|word| word == "i") =>
        {
            Some((Force::Soft, place + 3))
        }
        "request"
            if place < 3
                && are(
                    words,
                    place + 1,
                    &["declined|denied|refused|rejected", "|,"],
                )
                && words.len() < 4 =>
        {
            Some((Force::Hard, place + 2))
        }
        _ => None,
    }
}
