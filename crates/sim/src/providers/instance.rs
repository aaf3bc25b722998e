//! A small value that satisfies a JSON Schema, and one that does not.

use serde_json::{Map, Value, json};

/// Deeper schemas than this get `null`.
const DEPTH: u32 = 24;

/// A minimal instance. Schemas that contradict themselves, and `pattern`, `not` and `if`, are beyond it.
pub(super) fn valid(schema: &Value) -> Value {
    build(schema, schema, 0)
}

/// An instance that fails the schema: a required property is missing, or something has another type.
pub(super) fn invalid(schema: &Value) -> Value {
    let mut instance = valid(schema);
    let required = schema.get("required").and_then(Value::as_array);
    let first = required
        .and_then(|names| names.first())
        .and_then(Value::as_str);
    if let (Some(first), Some(object)) = (first, instance.as_object_mut()) {
        object.remove(first);
        return instance;
    }
    let property = schema
        .get("properties")
        .and_then(Value::as_object)
        .and_then(|properties| {
            properties
                .iter()
                .find(|(_, schema)| wrong_type(schema).is_some())
        });
    match (property, instance.as_object_mut()) {
        (Some((name, schema)), Some(object)) => {
            object.insert(name.clone(), wrong_type(schema).unwrap_or(Value::Null));
            instance
        }
        _ => json!(["not", "an", "object"]),
    }
}

/// A value of another type than the schema's.
fn wrong_type(schema: &Value) -> Option<Value> {
    match type_of(schema)?.as_str() {
        "string" => Some(json!({ "value": 7 })),
        _ => Some(json!("seven")),
    }
}

/// The schema's type, the first that is not null where it has several; Gemini's are in capitals.
fn type_of(schema: &Value) -> Option<String> {
    match schema.get("type")? {
        Value::String(name) => Some(name.to_ascii_lowercase()),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .or_else(|| names.first().and_then(Value::as_str))
            .map(str::to_ascii_lowercase),
        _ => None,
    }
}

fn build(schema: &Value, root: &Value, depth: u32) -> Value {
    if depth > DEPTH {
        return Value::Null;
    }
    if let Some(target) = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.strip_prefix('#'))
        .and_then(|path| root.pointer(path))
    {
        return build(target, root, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(value) = schema
        .get("enum")
        .and_then(Value::as_array)
        .and_then(|values| values.first())
    {
        return value.clone();
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return build(&merged(schema, parts, root), root, depth + 1);
    }
    for choice in ["anyOf", "oneOf"] {
        let options = schema.get(choice).and_then(Value::as_array);
        // What is not null says more, where there is a choice.
        let picked = options.and_then(|options| {
            options
                .iter()
                .find(|option| type_of(option).as_deref() != Some("null"))
                .or_else(|| options.first())
        });
        if let Some(picked) = picked {
            let mut outer = schema.clone();
            if let Some(object) = outer.as_object_mut() {
                object.remove(choice);
            }
            return build(
                &merged(&outer, std::slice::from_ref(picked), root),
                root,
                depth + 1,
            );
        }
    }
    match type_of(schema).as_deref() {
        Some("object") => object(schema, root, depth),
        Some("array") => array(schema, root, depth),
        Some("string") => json!(string(schema)),
        Some("integer") => json!(number(schema, true) as i64),
        Some("number") => json!(number(schema, false)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ if schema.get("properties").is_some() || schema.get("required").is_some() => {
            object(schema, root, depth)
        }
        _ if schema.get("items").is_some() => array(schema, root, depth),
        // No constraint, or nothing that this understands. At the top a tool's arguments are an object.
        _ if depth == 0 => json!({}),
        _ => json!("any"),
    }
}

/// One schema out of several that all hold: properties and required names add up, of the rest the last wins.
fn merged(schema: &Value, parts: &[Value], root: &Value) -> Value {
    let mut out = schema.as_object().cloned().unwrap_or_default();
    out.remove("allOf");
    for part in parts {
        let part = part
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix('#'))
            .and_then(|path| root.pointer(path))
            .unwrap_or(part);
        for (key, value) in part.as_object().into_iter().flatten() {
            match (out.get_mut(key), value) {
                (Some(Value::Object(have)), Value::Object(more)) if key == "properties" => {
                    have.extend(more.clone());
                }
                (Some(Value::Array(have)), Value::Array(more)) if key == "required" => {
                    have.extend(more.clone());
                }
                _ => {
                    out.insert(key.clone(), value.clone());
                }
            }
        }
    }
    Value::Object(out)
}

fn object(schema: &Value, root: &Value, depth: u32) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let mut names: Vec<&str> = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // Nothing is required: the first one or two say more than an empty object. Not deep down, where it may recurse.
    if names.is_empty() && depth < 3 {
        names.extend(
            properties
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .take(2),
        );
    }
    let least = schema
        .get("minProperties")
        .and_then(Value::as_u64)
        .unwrap_or(0)
        .min(64) as usize;
    let others = schema.get("additionalProperties");
    let mut out = Map::new();
    for name in names {
        let value = match properties.and_then(|properties| properties.get(name)) {
            Some(schema) => build(schema, root, depth + 1),
            None => others.map_or(json!("any"), |schema| build(schema, root, depth + 1)),
        };
        out.insert(name.to_owned(), value);
    }
    for (name, schema) in properties.into_iter().flatten() {
        if out.len() >= least {
            break;
        }
        if !out.contains_key(name) {
            out.insert(name.clone(), build(schema, root, depth + 1));
        }
    }
    for index in 0..least {
        if out.len() >= least {
            break;
        }
        let value = others.map_or(json!("any"), |schema| build(schema, root, depth + 1));
        out.insert(format!("key_{index}"), value);
    }
    Value::Object(out)
}

fn array(schema: &Value, root: &Value, depth: u32) -> Value {
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let prefix = schema.get("prefixItems").and_then(Value::as_array);
    let least = count("minItems").unwrap_or(0).max(u64::from(depth < 3));
    let length = least
        .max(prefix.map_or(0, |prefix| prefix.len() as u64))
        .min(count("maxItems").unwrap_or(u64::MAX))
        .min(256);
    let unique = schema.get("uniqueItems").and_then(Value::as_bool) == Some(true);
    let item = |index: usize| {
        let schema = prefix
            .and_then(|prefix| prefix.get(index))
            .or_else(|| schema.get("items"));
        let Some(schema) = schema else {
            return json!("any");
        };
        let options = schema.get("enum").and_then(Value::as_array);
        match (unique, options, build(schema, root, depth + 1)) {
            (true, Some(options), first) => options.get(index).cloned().unwrap_or(first),
            (true, None, Value::String(text)) if index > 0 => json!(format!("{text}{index}")),
            (true, None, Value::Number(number)) if index > 0 => number
                .as_i64()
                .map_or(json!(index), |number| json!(number + index as i64)),
            (_, _, value) => value,
        }
    };
    (0..length as usize).map(item).collect()
}

fn string(schema: &Value) -> String {
    let format = schema.get("format").and_then(Value::as_str);
    let known = match format {
        Some("date") => Some("2026-07-01"),
        Some("date-time") => Some("2026-07-01T09:30:00Z"),
        Some("time") => Some("09:30:00Z"),
        Some("duration") => Some("PT1H"),
        Some("email" | "idn-email") => Some("ada@example.com"),
        Some("uri" | "url" | "iri" | "uri-reference") => Some("https://example.com/"),
        Some("uuid") => Some("0190a6c2-7b1e-7c3a-9d44-2f6f0f1f6a11"),
        Some("ipv4") => Some("192.0.2.7"),
        Some("ipv6") => Some("2001:db8::7"),
        Some("hostname" | "idn-hostname") => Some("example.com"),
        _ => None,
    };
    if let Some(known) = known {
        return known.to_owned();
    }
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let least = count("minLength").unwrap_or(0).min(65_536) as usize;
    let most = count("maxLength").map_or(usize::MAX, |most| most as usize);
    let mut text: String = "harbour".chars().take(most).collect();
    while text.len() < least {
        text.push('x');
    }
    text
}

fn number(schema: &Value, whole: bool) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let step = bound("multipleOf")
        .filter(|step| *step > 0.0)
        .unwrap_or(if whole { 1.0 } else { 0.5 });
    // Draft 4 and Gemini have `exclusiveMinimum: true` beside `minimum`.
    let strict = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
    let above = |low: f64| ((low / step).floor() + 1.0) * step;
    let from = |low: f64| (low / step).ceil() * step;
    let below = |high: f64| ((high / step).ceil() - 1.0) * step;
    let to = |high: f64| (high / step).floor() * step;
    let low = match (bound("exclusiveMinimum"), bound("minimum")) {
        (Some(low), Some(other)) => Some(above(low).max(from(other))),
        (Some(low), None) => Some(above(low)),
        (None, Some(low)) if strict("exclusiveMinimum") => Some(above(low)),
        (None, Some(low)) => Some(from(low)),
        (None, None) => None,
    };
    let high = match (bound("exclusiveMaximum"), bound("maximum")) {
        (Some(high), Some(other)) => Some(below(high).min(to(other))),
        (Some(high), None) => Some(below(high)),
        (None, Some(high)) if strict("exclusiveMaximum") => Some(below(high)),
        (None, Some(high)) => Some(to(high)),
        (None, None) => None,
    };
    let usual = from(3.0);
    let value = usual
        .max(low.unwrap_or(f64::MIN))
        .min(high.unwrap_or(f64::MAX));
    // The step may be wider than the space: then the bounds matter more.
    match low {
        Some(low) if value < low => bound("minimum").unwrap_or(low),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn schemas() -> Vec<Value> {
        vec![
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false}),
            json!({"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "days": {"type": "integer", "minimum": 5, "maximum": 9}}}),
            json!({"type": "object", "properties": {"xs": {"type": "array", "minItems": 3, "uniqueItems": true, "items": {"type": "integer"}}}, "required": ["xs"]}),
            json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "object", "required": ["deep"], "properties": {"deep": {"type": ["null", "number"], "exclusiveMinimum": 7}}}, "b": {"const": 4}}}),
            json!({"$defs": {"node": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 12}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}, "$ref": "#/$defs/node"}),
            json!({"type": "object", "properties": {"when": {"type": "string", "format": "date-time"}, "who": {"type": "string", "format": "email"}}, "required": ["when", "who"]}),
            json!({"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {"type": "boolean"}}}, {"type": "object", "required": ["b"], "properties": {"b": {"type": "number", "multipleOf": 0.25, "maximum": 1.1}}}]}),
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}),
            json!({"type": "object", "properties": {"t": {"oneOf": [{"type": "object", "required": ["k"], "properties": {"k": {"const": "x"}}}, {"type": "object", "required": ["z"], "properties": {"z": {"type": "string"}}}]}}, "required": ["t"]}),
            json!({"type": "object", "properties": {"short": {"type": "string", "maxLength": 3}, "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "maxItems": 2}}, "required": ["short", "pair"]}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}}),
        ]
    }

    #[test]
    fn valid_ones_pass_and_invalid_ones_fail() {
        for schema in schemas() {
            let validator = jsonschema::validator_for(&schema).unwrap();
            let good = valid(&schema);
            assert!(validator.is_valid(&good), "{schema} {good}");
            assert!(good.is_object(), "{good}");
            let bad = invalid(&schema);
            assert!(!validator.is_valid(&bad), "{schema} {bad}");
        }
    }

    #[test]
    fn endless_schemas_end() {
        let schema =
            json!({"type": "object", "required": ["me"], "properties": {"me": {"$ref": "#"}}});
        assert!(valid(&schema).is_object());
        valid(&json!({"$ref": "#"}));
        valid(&json!({"allOf": [{"$ref": "#"}]}));
        valid(&json!(true));
        valid(&json!(7));
    }

    #[test]
    fn geminis_capitals_are_read() {
        let schema =
            json!({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]});
        assert_eq!(valid(&schema), json!({"n": 3}));
    }
}
