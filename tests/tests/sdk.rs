//! The official SDKs, unchanged, against the router: chat, streams, tools, structured output, errors, retries, messages; and
//! one event for every request they made. And OpenTelemetry's SDK, which tells of requests made elsewhere.
//!
//! Python and Node are needed; where one is missing the test says so and passes, unless `SDK_TESTS=required`. The packages, with
//! their versions, are in `tests/sdk`; they go into `~/.cache/tidemark/sdk` once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and says what it skips"
)]

use arrow::array::AsArray;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tidemark_catalog::Catalog;
use tidemark_insight::{Policy, RankingQuery, Rankings, held, publish};
use tidemark_lake::{EVENTS, Hot};
use tidemark_sim::providers::Script;
use tidemark_tests::folder::{Folder, Sizes, rows};
use tidemark_tests::gateway::front;
use tidemark_tests::process::{self, cache, has_python};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk");

/// Whether to go on: what is missing is said, and is a failure with `SDK_TESTS=required`.
fn found(there: bool, what: &str) -> bool {
    assert!(
        there || std::env::var_os("SDK_TESTS").is_none_or(|wanted| wanted != "required"),
        "{what} is missing, and SDK_TESTS=required"
    );
    if !there {
        eprintln!("skipped: {what} is not here");
    }
    there
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The packages, installed once for all tests of this process.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let requirements = Path::new(SCRIPTS).join("requirements.txt");
    process::python(&cache("sdk/venv").unwrap(), &requirements).unwrap()
});

/// A script with the packages; none where Python cannot make a place for them.
fn python(script: &str) -> Option<Command> {
    found(has_python(), "python3 with venv").then(|| {
        let mut command = Command::new(&*PYTHON);
        command.arg(Path::new(SCRIPTS).join(script));
        command
    })
}

fn node() -> PathBuf {
    let folder = cache("sdk/node").unwrap();
    for file in ["package.json", "openai_sdk.mjs"] {
        std::fs::copy(Path::new(SCRIPTS).join(file), folder.join(file)).unwrap();
    }
    run(Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&folder));
    folder.join("openai_sdk.mjs")
}

/// Runs one script against a fresh router; as many events as it made requests.
async fn drive(mut command: Command) {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::demo(&Catalog::builtin().unwrap())
        .without_faults()
        .with_speed(0.0);
    let front = front(dir.path(), script).await.unwrap();
    command
        .env("TIDEMARK_URL", &front.url)
        .env("TIDEMARK_KEY", &front.key);
    let printed = tokio::task::spawn_blocking(move || run(&mut command))
        .await
        .unwrap();
    let requests: usize = printed.trim().parse().unwrap();
    let billed = front.ledger.total();
    let events = front.events().await.unwrap();
    let outcomes = events.column_by_name("outcome").unwrap().as_string::<i32>();
    let count = |outcome| {
        outcomes
            .iter()
            .filter(|found| *found == Some(outcome))
            .count()
    };
    eprintln!(
        "{requests} requests: {} ok, {} error, {} rejected, {} cancelled; the providers saw {}",
        count("ok"),
        count("error"),
        count("rejected"),
        count("cancelled"),
        billed.requests,
    );
    assert_eq!(events.num_rows(), requests, "one request, one event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_for_python() {
    if let Some(command) = python("openai_sdk.py") {
        drive(command).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anthropic_for_python() {
    if let Some(command) = python("anthropic_sdk.py") {
        drive(command).await;
    }
}

/// Spans of OpenTelemetry's instrumentation, in its names of old and of late, with all the content it can be made to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opentelemetry_for_python() {
    let of_late = [
        (
            "OTEL_SEMCONV_STABILITY_OPT_IN",
            "gen_ai_latest_experimental",
        ),
        (CAPTURE, "SPAN_ONLY"),
    ];
    for names in [&[(CAPTURE, "true")][..], &of_late] {
        let Some(mut command) = python("otel_sdk.py") else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let script = Script::demo(&Catalog::builtin().unwrap())
            .without_faults()
            .with_speed(0.0);
        let front = front(dir.path(), script).await.unwrap();
        command
            .env("TIDEMARK_URL", &front.url)
            .env("TIDEMARK_KEY", &front.key)
            .env("PROVIDERS_URL", &front.providers)
            .envs(names.iter().copied());
        let printed = tokio::task::spawn_blocking(move || run(&mut command))
            .await
            .unwrap();
        let seen: serde_json::Value = serde_json::from_str(&printed).unwrap();
        front.stop().await.unwrap();

        let folder = Folder::open(
            dir.path(),
            Sizes {
                partitions: 4,
                ..Sizes::default()
            },
        )
        .await
        .unwrap();
        folder.worker().unwrap().drain().await.unwrap();
        let texts = [
            "source",
            "outcome",
            "model",
            "provider",
            "app",
            "finish_reason",
        ];
        let numbers = ["prompt_tokens", "completion_tokens", "status", "latency_us"];
        let events = rows(folder.lake.table(EVENTS).unwrap(), &texts, &numbers)
            .await
            .unwrap();
        let routed = events
            .iter()
            .filter(|(texts, _)| texts[0] == "router")
            .count();
        assert_eq!(routed, 3, "the router counts what it answers, once");
        let (mut requests, mut errors, mut stops, mut tokens) = (0, 0, 0, [0, 0]);
        for (texts, numbers) in events.iter().filter(|(texts, _)| texts[0] == "ingest:otlp") {
            assert_eq!(texts[2..5], ["openai/gpt-4o", "openai", "tide-table"]);
            assert!(numbers[3] > 0);
            if texts[1] == "ok" {
                requests += 1;
                stops += usize::from(texts[5] == "stop");
                tokens[0] += numbers[0];
                tokens[1] += numbers[1];
            } else {
                errors += 1;
                assert_eq!((texts[1].as_str(), numbers[2]), ("error", 429));
            }
        }
        let found = serde_json::json!({"requests": requests, "errors": errors, "prompt": tokens[0], "completion": tokens[1]});
        assert_eq!(found, seen);
        // The instrumentation does not say of every stream why it ended.
        assert!(stops >= 5, "{stops} of {requests} ended");

        // And so say the rankings: what went past the router and what went through it, under one name.
        let through: i64 = events
            .iter()
            .filter(|(texts, _)| texts[0] == "router")
            .map(|(_, numbers)| numbers[0] + numbers[1])
            .sum();
        let mut hot = Hot::new(folder.lake.clone(), held());
        let (_, held) = hot.refresh().await.unwrap().unwrap();
        let now = chrono::Utc::now();
        let context = publish(&held, &Catalog::builtin().unwrap(), now)
            .await
            .unwrap();
        let policy = Policy {
            min_accounts: 1,
            dominance: 1.0,
            ..Policy::default()
        };
        let rankings = Rankings::embedded(policy).unwrap();
        let query = RankingQuery::of("models");
        let answer = rankings
            .answer(&context, chrono::Utc::now(), &query)
            .await
            .unwrap();
        assert_eq!(answer.rows[0].key, "openai/gpt-4o");
        assert_eq!(answer.rows[0].tokens, tokens[0] + tokens[1] + through);
        eprintln!(
            "{seen}, as told by spans; {} tokens ranked",
            answer.rows[0].tokens
        );
    }
}

/// Makes the instrumentation send prompts and answers too.
const CAPTURE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_for_node() {
    let there = Command::new("npm").arg("--version").output();
    if found(there.is_ok_and(|npm| npm.status.success()), "npm") {
        let mut command = Command::new("node");
        command.arg(node());
        drive(command).await;
    }
}
