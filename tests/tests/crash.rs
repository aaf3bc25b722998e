//! Crashes at every named step and at random, and the proof that this harness would notice.
//!
//! Acceptance: `TIDEMARK_KILLS=25 TIDEMARK_RANDOM_KILLS=100 cargo test --release -p tidemark-tests --test crash -- --nocapture`
#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails should fail loudly, and figures are for people"
)]

use std::path::Path;
use tidemark_tests::harness::{Death, Failed, Plan, Report, run};
use tidemark_tests::size;

/// Steps between taking a record and forgetting where it came from, with how often they may be passed before the kill.
/// The lake's are passed once for each of its tables.
const POINTS: &[(&str, u64)] = &[
    ("rollup::after_poll", 20),
    ("rollup::after_fill", 8),
    ("rollup::after_dedup", 20),
    ("rollup::after_rollup", 60),
    ("rollup::after_commit", 8),
    ("lake::before_files", 60),
    ("lake::after_files", 60),
    ("lake::before_commit", 60),
    ("lake::after_commit", 60),
    ("lake::before_compaction", 10),
    ("journal::before_write", 60),
    ("journal::after_write", 60),
    ("journal::before_sync", 60),
    ("journal::after_sync", 60),
    ("journal::before_ack", 60),
    ("rollup::before_trim", 4),
    ("journal::trim", 4),
];

fn plan() -> Plan<'static> {
    Plan {
        subject: Path::new(env!("CARGO_BIN_EXE_crash_subject")),
        death: Death::Anytime,
        kills: size("TIDEMARK_KILLS", 2) as u32,
        bug: None,
        volatile: false,
        upkeep: false,
        seed: size("TIDEMARK_SEED", 20261123),
    }
}

fn report(what: &str, report: &Report) {
    let Report {
        kills,
        starts,
        torn,
        events,
        slowest_recovery,
    } = report;
    eprintln!(
        "{what:28} {kills:4} kills {starts:4} starts {torn:4} torn {events:7} events exactly once, \
         slowest recovery {slowest_recovery:.0?}"
    );
}

#[test]
fn no_step_loses_or_doubles_anything() {
    let mut failures = Vec::new();
    for (nth, (point, most)) in POINTS.iter().enumerate() {
        let journal = point.starts_with("journal");
        let plan = Plan {
            death: Death::At(point, 0, *most),
            // The journal must also stand a power cut; upkeep runs beside half of the others.
            volatile: journal,
            upkeep: *point == "lake::before_compaction" || (!journal && nth % 2 == 0),
            seed: plan().seed + nth as u64,
            ..plan()
        };
        match run(&plan) {
            Ok(done) => report(point, &done),
            Err(failed) => failures.push(format!("{point}: {failed:?}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn random_kills_lose_and_double_nothing() {
    let plan = Plan {
        kills: size("TIDEMARK_RANDOM_KILLS", 3) as u32,
        upkeep: true,
        ..plan()
    };
    match run(&plan) {
        Ok(done) => report("kill -9 at random", &done),
        Err(failed) => panic!("{failed:?}"),
    }
}

#[test]
fn planted_bugs_are_caught() {
    let bugs = [
        // Offsets first, rows in a second commit: fatal between the two.
        (
            "bug::offset_early",
            Death::At("lake::before_commit", 10, 60),
            false,
        ),
        // What is committed is committed again: fatal where some tables had it and others had not.
        (
            "bug::skip_txn_check",
            Death::At("lake::after_commit", 10, 60),
            false,
        ),
        (
            "bug::skip_dedup",
            Death::At("rollup::after_commit", 3, 8),
            false,
        ),
        // Acknowledged before it is on the disk: fatal when the power goes.
        (
            "bug::skip_fsync",
            Death::At("journal::before_ack", 10, 40),
            true,
        ),
    ];
    for (bug, death, volatile) in bugs {
        let sound = Plan {
            death,
            volatile,
            kills: 4,
            ..plan()
        };
        match run(&sound) {
            Ok(done) => {
                report(&format!("without {bug}"), &done);
                assert!(
                    done.torn > 0 || !matches!(death, Death::At("lake::after_commit", ..)),
                    "no kill fell between two tables"
                );
            }
            Err(failed) => panic!("without {bug} under the same kills: {failed:?}"),
        }
        match run(&Plan {
            bug: Some(bug),
            ..sound
        }) {
            Err(Failed::Found(what)) => eprintln!("{bug} is caught:\n  {what}"),
            Err(Failed::Broken(why)) => panic!("{bug}: the harness broke: {why}"),
            Ok(done) => panic!("{bug} went unnoticed: {done:?}"),
        }
    }
}
