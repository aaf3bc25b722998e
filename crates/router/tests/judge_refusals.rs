//! The refusal judge against labelled texts: those beside this file, and the prose of RefusalBench where it is at hand.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde::Deserialize;
use std::io::Read;
use tidemark_router::judge::refusal::RefusalJudge;

#[derive(Deserialize)]
struct Item {
    text: String,
    declined: bool,
    kind: String,
    half: String,
}

#[derive(Default, Debug)]
struct Score {
    hit: u32,
    false_alarm: u32,
    missed: u32,
    quiet: u32,
}

impl Score {
    fn add(&mut self, label: bool, said: bool) {
        match (label, said) {
            (true, true) => self.hit += 1,
            (false, true) => self.false_alarm += 1,
            (true, false) => self.missed += 1,
            (false, false) => self.quiet += 1,
        }
    }

    fn precision(&self) -> f64 {
        f64::from(self.hit) / f64::from((self.hit + self.false_alarm).max(1))
    }

    fn recall(&self) -> f64 {
        f64::from(self.hit) / f64::from((self.hit + self.missed).max(1))
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: precision {:.3}, recall {:.3}, {self:?}",
            self.precision(),
            self.recall()
        );
    }
}

fn judged(text: &str) -> bool {
    let mut judge = RefusalJudge::default();
    judge.text(text);
    judge.declined()
}

fn items() -> Vec<Item> {
    include_str!("data/refusals.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn precision_and_recall() {
    // The misses of what is not trained on stay unprinted unless asked for: who reads them tunes to them.
    let show = std::env::var("TIDEMARK_SHOW").unwrap_or_default();
    for (half, precision, recall) in [
        ("tune", 0.97, 0.94),
        ("held", 0.94, 0.85),
        ("late", 0.93, 0.90),
    ] {
        let mut score = Score::default();
        for item in items().iter().filter(|item| item.half == half) {
            let said = judged(&item.text);
            score.add(item.declined, said);
            if said != item.declined && show.contains(half) {
                println!(
                    "{half} {} should be {}: {}",
                    item.kind,
                    item.declined,
                    item.text.escape_debug()
                );
            }
        }
        score.print(half);
        assert!(
            score.precision() >= precision && score.recall() >= recall,
            "{half}: {score:?}"
        );
    }
}

#[test]
fn thinking_and_curly_apostrophes_change_nothing() {
    for item in items() {
        let whole = judged(&item.text);
        // The thinking is left out, not judged.
        let thought = format!(
            "\n\n  <think>I can't help with that.</think>\n{}",
            item.text
        );
        assert_eq!(judged(&thought), whole, "{}", item.text);
        if !item.text.contains("'") || item.text.matches('\'').count() == 1 {
            let curly = item.text.replace('\'', "\u{2019}");
            assert_eq!(judged(&curly), whole, "{}", item.text);
        }
    }
}

#[test]
fn a_verdict_takes_microseconds() {
    // Each text over and over, up to 300 characters.
    let heads: Vec<String> = items()
        .iter()
        .map(|item| item.text.chars().cycle().take(300).collect())
        .collect();
    // The best of some runs of each, since other work on the machine only ever adds time.
    let best = heads.iter().map(|head| {
        let once = || {
            let start = std::time::Instant::now();
            let mut judge = RefusalJudge::default();
            judge.text(head);
            std::hint::black_box(judge.declined());
            start.elapsed()
        };
        (0..20).map(|_| once()).min().unwrap()
    });
    let best = best.sum::<std::time::Duration>() / u32::try_from(heads.len()).unwrap();
    println!("{best:?} a verdict on 300 characters in this build");
}

#[test]
fn refusalbench_prose() {
    #[derive(Deserialize)]
    struct Row {
        model: String,
        modal_compliance: String,
        response_text: String,
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/refusals/refusalbench/responses_benign.jsonl.gz"
    );
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: {path} is absent");
        return;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let mut score = Score::default();
    let (mut prose, mut agreed, mut filters, mut partial) = (0_u32, 0_u32, 0_u32, 0_u32);
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let answer = row.response_text.trim();
        // Up to 50 characters are the markers of API filters, not a model's words.
        if answer.chars().count() <= 50 || row.modal_compliance == "non_responsive" {
            filters += 1;
            continue;
        }
        let label = row.modal_compliance == "direct_refusal";
        let said = judged(answer);
        if said
            && matches!(
                row.modal_compliance.as_str(),
                "partial_compliance" | "indirect_refusal"
            )
        {
            partial += 1;
        }
        if said != label && std::env::var_os("TIDEMARK_SHOW").is_some() {
            println!(
                "{} {} {}: {}",
                row.model,
                row.modal_compliance,
                answer.chars().count(),
                answer.chars().take(500).collect::<String>().escape_debug()
            );
        }
        prose += 1;
        agreed += u32::from(said == label);
        score.add(label, said);
    }
    score.print("refusalbench, direct refusals in prose");
    println!(
        "agreement {agreed}/{prose}; {filters} rows of filters or nothing left out; {partial} alarms on partial or indirect answers"
    );
    assert!(f64::from(agreed) / f64::from(prose) > 0.98);
}

/// The verdict on a text whose bytes come in pieces, with characters put together again as the adapters do.
fn judged_in_pieces(text: &str, cuts: &[prop::sample::Index]) -> bool {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let mut judge = RefusalJudge::default();
    let mut waiting: Vec<u8> = Vec::new();
    for piece in cuts.windows(2) {
        waiting.extend_from_slice(&text.as_bytes()[piece[0]..piece[1]]);
        let whole = match std::str::from_utf8(&waiting) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        judge.text(std::str::from_utf8(&waiting[..whole]).unwrap());
        waiting.drain(..whole);
    }
    judge.declined()
}

proptest! {
    #[test]
    fn pieces_give_the_verdict_of_the_whole(
        chosen in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let items = items();
        // Long enough to pass the end of the head as well.
        let text = format!("{0}\n\n{0}\n\n{0}", chosen.get(&items).text);
        prop_assert_eq!(judged_in_pieces(&text, &cuts), judged(&text));
    }

    #[test]
    fn no_text_panics(words in prop::collection::vec(prop_oneof!["\\PC{0,12}", prop::sample::select(vec![
        "I", "can't", "won't", "help", "with", "\"", "'", ":", "\n", "<think>", "</think>", "**", "- ", "but", "here", "is", "am", "not", "able", "to",
        "no puedo", "无法", "我", "ich kann", "{\"error\":\"", "```", ",", ".", "decline", "my", "policy", "something",
    ]).prop_map(str::to_owned)], 0..60)) {
        let mut judge = RefusalJudge::default();
        for word in &words {
            judge.text(word);
            judge.text(" ");
        }
        prop_assert_eq!(judge.declined(), judged(&words.iter().map(|word| format!("{word} ")).collect::<String>()));
    }
}
