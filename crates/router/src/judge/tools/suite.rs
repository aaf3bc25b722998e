//! Agreement with the JSON Schema test suite. `tests/fetch_json_schema_suite.sh` fetches it; without it the test says so and passes.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use super::schema::{NotASchema, Schema};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    let cache = || {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
            .join(".cache/tidemark/json-schema-suite")
    };
    std::env::var_os("TIDEMARK_JSON_SCHEMA_SUITE").map_or_else(cache, PathBuf::from)
}

/// Tests, agreements, and tests of schemas that need a remote one, which is never fetched.
fn run(folder: &Path, draft: &str) -> (u32, u32, u32) {
    let (mut all, mut agreed, mut remote) = (0, 0, 0);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("tests").join(draft))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for group in &groups {
            let schema = Schema::of(&group["schema"]);
            let tests = group["tests"].as_array().unwrap();
            if schema.as_ref().err() == Some(&NotASchema::Reference) {
                remote += u32::try_from(tests.len()).unwrap();
                println!("{draft} {name}: not fetched: {}", group["description"]);
                continue;
            }
            for test in tests {
                let said = schema
                    .as_ref()
                    .ok()
                    .map(|schema| !schema.fails(&test["data"]));
                all += 1;
                if said == test["valid"].as_bool() {
                    agreed += 1;
                } else {
                    println!(
                        "{draft} {name}: {} / {}: said {said:?}",
                        group["description"], test["description"]
                    );
                }
            }
        }
    }
    (all, agreed, remote)
}

#[test]
fn agrees_with_the_json_schema_test_suite() {
    let folder = folder();
    if !folder.join("tests").is_dir() {
        println!("skipped: no JSON Schema test suite at {}", folder.display());
        return;
    }
    for draft in ["draft7", "draft2020-12"] {
        let (all, agreed, remote) = run(&folder, draft);
        let share = 100.0 * f64::from(agreed) / f64::from(all);
        println!(
            "{draft}: {agreed}/{all} required tests agree ({share:.2}%); {remote} more need a remote schema and are refused"
        );
        assert!(share > 99.0);
    }
}
