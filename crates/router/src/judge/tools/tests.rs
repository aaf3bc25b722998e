//! Verdicts on calls, and what is not taken for an offer.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use serde_json::json;

fn offered() -> Offered {
    let tools = json!([
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "now"}},
    ]);
    Offered::read(Some(&tools), None).unwrap()
}

fn count(parts: &[(u32, Option<&str>, &str)]) -> ToolCounts {
    let mut judge = offered().judge();
    parts
        .iter()
        .for_each(|(index, name, arguments)| judge.part(*index, *name, arguments));
    judge.finish()
}

#[test]
fn each_call_has_one_verdict() {
    let right = ToolCounts {
        called: 1,
        ..ToolCounts::default()
    };
    assert_eq!(
        count(&[
            (0, Some("weather"), ""),
            (0, None, "{\"city\""),
            (0, None, ":\"Oslo\"}")
        ]),
        right
    );
    assert_eq!(count(&[(0, Some("now"), "")]), right);
    assert_eq!(
        count(&[(0, Some("weather"), "{\"city\":")]),
        ToolCounts {
            invalid_json: 1,
            ..right
        }
    );
    assert_eq!(
        count(&[(0, Some("wether"), "{}")]),
        ToolCounts {
            unknown_name: 1,
            ..right
        }
    );
    assert_eq!(
        count(&[(0, Some("wether"), "{")]),
        ToolCounts {
            invalid_json: 1,
            ..right
        }
    );
    assert_eq!(
        count(&[(0, Some("weather"), "{\"city\":\"Oslo\",\"days\":0}")]),
        ToolCounts {
            schema_mismatch: 1,
            ..right
        }
    );
    assert_eq!(
        count(&[(0, Some("weather"), "{}")]),
        ToolCounts {
            schema_mismatch: 1,
            ..right
        }
    );
    assert_eq!(
        count(&[(0, Some("now"), "7")]),
        ToolCounts {
            schema_mismatch: 1,
            ..right
        }
    );
    // Two calls under one index.
    assert_eq!(
        count(&[(0, Some("now"), "{}"), (0, Some("now"), "{}")]),
        ToolCounts { called: 2, ..right }
    );
}

#[test]
fn what_is_no_offer_is_named() {
    let param = |tools: Value, choice: Value| {
        Offered::read(Some(&tools), Some(&choice))
            .map(|_| ())
            .map_err(|bad| bad.param.unwrap())
    };
    let function = |name: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    assert_eq!(param(json!({}), json!("auto")), Err("tools".into()));
    assert_eq!(param(json!([7]), json!("auto")), Err("tools[0]".into()));
    assert_eq!(
        param(json!([function("", json!({}))]), json!("auto")),
        Err("tools[0].function.name".into())
    );
    assert_eq!(
        param(
            json!([function("a", json!({})), function("a", json!({}))]),
            json!("auto")
        ),
        Err("tools[1].function.name".into())
    );
    assert_eq!(
        param(
            json!([function("a", json!({"type": "strin"}))]),
            json!("auto")
        ),
        Err("tools[0].function.parameters".into())
    );
    assert_eq!(
        param(
            json!([function("a", json!({"$ref": "https://example.com/x.json"}))]),
            json!("auto")
        ),
        Err("tools[0].function.parameters".into())
    );
    assert_eq!(
        param(
            json!([function("a", json!({}))]),
            json!({"type": "function", "function": {"name": "b"}})
        ),
        Err("tool_choice".into())
    );
    assert_eq!(
        param(json!([]), json!("required")),
        Err("tool_choice".into())
    );
    assert_eq!(
        param(
            json!([{"type": "web_search"}, function("a", json!({}))]),
            json!("required")
        ),
        Ok(())
    );
}

#[test]
fn hostile_schemas_cost_little() {
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"properties": {"a": deep}});
    }
    assert!(
        Offered::read(
            Some(&json!([{"type": "function", "function": {"name": "a", "parameters": deep}}])),
            None
        )
        .is_err()
    );
    let slow = json!([{"type": "function", "function": {"name": "a", "parameters": {"properties": {"x": {"type": "string", "pattern": "^(a+)+(?=b)$"}}}}}]);
    if let Ok(offered) = Offered::read(Some(&slow), None) {
        let mut judge = offered.judge();
        judge.part(0, Some("a"), &json!({"x": "a".repeat(40)}).to_string());
        assert_eq!(judge.finish().called, 1);
    }
    let circle = json!([{"type": "function", "function": {"name": "a", "parameters": {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}}}]);
    let mut judge = Offered::read(Some(&circle), None).unwrap().judge();
    judge.part(0, Some("a"), "{\"n\":{\"n\":{}}}");
    assert_eq!(
        judge.finish(),
        ToolCounts {
            called: 1,
            ..ToolCounts::default()
        }
    );
}
