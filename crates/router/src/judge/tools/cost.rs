//! What checking by a schema can cost, before it is compiled: references multiply work, in a circle without end.

use serde_json::Value;
use std::collections::HashMap;

/// Values in a schema's text.
const NODES: usize = 50_000;
/// Depth, references followed.
const DEPTH: usize = 200;
/// Nodes with every reference written out.
const WEIGHT: u64 = 500_000;
/// Patterns of regular expressions.
const PATTERNS: usize = 300;
/// Steps that checking one call may take, estimated from above.
const STEPS: u64 = 50_000_000;

/// What checking costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Nodes with every reference written out once.
    weight: u64,
    /// References that lead back to where they are.
    circles: u32,
}

impl Cost {
    /// Of a schema; `None` where it is too much to compile.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let mut patterns = 0;
        let mut nodes = 0;
        count(schema, &mut nodes, &mut patterns);
        if nodes > NODES || patterns > PATTERNS {
            return None;
        }
        let mut walk = Walk {
            root: schema,
            known: HashMap::new(),
            circles: 0,
        };
        let weight = walk.weight(schema, 0)?;
        (weight <= WEIGHT).then_some(Self {
            weight,
            circles: walk.circles,
        })
    }

    /// Whether a value may be checked: an estimate from above of the steps it takes.
    pub(super) fn allows(self, value: &Value) -> bool {
        let mut nodes = 0;
        count(value, &mut nodes, &mut 0);
        let mut steps = self
            .weight
            .saturating_mul(u64::try_from(nodes).unwrap_or(u64::MAX));
        if self.circles > 1 {
            let depth = u32::try_from(depth(value)).unwrap_or(u32::MAX);
            steps = steps.saturating_mul(u64::from(self.circles).saturating_pow(depth));
        }
        steps <= STEPS
    }
}

/// Counts values and patterns. The parser bounds the depth of what comes from a client.
fn count(value: &Value, nodes: &mut usize, patterns: &mut usize) {
    *nodes += 1;
    match value {
        Value::Array(items) => items.iter().for_each(|item| count(item, nodes, patterns)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    ("pattern", Value::String(_)) => *patterns += 1,
                    ("patternProperties", Value::Object(all)) => *patterns += all.len(),
                    _ => {}
                }
                count(field, nodes, patterns);
            }
        }
        _ => {}
    }
}

/// Depth of a value.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A walk over a schema that follows references.
struct Walk<'a> {
    root: &'a Value,
    /// By address: weight, or nothing while it is being found.
    known: HashMap<*const Value, Option<u64>>,
    circles: u32,
}

impl<'a> Walk<'a> {
    fn weight(&mut self, value: &'a Value, depth: usize) -> Option<u64> {
        if depth > DEPTH {
            return None;
        }
        let children: Vec<&'a Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => return Some(1),
        };
        let here = std::ptr::from_ref(value);
        match self.known.get(&here) {
            Some(Some(weight)) => return Some(*weight),
            Some(None) => {
                self.circles = self.circles.saturating_add(1);
                return Some(1);
            }
            None => {}
        }
        self.known.insert(here, None);
        let mut sum = 1_u64;
        for child in children {
            sum = sum.saturating_add(self.weight(child, depth + 1)?);
        }
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = value.get(name).and_then(Value::as_str) {
                match reference
                    .strip_prefix('#')
                    .and_then(|pointer| self.root.pointer(pointer))
                {
                    Some(target) => sum = sum.saturating_add(self.weight(target, depth + 1)?),
                    // By name, or escaped: it may lead anywhere.
                    None => self.circles = self.circles.saturating_add(1),
                }
            }
        }
        self.known.insert(here, Some(sum));
        Some(sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn doubling_references_and_endless_circles_are_seen() {
        let mut defs = serde_json::Map::new();
        for n in 0..40 {
            let next = format!("#/definitions/d{}", n + 1);
            defs.insert(
                format!("d{n}"),
                json!({"allOf": [{"$ref": next}, {"$ref": next}]}),
            );
        }
        defs.insert("d40".into(), json!({"type": "object"}));
        assert_eq!(
            Cost::of(&json!({"definitions": defs, "$ref": "#/definitions/d0"})),
            None
        );

        let tree = Cost::of(&json!({"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}, {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}]})).unwrap();
        assert_eq!(tree.circles, 3);
        assert!(tree.allows(&json!([[["a"]]])));
        let mut deep = json!(1);
        for _ in 0..60 {
            deep = json!([deep]);
        }
        assert!(!tree.allows(&deep));
    }
}
