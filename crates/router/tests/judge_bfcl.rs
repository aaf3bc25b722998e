//! The functions and the possible answers of BFCL v4, and the same answers made wrong. Says so and passes where it is absent.
//!
//! The possible answers that are not right here break the data's own schemas: words outside of an `enum` ("dontcare", "N/A"),
//! `True` where the schema wants the text "True", required fields that the answer leaves out. Python's `jsonschema` finds
//! the same ones. In BFCL's own checker they pass, because it compares values and reads no `enum`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use tidemark_router::judge::tools::{Offered, ToolCounts};

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/data/tools/bfcl_v4"
);
const ANSWERED: [&str; 6] = [
    "live_multiple",
    "live_simple",
    "multiple",
    "parallel",
    "parallel_multiple",
    "simple_python",
];
const UNANSWERED: [&str; 2] = ["irrelevance", "live_irrelevance"];

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Python's names of types to JSON Schema's.
fn normal(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, field) in fields {
                match (name.as_str(), field.as_str()) {
                    ("type", Some("dict")) => out.insert(name.clone(), json!("object")),
                    ("type", Some("float")) => out.insert(name.clone(), json!("number")),
                    ("type", Some("tuple")) => out.insert(name.clone(), json!("array")),
                    ("type", Some("any")) => None,
                    _ => out.insert(name.clone(), normal(field)),
                };
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn tools(functions: &[Value]) -> Value {
    let mut seen = std::collections::HashSet::new();
    let all = functions
        .iter()
        .filter(|one| seen.insert(one["name"].clone()));
    all.map(|one| json!({"type": "function", "function": {"name": one["name"], "description": one["description"], "parameters": normal(&one["parameters"])}})).collect()
}

/// The first answer of every choice; the empty string stands for "may be left out", and so does null, Python's `None`. For a
/// field that may not be left out, the empty string is the answer.
fn chosen(choices: &Map<String, Value>, required: &[&str]) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, options) in choices {
        let said = |option: &&Value| option.as_str() != Some("") && !option.is_null();
        match options {
            Value::Array(options) => {
                let option = options.iter().find(said).or_else(|| {
                    let empty = options.iter().find(|option| option.is_string());
                    empty.filter(|_| required.contains(&name.as_str()))
                });
                if let Some(option) = option {
                    out.insert(name.clone(), plain(option));
                }
            }
            other => {
                out.insert(name.clone(), plain(other));
            }
        }
    }
    out
}

fn plain(option: &Value) -> Value {
    match option {
        Value::Object(choices) => Value::Object(chosen(choices, &[])),
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn judged(offered: &Offered, name: &str, arguments: &str) -> ToolCounts {
    let mut judge = offered.judge();
    judge.part(0, Some(name), "");
    for part in arguments
        .as_bytes()
        .chunks(7)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
    {
        if arguments.is_ascii() {
            judge.part(0, None, &part);
        }
    }
    if !arguments.is_ascii() {
        judge.part(0, None, arguments);
    }
    judge.finish()
}

#[derive(Default)]
struct Share(u32, u32);

impl Share {
    fn add(&mut self, right: bool) {
        self.0 += u32::from(right);
        self.1 += 1;
    }

    fn print(&self, what: &str) -> f64 {
        let share = f64::from(self.0) / f64::from(self.1.max(1));
        println!("{what}: {}/{} ({:.2}%)", self.0, self.1, 100.0 * share);
        share
    }
}

#[test]
fn offers_and_answers_of_bfcl() {
    let folder = Path::new(FOLDER);
    if !folder.is_dir() {
        println!("skipped: {FOLDER} is absent");
        return;
    }
    let show = std::env::var_os("TIDEMARK_SHOW").is_some();
    let [
        mut offers,
        mut right,
        mut json_kind,
        mut name_kind,
        mut missing,
        mut type_kind,
    ] = [const { Share(0, 0) }; 6];
    for set in ANSWERED.iter().chain(&UNANSWERED) {
        let mut by_id: HashMap<String, (Offered, Value)> = HashMap::new();
        for row in lines(&folder.join(format!("BFCL_v4_{set}.json"))) {
            let tools = tools(row["function"].as_array().unwrap());
            let offered = Offered::read(Some(&tools), None);
            offers.add(offered.is_ok());
            match offered {
                Ok(offered) => {
                    drop(by_id.insert(row["id"].as_str().unwrap().to_owned(), (offered, tools)))
                }
                Err(error) if show => println!("{}: {:?} {error}", row["id"], error.param),
                Err(_) => {}
            }
        }
        if UNANSWERED.contains(set) {
            continue;
        }
        for row in lines(&folder.join(format!("possible_answer/BFCL_v4_{set}.json"))) {
            let Some((offered, tools)) = by_id.get(row["id"].as_str().unwrap()) else {
                continue;
            };
            for call in row["ground_truth"].as_array().unwrap() {
                for (name, choices) in call.as_object().unwrap() {
                    let tool = tools
                        .as_array()
                        .unwrap()
                        .iter()
                        .find(|tool| tool["function"]["name"] == name.as_str());
                    let required: Vec<&str> = tool
                        .and_then(|tool| tool["function"]["parameters"]["required"].as_array())
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .collect();
                    let arguments = chosen(choices.as_object().unwrap(), &required);
                    let text = Value::Object(arguments.clone()).to_string();
                    let said = judged(offered, name, &text);
                    let good = said
                        == ToolCounts {
                            called: 1,
                            ..ToolCounts::default()
                        };
                    right.add(good);
                    if !good && show {
                        println!("{} {name} {text}: {said:?}", row["id"]);
                    }
                    name_kind.add(judged(offered, &format!("{name}_x"), &text).unknown_name == 1);
                    json_kind
                        .add(judged(offered, name, text.trim_end_matches('}')).invalid_json == 1);
                    let Some(tool) = tool else {
                        continue;
                    };
                    let schema = &tool["function"]["parameters"];
                    for field in required.iter().copied().take(1) {
                        let mut less = arguments.clone();
                        less.remove(field);
                        missing.add(
                            judged(offered, name, &Value::Object(less).to_string()).schema_mismatch
                                == 1,
                        );
                        if schema["properties"][field]["type"].is_string() {
                            let mut off = arguments.clone();
                            off.insert(
                                field.to_owned(),
                                if schema["properties"][field]["type"] == "boolean" {
                                    json!("yes")
                                } else {
                                    json!(true)
                                },
                            );
                            type_kind.add(
                                judged(offered, name, &Value::Object(off).to_string())
                                    .schema_mismatch
                                    == 1,
                            );
                        }
                    }
                }
            }
        }
    }
    assert!(offers.print("offers accepted") > 0.99);
    assert!(right.print("possible answers right") > 0.95);
    assert!(name_kind.print("wrong names found") > 0.9999);
    assert!(json_kind.print("broken JSON found") > 0.9999);
    assert!(missing.print("missing fields found") > 0.9999);
    assert!(type_kind.print("wrong types found") > 0.9999);
}
