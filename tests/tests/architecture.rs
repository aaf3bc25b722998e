//! The arrows between the crates are those of the table in ARCHITECTURE.md, and no others.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail loudly"
)]

use std::collections::BTreeSet;
use std::process::Command;

/// Who may depend on whom. The binary and the tests may use all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("catalog", &[]),
    ("bus", &["event"]),
    ("lake", &["event"]),
    ("rollup", &["event", "bus", "lake"]),
    ("warehouse", &["lake"]),
    ("router", &["event", "catalog", "bus"]),
    ("insight", &["catalog", "lake", "warehouse"]),
    ("api", &["insight"]),
    ("sim", &["event", "catalog"]),
];

fn metadata() -> serde_json::Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--manifest-path",
            manifest,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn room(package: &str) -> &str {
    package.strip_prefix("tidemark-").unwrap_or(package)
}

#[test]
fn no_arrow_leaves_the_table() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = room(package["name"].as_str().unwrap());
        if matches!(name, "tidemark" | "tests") {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(room, _)| *room == name) else {
            wrong.push(format!("{name} is not in the table: add it here and in ARCHITECTURE.md, with what it may use"));
            continue;
        };
        // Also dev- and build-dependencies: a test that needs another room belongs into `tests`.
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if ours.contains(on) && !allowed.contains(&room(on)) {
                wrong.push(format!(
                    "{name} -> {} ({})",
                    room(on),
                    dependency["kind"].as_str().unwrap_or("normal")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that are not allowed:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn the_table_has_no_circles() {
    // Every room may only use rooms that are settled before it, in some order.
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < ALLOWED.len() {
        let next: Vec<&str> = ALLOWED
            .iter()
            .filter(|(room, uses)| {
                !settled.contains(room) && uses.iter().all(|on| settled.contains(on))
            })
            .map(|(room, _)| *room)
            .collect();
        assert!(!next.is_empty(), "a circle among {ALLOWED:?}");
        settled.extend(next);
    }
}

#[test]
fn failpoints_are_off_by_default() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let default = package["features"]["default"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            default
                .iter()
                .all(|feature| !feature.as_str().unwrap().contains("failpoints")),
            "{name}"
        );
        for dependency in package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|_| name != "tidemark-tests")
        {
            let features = dependency["features"].as_array().unwrap();
            assert!(
                features.iter().all(|feature| feature != "failpoints"),
                "{name} switches failpoints on for {}",
                dependency["name"]
            );
        }
    }
    let defaults = metadata["workspace_default_members"].as_array().unwrap();
    assert!(
        defaults
            .iter()
            .all(|id| !id.as_str().unwrap().contains("tidemark-tests")
                && !id.as_str().unwrap().contains("/tests#"))
    );
}

/// Words of a text that begin with `tidemark_`.
fn figures(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tidemark_"))
        .collect()
}

#[test]
fn dashboards_and_alerts_ask_for_figures_that_are_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let mut there: BTreeSet<String> = BTreeSet::new();
    for source in ["warehouse.rs", "parts/rollup.rs", "parts/router.rs"] {
        let text = read(&format!("crates/tidemark/src/{source}"));
        there.extend(figures(&text).into_iter().map(str::to_owned));
    }
    // The router's own are registered without the prefix, and the text format adds the endings.
    let router = read("crates/router/src/metrics.rs");
    for name in router.split('"').skip(1).step_by(2) {
        for ending in ["", "_total", "_bucket", "_sum", "_count"] {
            there.insert(format!("tidemark_router_{name}{ending}"));
        }
    }
    there.extend(figures(&router).into_iter().map(str::to_owned));
    let dashboard = read("dashboards/grafana/tidemark.json");
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() > 5);
    let alerts = read("dashboards/prometheus/alerts.yml");
    let asked: BTreeSet<&str> = figures(&dashboard)
        .into_iter()
        .chain(figures(&alerts))
        .collect();
    assert!(asked.len() > 15, "{asked:?}");
    let unknown: Vec<&&str> = asked
        .iter()
        .filter(|name| !there.contains(**name))
        .collect();
    assert!(unknown.is_empty(), "nobody gives {unknown:?}");
}

/// The fuzzer instruments all code, and Kafka's C does not build so. Nothing else here notices when that is asked for again.
#[test]
fn fuzz_targets_need_no_kafka() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lock = std::fs::read_to_string(root.join("fuzz/Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"tidemark-router\""));
    assert!(
        !lock.contains("name = \"rdkafka"),
        "the router is to be built without the feature `kafka` of the bus"
    );
}
