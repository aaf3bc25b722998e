//! Limits survive the process, also one that is killed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail loudly, and one that measures should say what"
)]

mod support;

use http_body_util::{BodyExt, Full};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;
use tidemark_bus::{Journal, JournalOptions};
use tidemark_catalog::Catalog;
use tidemark_router::adapters::Dialect;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::Keys;
use tidemark_router::keys::admission::Of;
use tidemark_router::keys::counter::Amounts;
use tidemark_router::keys::window::Window;
use tidemark_router::route::Routes;
use tidemark_router::settings::Settings;

const DIR: &str = "TIDEMARK_TEST_DIR";
const KEY: &str = "sk-tidemark-restart";
/// Requests over all lives of the process.
const LIMIT: u64 = 4_000;
/// Requests at work at the same time.
const SLOTS: u64 = 8;
/// Use is saved twice a second; the save itself takes a moment.
const FORGETFUL: Duration = Duration::from_millis(1_000);

/// What the process that is killed does: asks as fast as it can, and says each request that is answered.
async fn serve_until_killed(dir: &Path) {
    let act = Act {
        pause: Duration::from_millis(5),
        ..http("200 OK", "application/json", OK)
    };
    let (base, _) = upstream(vec![act]).await;
    let settings = Settings {
        upstreams: vec![reach("openai", Dialect::OpenaiCompatible, &base)],
        ..Settings::default()
    };
    let journal = Journal::open(&dir.join("journal"), JournalOptions::default()).unwrap();
    let routes = Routes::new(Arc::new(Catalog::builtin().unwrap()), &settings).unwrap();
    let keys = Keys::open(dir).unwrap();
    tokio::spawn(keys.clone().keep());
    let (emitter, _) = Emitter::start(journal).unwrap();
    let gateway = Arc::new(Gateway::new(settings, routes, keys, emitter).unwrap());
    let clients = (0..SLOTS).map(|_| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            loop {
                let request = http::Request::post("/v1/chat/completions")
                    .header("authorization", format!("Bearer {KEY}"))
                    .body(Full::new(bytes::Bytes::from(ask(false))))
                    .unwrap();
                let answer = gateway.handle(request).await;
                let status = answer.status().as_u16();
                answer.into_body().collect().await.unwrap();
                println!("answered {status}");
                if status == 402 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    });
    let _asking: Vec<_> = clients.collect();
    // Until the kill.
    std::future::pending::<()>().await;
}

/// Starts this program once more, to serve, kills it after a while, and returns when each request was answered, before the kill.
fn one_life(dir: &Path, length: Duration) -> (Vec<Duration>, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["limits_survive_kills", "--exact", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let heard = std::thread::spawn(move || {
        let mut answered = Vec::new();
        let mut refused = false;
        for line in lines.map_while(Result::ok) {
            answered.extend(line.contains("answered 200").then(Instant::now));
            refused |= line.contains("answered 402");
        }
        (answered, refused)
    });
    std::thread::sleep(length);
    child.kill().unwrap(); // SIGKILL
    let killed = Instant::now();
    child.wait().unwrap();
    let (answered, refused) = heard.join().unwrap();
    let before = answered
        .iter()
        .map(|at| killed.saturating_duration_since(*at));
    (before.collect(), refused)
}

fn counted(dir: &Path) -> Amounts {
    let keys = Keys::open(dir).unwrap();
    let used = keys.account(KEY).unwrap().standing.unwrap().used();
    used.used(Window::Total)
}

#[test]
fn limits_survive_kills() {
    if let Ok(dir) = std::env::var(DIR) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(serve_until_killed(Path::new(&dir)));
    }
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    let stored = keys.add("acme", KEY).unwrap();
    let limit = format!("{LIMIT} requests/total").parse().unwrap();
    keys.update(&stored.id, |key| key.terms.limits = vec![limit])
        .unwrap();
    let (mut all, mut forgotten, mut refused) = (0, 0, false);
    for life in 0..12 {
        let before = counted(dir.path()).requests;
        // Not always the same moment between two saves.
        let (answered, met) = one_life(dir.path(), Duration::from_millis(1_500 + 137 * life));
        let after = counted(dir.path());
        let lived = answered.len() as u64;
        let lost = lived.saturating_sub(after.requests - before);
        let late = answered
            .iter()
            .filter(|before_kill| **before_kill < FORGETFUL)
            .count() as u64;
        println!(
            "life {life}: {lived} answered, {} counted, {lost} forgotten, {late} in the last second",
            after.requests - before
        );
        assert!(lost <= late, "more was forgotten than the last second's");
        assert!(
            after.requests - before <= lived + SLOTS,
            "more was counted than asked"
        );
        all += lived;
        forgotten += lost;
        // What the last life forgot may be used once more: the limit is reached when it is saved, too.
        refused = met && after.requests == LIMIT;
        if refused {
            break;
        }
    }
    println!("limit {LIMIT}, answered {all} over all lives, forgotten {forgotten}");
    assert!(refused, "the limit was never met");
    assert!(all <= LIMIT + forgotten + SLOTS);
    let readings = Keys::open(dir.path())
        .unwrap()
        .readings(Of::Key, &stored.id, &stored.terms);
    assert!(readings.is_empty(), "the key as it was made had no limits");
}

#[tokio::test]
async fn a_damaged_ledger_is_set_aside_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    keys.add("acme", KEY).unwrap();
    let admit = |keys: &Keys| {
        drop(
            keys.account(KEY)
                .unwrap()
                .standing
                .unwrap()
                .admit()
                .unwrap(),
        )
    };
    admit(&keys);
    keys.save().unwrap();
    admit(&keys);
    keys.save().unwrap();
    drop(keys);
    let file = dir.path().join("keys-used.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let last_but_one = bytes.len() - 10;
    bytes[last_but_one] ^= 1;
    bytes.extend_from_slice(b"\x00\xff garbage\nmore");
    std::fs::write(&file, &bytes).unwrap();
    // The damaged line of the last save is that of the key or that of the account.
    assert!((1..=2).contains(&counted(dir.path()).requests));
    let keys = Keys::open(dir.path()).unwrap();
    let keeping = tokio::spawn(keys.keep());
    tokio::time::sleep(Duration::from_millis(300)).await;
    keeping.abort();
    let names: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("keys-used.log.damaged-")),
        "{names:?}"
    );
    assert!(!std::fs::read(&file).unwrap().contains(&0xff));
}
