//! Tool offers and tool calls.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemark_router::judge::tools::{Offered, ToolChoice, ToolCounts};

fn function(name: &str, parameters: &Value) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn city() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"], "additionalProperties": false})
}

fn param(tools: &Value, choice: Option<&Value>) -> String {
    let error = Offered::read(Some(tools), choice).unwrap_err();
    assert!(!error.message.contains("SECRET"), "{}", error.message);
    error.param.unwrap()
}

fn counts(tools: &Value, parts: &[(u32, Option<&str>, &str)]) -> ToolCounts {
    let mut judge = Offered::read(Some(tools), None).unwrap().judge();
    for (index, name, arguments) in parts {
        judge.part(*index, *name, arguments);
    }
    judge.finish()
}

fn wrong(called: u32, invalid_json: u32, unknown_name: u32, schema_mismatch: u32) -> ToolCounts {
    ToolCounts {
        called,
        invalid_json,
        unknown_name,
        schema_mismatch,
    }
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    assert_eq!(param(&json!({"SECRET": 1}), None), "tools");
    assert_eq!(param(&json!(["SECRET"]), None), "tools[0]");
    assert_eq!(param(&json!([{"function": {}}]), None), "tools[0].type");
    assert_eq!(param(&json!([{"type": 7}]), None), "tools[0].type");
    assert_eq!(
        param(&json!([{"type": "function"}]), None),
        "tools[0].function"
    );
    assert_eq!(
        param(&json!([{"type": "function", "function": "SECRET"}]), None),
        "tools[0].function"
    );
    assert_eq!(
        param(&json!([{"type": "function", "function": {}}]), None),
        "tools[0].function.name"
    );
    for name in ["", "SECRET name", "SECRET\u{e9}", &"SECRET".repeat(40)] {
        assert_eq!(
            param(
                &json!([function("ok", &json!({})), function(name, &json!({}))]),
                None
            ),
            "tools[1].function.name"
        );
    }
    assert_eq!(
        param(
            &json!([
                function("SECRET", &json!({})),
                function("SECRET", &json!({}))
            ]),
            None
        ),
        "tools[1].function.name"
    );
    assert_eq!(
        param(
            &json!([{"type": "function", "function": {"name": "a", "description": 1}}]),
            None
        ),
        "tools[0].function.description"
    );
    assert_eq!(
        param(
            &json!([{"type": "function", "function": {"name": "a", "strict": "SECRET"}}]),
            None
        ),
        "tools[0].function.strict"
    );
    let schemas = [
        json!("SECRET"),
        json!([]),
        json!(true),
        json!({"type": "strinSECRET"}),
        json!({"properties": ["SECRET"]}),
        json!({"required": "SECRET"}),
        json!({"pattern": "SECRET("}),
        json!({"$ref": "https://SECRET.example/schema.json"}),
        json!({"$ref": "file:///etc/SECRET"}),
        json!({"$ref": "#/definitions/SECRET"}),
        json!({"pattern": "(((a{1000}){1000}){1000})SECRET"}),
    ];
    for schema in schemas {
        assert_eq!(
            param(&json!([function("a", &schema)]), None),
            "tools[0].function.parameters",
            "{schema}"
        );
    }
    let many: Vec<Value> = (0..513)
        .map(|n| function(&format!("t{n}"), &json!({})))
        .collect();
    assert_eq!(param(&json!(many), None), "tools");
    let one = json!([function("a", &json!({}))]);
    assert_eq!(param(&one, Some(&json!("SECRET"))), "tool_choice");
    assert_eq!(param(&one, Some(&json!(3))), "tool_choice");
    assert_eq!(
        param(
            &one,
            Some(&json!({"type": "function", "function": {"name": "SECRET"}}))
        ),
        "tool_choice.function.name"
    );
    assert_eq!(
        param(&one, Some(&json!({"type": "function"}))),
        "tool_choice.function"
    );
    assert_eq!(
        param(&one, Some(&json!({"type": "SECRET"}))),
        "tool_choice.type"
    );
    assert_eq!(param(&json!([]), Some(&json!("required"))), "tool_choice");
}

#[test]
fn choices_and_counts() {
    let read =
        |tools: Value, choice: Option<Value>| Offered::read(Some(&tools), choice.as_ref()).unwrap();
    let one = || json!([function("a", &city()), {"type": "web_search"}]);
    assert_eq!(
        Offered::read(None, None).unwrap().choice(),
        ToolChoice::None
    );
    assert_eq!(
        (read(one(), None).count(), read(one(), None).choice()),
        (2, ToolChoice::Auto)
    );
    assert_eq!(read(one(), Some(json!("none"))).choice(), ToolChoice::None);
    assert_eq!(
        read(one(), Some(json!("required"))).choice(),
        ToolChoice::Required
    );
    assert_eq!(
        read(
            one(),
            Some(json!({"type": "function", "function": {"name": "a"}}))
        )
        .choice(),
        ToolChoice::Named("a".into())
    );
    assert_eq!(
        read(json!([]), Some(json!("auto"))).choice(),
        ToolChoice::None
    );
}

#[test]
fn each_call_is_wrong_in_one_way_at_most() {
    let tools = json!([function("weather", &city()), function("now", &Value::Null), {"type": "custom", "custom": {"name": "shell"}}]);
    let one = |name: &str, arguments: &str| counts(&tools, &[(0, Some(name), arguments)]);
    assert_eq!(one("weather", "{\"city\":\"Oslo\"}"), wrong(1, 0, 0, 0));
    for broken in [
        "{\"city\":",
        "{\"city\":\"a\"}}",
        "{\"city\":\"a\",\"city\":\"b\"}",
        "city=Oslo",
        "{'city':'a'}",
    ] {
        assert_eq!(one("weather", broken), wrong(1, 1, 0, 0), "{broken}");
        assert_eq!(one("nobody", broken), wrong(1, 1, 0, 0), "{broken}");
    }
    assert_eq!(one("nobody", "{}"), wrong(1, 0, 1, 0));
    assert_eq!(one("Weather", "{}"), wrong(1, 0, 1, 0));
    for off in [
        "{}",
        "",
        "  ",
        "{\"city\":3}",
        "{\"city\":\"a\",\"x\":1}",
        "[]",
        "null",
    ] {
        assert_eq!(one("weather", off), wrong(1, 0, 0, 1), "{off}");
    }
    assert_eq!(one("now", ""), wrong(1, 0, 0, 0));
    assert_eq!(one("now", "3"), wrong(1, 0, 0, 1));
    assert_eq!(one("shell", "ls -l"), wrong(1, 0, 0, 0));
    assert_eq!(counts(&tools, &[]), wrong(0, 0, 0, 0));
}

#[test]
fn parts_come_in_any_order_and_indexes_may_repeat() {
    let tools = json!([function("weather", &city()), function("now", &Value::Null)]);
    let woven = [
        (0, Some("weather"), ""),
        (1, Some("weather"), "{\"ci"),
        (0, None, "{\"city\""),
        (1, None, "ty\":\"b\"}"),
        (0, None, ":\"a\"}"),
    ];
    assert_eq!(counts(&tools, &woven), wrong(2, 0, 0, 0));
    let repeated = [
        (0, Some("weather"), "{\"city\":\"a\"}"),
        (0, Some("now"), "{}"),
        (0, Some("nobody"), "{}"),
    ];
    assert_eq!(counts(&tools, &repeated), wrong(3, 0, 1, 0));
    let again = [
        (0, Some("weather"), "{\"city\":\"a\"}"),
        (0, Some("weather"), "{\"city\":\"b\"}"),
    ];
    assert_eq!(counts(&tools, &again), wrong(2, 0, 0, 0));
    let named_throughout = [
        (0, Some("weather"), "{\"city\""),
        (0, Some("weather"), ":\"a\"}"),
    ];
    assert_eq!(counts(&tools, &named_throughout), wrong(1, 0, 0, 0));
}

#[test]
fn an_endless_call_is_cut_and_counts_as_broken() {
    let tools = json!([function("weather", &city())]);
    let mut judge = Offered::read(Some(&tools), None).unwrap().judge();
    judge.part(0, Some("weather"), "{\"city\":\"");
    for _ in 0..100 {
        judge.part(0, None, &"x".repeat(1 << 16));
    }
    judge.part(0, None, "\"}");
    judge.part(1, Some("weather"), "{\"city\":\"a\"}");
    assert_eq!(judge.finish(), wrong(2, 1, 0, 0));
    let mut judge = Offered::read(Some(&tools), None).unwrap().judge();
    for index in 0..5_000 {
        judge.part(index, Some("weather"), "{\"city\":\"a\"}");
        judge.part(index, None, "");
    }
    assert_eq!(judge.finish(), wrong(5_000, 5_000 - 1_024, 0, 0));
}

#[test]
fn declared_drafts_are_honoured() {
    // `prefixItems` means nothing in draft 7 and the first item's type in 2020-12.
    let schema = |draft: Option<&str>| {
        let mut schema =
            json!({"type": "object", "properties": {"a": {"prefixItems": [{"type": "string"}]}}});
        if let Some(draft) = draft {
            schema["$schema"] = json!(draft);
        }
        schema
    };
    let off = |draft| {
        counts(
            &json!([function("f", &schema(draft))]),
            &[(0, Some("f"), "{\"a\":[1]}")],
        )
        .schema_mismatch
    };
    assert_eq!(off(None), 0);
    assert_eq!(off(Some("http://json-schema.org/draft-07/schema#")), 0);
    assert_eq!(off(Some("https://json-schema.org/draft/2020-12/schema")), 1);
    assert_eq!(off(Some("https://example.com/unheard-of")), 0);
}

#[test]
fn hostile_schemas_cost_little() {
    let start = std::time::Instant::now();
    let mut doubling = json!({"d30": {"type": "string"}});
    for n in 0..30 {
        let next = format!("#/definitions/d{}", n + 1);
        doubling[format!("d{n}")] = json!({"allOf": [{"$ref": next}, {"$ref": next}]});
    }
    let deep = (0..100).fold(
        json!({"type": "string"}),
        |inside, _| json!({"not": inside}),
    );
    let mut chain = json!({"c5000": {}});
    for n in 0..5_000 {
        chain[format!("c{n}")] = json!({"$ref": format!("#/definitions/c{}", n + 1)});
    }
    let schemas = [
        json!({"properties": {"a": {"$ref": "#/definitions/d0"}}, "definitions": doubling}),
        json!({"properties": {"a": {"$ref": "#/definitions/c0"}}, "definitions": chain}),
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"definitions": {"a": {"anyOf": [{"items": {"$ref": "#/definitions/a"}}, {"items": {"$ref": "#/definitions/a"}}, {"items": {"$ref": "#/definitions/a"}}], "not": {"type": "string"}}},
            "properties": {"a": {"$ref": "#/definitions/a"}}}),
        json!({"properties": {"a": {"pattern": "^(a+)+$"}}}),
        json!({"properties": {"a": {"pattern": "^(?=(a+)+b)(a|aa)+$"}}}),
        json!({"properties": {"a": deep}}),
    ];
    let nested = format!("{{\"a\":{}\"x\"{}}}", "[".repeat(100), "]".repeat(100));
    let long = format!("{{\"a\":\"{}!\"}}", "a".repeat(100_000));
    for schema in schemas {
        let Ok(offered) = Offered::read(Some(&json!([function("f", &schema)])), None) else {
            continue;
        };
        for arguments in [nested.as_str(), long.as_str(), "{}"] {
            let mut judge = offered.judge();
            judge.part(0, Some("f"), arguments);
            judge.finish();
        }
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
#[allow(clippy::print_stdout)]
fn tools_seen_before_are_cheap() {
    let tools: Vec<Value> = (0..50)
        .map(|n| {
            function(
                &format!("tool_{n}"),
                &json!({"type": "object", "properties": {"n": {"const": n}, "city": city()}}),
            )
        })
        .collect();
    let tools = json!(tools);
    let start = std::time::Instant::now();
    Offered::read(Some(&tools), None).unwrap();
    let first = start.elapsed();
    let start = std::time::Instant::now();
    for _ in 0..100 {
        Offered::read(Some(&tools), None).unwrap();
    }
    println!(
        "50 tools: first {first:?}, then {:?} in this build",
        start.elapsed() / 100
    );
    assert!(start.elapsed() / 100 < first);
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "type",
        "function",
        "name",
        "parameters",
        "properties",
        "items",
        "$ref",
        "#",
        "anyOf",
        "required",
        "pattern",
        "object",
        "string",
        "a",
        "enum",
        "$id",
        "definitions",
        "#/definitions/a",
        "strict",
        "auto",
        "custom",
        "const",
        "$schema",
        "not",
        "minimum",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|all| Value::Object(
                all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_offer_panics(tools in any_json(), choice in any_json()) {
        let _ = Offered::read(Some(&tools), Some(&choice));
    }

    #[test]
    fn no_schema_or_call_panics(schema in any_json(), arguments in any_json(), bytes in prop::collection::vec(any::<u8>(), 0..200), index in any::<u32>()) {
        if let Ok(offered) = Offered::read(Some(&json!([function("f", &schema)])), None) {
            let mut judge = offered.judge();
            judge.part(index, Some("f"), &arguments.to_string());
            judge.part(index.wrapping_add(1), Some("f"), &String::from_utf8_lossy(&bytes));
            judge.part(7, None, &String::from_utf8_lossy(&bytes));
            let counts = judge.finish();
            prop_assert!(counts.invalid_json + counts.unknown_name + counts.schema_mismatch <= counts.called);
        }
    }
}
