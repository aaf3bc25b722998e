//! Clauses of English that decline: a first person, a negation, and a verb of doing what was asked.

use super::words::{
    ADVERBS, DISCLAIMED, HARD, HELP_IDIOM, PART, SOFT, STRONG_ONLY, SUBORDINATE, TOLD,
};

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

/// After "can not", "am unable": a verb of doing what was asked.
fn can_not(words: &[String], place: usize) -> Option<(Force, usize)> {
    let place = past_adverbs(words, place);
    let verb = at(words, place);
    let next = at(words, place + 1);
    let object = words
        .get(place + 1..words.len().min(place + 8))
        .unwrap_or_default();
    let has = |list: &[&str]| {
        object
            .iter()
            .take_while(|word| *word != ",")
            .any(|word| list.contains(&word.as_str()))
    };
    let amount = object
        .windows(2)
        .any(|pair| pair[0] == "more" && pair[1] == "than")
        || has(&["better", "myself"]);
    let missing = object.windows(2).any(|pair| {
        pair[0] == "without"
            && matches!(
                pair[1].as_str(),
                "more" | "knowing" | "seeing" | "additional" | "further" | "context"
            )
    });
    if verb == "help" && idiom(next) || matches!(next, "up" | "away") || amount || missing {
        return None;
    }
    let force = if HARD.contains(&verb) {
        Force::Hard
    } else if SOFT.contains(&verb)
        || verb
            .strip_suffix("ing")
            .is_some_and(|stem| SOFT.contains(&stem) || HARD.contains(&stem))
    {
        let reported = match verb {
            "explain" | "suggest" => are(words, place + 1, &["why|that|if|whether"]),
            "write" => are(words, place + 1, &["to|into"]),
            "describe" => are(
                words,
                place + 1,
                &[
                    "how",
                    "good|beautiful|happy|much|great|important|excited|proud|grateful",
                ],
            ),
            "pretend" => !are(words, place + 1, &["to", "be"]),
            "reproduce" => has(&[
                "bug",
                "error",
                "issue",
                "problem",
                "crash",
                "result",
                "results",
                "failure",
                "behavior",
                "behaviour",
            ]),
            _ => are(words, place + 1, &["why|if|whether"]),
        };
        if reported {
            return None;
        }
        Force::Soft
    } else {
        match verb {
            "do" if matches!(next, "that" | "this" | "so" | "" | ",") => matches!(
                at(words, place + 2),
                "" | ","
                    | "for"
                    | "because"
                    | "as"
                    | "one"
                    | "since"
                    | "sorry"
                    | "and"
                    | "either"
                    | "to"
                    | "even"
                    | "under"
            )
            .then_some(Force::Hard)?,
            "do" if are(words, place + 1, &["what", "you"]) => Force::Hard,
            "complete" | "process"
                if are(words, place + 1, &["this|that|your|the", "request|task|"]) =>
            {
                Force::Hard
            }
            "be" if are(words, place + 1, &["part|party|involved"]) => Force::Soft,
            "go" if are(words, place + 1, &["along"]) => Force::Soft,
            "let" if are(words, place + 1, &["you|this|myself"]) => Force::Soft,
            "take" if has(&["side", "sides", "part"]) => Force::Soft,
            "part" | "party" | "involved" if are(words, place + 1, &["of|to|in"]) => Force::Soft,
            "do" if next == "it" && at(words, place + 2).is_empty() => Force::Soft,
            "make" if matches!(next, "a" | "any" | "such" | "that" | "jokes") => Force::Soft,
            "tell" if are(words, place + 1, &["you", "how|where|what|my|about"]) => Force::Soft,
            "identify"
                if has(&[
                    "person",
                    "people",
                    "individual",
                    "individuals",
                    "someone",
                    "who",
                    "anyone",
                    "them",
                ]) =>
            {
                Force::Soft
            }
            "recommend" | "browse" | "predict" | "access" | "see" | "open" | "play"
                if !has(&["enough"]) =>
            {
                let other = (place + 1..place + 9).find(|n| {
                    are(words, *n, &["or|nor"])
                        && (SOFT.contains(&at(words, n + 1)) || HARD.contains(&at(words, n + 1)))
                });
                other.map(|_| Force::Soft)?
            }
            _ => return None,
        }
    };
    if has(PART) || (force == Force::Soft && (has(DISCLAIMED) || DISCLAIMED.contains(&verb))) {
        return Some((Force::Faint, place + 1));
    }
    Some((force, place + 1))
}

/// Whether "help" goes on as in "help wondering".
fn idiom(next: &str) -> bool {
    HELP_IDIOM.contains(&next) || (next.len() > 5 && next.ends_with("ing") && next != "anything")
}

/// After "will not", "am not willing to": the same and more verbs.
fn will_not(words: &[String], place: usize) -> Option<(Force, usize)> {
    let place = past_adverbs(words, place);
    let verb = at(words, place);
    let verb = verb.strip_suffix("ing").unwrap_or(verb);
    let next = at(words, place + 1);
    let all = |verb: &str| HARD.contains(&verb) || SOFT.contains(&verb);
    if verb == "help" && idiom(next)
        || matches!(next, "away" | "up")
        || (verb == "pretend" && !are(words, place + 1, &["to", "be"]))
    {
        return None;
    }
    if all(verb) || all(&format!("{verb}e")) {
        if are(
            words,
            place + 1,
            &[
                "all|every|everything|the",
                "details|detail|step|steps|basics|ending|everything|whole|entire|obvious",
            ],
        ) {
            return None;
        }
        let object = words
            .get(place + 1..words.len().min(place + 8))
            .unwrap_or_default();
        let part = object.iter().any(|word| PART.contains(&word.as_str()));
        let force = if part {
            Force::Faint
        } else if verb == "list" || verb == "explain" || verb == "include" {
            Force::Soft
        } else {
            Force::Hard
        };
        return Some((
            if force == Force::Hard && SOFT.contains(&verb) {
                Force::Soft
            } else {
                force
            },
            place + 1,
        ));
    }
    if !STRONG_ONLY.contains(&verb) {
        return None;
    }
    let sure = match verb {
        "do" => matches!(next, "that" | "this" | "so" | "it" | "" | ","),
        "be" => false,
        "tell" => are(words, place + 1, &["you", "how|where|what|about"]),
        "say" | "repeat" => are(words, place + 1, &["that|those", ",|slur|slurs|words|"]),
        "make" => matches!(next, "that" | "this" | "any" | "such" | "a" | "jokes"),
        "take" => are(words, place + 1, &["part"]),
        "find" | "track" | "identify" => matches!(
            next,
            "someone" | "her" | "him" | "them" | "this" | "that" | "people" | "where"
        ),
        "recommend" | "add" | "lie" | "pretend" | "act" | "play" | "plan" => false,
        _ => true,
    };
    sure.then_some((Force::Soft, place + 1))
}

/// After "I am": not able, unable, not comfortable, declining, prohibited.
fn am(words: &[String], place: usize) -> Option<(Force, usize)> {
    let place = past_adverbs(words, place);
    match at(words, place) {
        "unable" => can_not(words, place + 1),
        "sorry" | "afraid" => None,
        "not" => {
            let word = past_adverbs(words, place + 1);
            // "able" is among the adverbs: "not able to provide" has come to "provide" here.
            let able = words
                .get(place + 1..word)
                .unwrap_or_default()
                .iter()
                .any(|word| word == "able");
            if able {
                return can_not(words, word);
            }
            match at(words, word) {
                "going" if are(words, word + 1, &["to", "be", "able"]) => can_not(words, word + 4),
                "going" if are(words, word + 1, &["to", "have"]) => None,
                "going" | "willing" | "prepared" | "about" => will_not(words, word + 1),
                "allowed" | "permitted" | "authorized" | "designed" | "equipped" | "programmed"
                | "capable" | "position" | "liberty" => can_not(words, past_of(words, word + 1)),
                "a" if are(words, word + 1, &["position"]) => can_not(words, word + 2),
                "at" if are(words, word + 1, &["liberty"]) => can_not(words, word + 2),
                "comfortable" => Some((Force::Hard, word + 1)),
                _ => None,
            }
        }
        "uncomfortable" => Some((Force::Soft, place + 1)),
        "prohibited" | "prevented" | "restricted" | "forbidden" | "barred" => {
            are(words, place + 1, &["from|by"]).then_some((Force::Hard, place + 1))
        }
        "choosing" if are(words, place + 1, &["not"]) => Some((Force::Hard, place + 2)),
        "declining" | "refusing" => Some((Force::Hard, place + 1)),
        "going" | "inclined" if are(words, place + 1, &["to"]) => {
            refuses(words, past_adverbs(words, place + 1))
        }
        _ => None,
    }
}

/// Past "of", "to be".
fn past_of(words: &[String], place: usize) -> usize {
    if at(words, place) == "of" {
        place + 1
    } else {
        place
    }
}

/// After "I do not": provide, feel comfortable, want to write, think I should help.
fn do_not(words: &[String], place: usize) -> Option<(Force, usize)> {
    let place = past_adverbs(words, place);
    if are(words, place, &["feel", "comfortable"]) {
        return Some((Force::Hard, place + 2));
    }
    if are(words, place, &["think", "i", "should|can"])
        || are(words, place, &["believe", "i", "should|can"])
    {
        return will_not(words, place + 3);
    }
    if are(words, place, &["want|wish|intend", "to"]) {
        return will_not(words, place + 2);
    }
    if are(
        words,
        place,
        &["have", "the", "ability|capability|capacity", "to"],
    ) {
        return can_not(words, place + 4).filter(|(force, _)| *force == Force::Hard);
    }
    let verb = at(words, place);
    let known = [
        "provide",
        "create",
        "write",
        "help",
        "assist",
        "engage",
        "generate",
        "produce",
        "share",
        "support",
        "promote",
        "participate",
        "discuss",
        "facilitate",
        "condone",
    ];
    if !known.contains(&verb)
        || are(
            words,
            place + 1,
            &[
                "the|this|that|your",
                "claim|view|idea|theory|premise|conclusion|opinion",
            ],
        )
    {
        return None;
    }
    // What a program does is told in the same words.
    let own = matches!(verb, "write" | "produce" | "share" | "create" | "generate");
    let to = at(words, place + 1) == "to";
    (!to).then_some((if own { Force::Faint } else { Force::Soft }, place + 1))
}

/// "must decline", "have to pass on", "refuse".
fn refuses(words: &[String], place: usize) -> Option<(Force, usize)> {
    let mut place = place;
    while ADVERBS.contains(&at(words, place))
        || matches!(
            at(words, place),
            "must"
                | "have"
                | "need"
                | "will"
                | "going"
                | "should"
                | "am"
                | "would"
                | "choose"
                | "like"
        )
    {
        place += 1;
    }
    match at(words, place) {
        "decline" | "refuse"
            if are(
                words,
                place + 1,
                &["to", "believe|accept|think|give|be|let|yield|surrender|bow"],
            ) =>
        {
            None
        }
        "refrain" if are(words, place + 1, &["from"]) => Some((Force::Hard, place + 2)),
        "decline" | "refuse" => Some((Force::Hard, place + 1)),
        "pass"
            if are(words, place + 1, &["on", "this|that"])
                || are(words, place + 1, &["on", "it", "|,"]) =>
        {
            Some((Force::Hard, place + 1))
        }
        "say" if are(words, place + 1, &["no", "|,|to"]) => Some((Force::Hard, place + 1)),
        "stop" if are(words, place + 1, &["here|"]) && place > 1 => Some((Force::Soft, place + 1)),
        _ => None,
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
