//! JSON as the standard wants it of a sender: one value, nothing after it, no key twice.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A value read strictly.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Strict(field))) = from.next_entry::<String, Strict>()? {
            if fields.insert(name, field).is_some() {
                return Err(de::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(fields))
    }
}

/// The value of a text, if it is one JSON value. The parser bounds the depth.
pub(super) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str::<Strict>(text)
        .ok()
        .map(|strict| strict.0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn one_value_and_no_key_twice() {
        assert!(parse("{\"a\": [1, 2.5, null, true, \"x\"]} ").is_some());
        for wrong in [
            "",
            "{",
            "{\"a\":1,\"a\":1}",
            "{\"b\":{\"a\":1,\"a\":1}}",
            "{} {}",
            "{},",
            "{'a':1}",
            "{\"a\":1e999}",
            &"[".repeat(100_000),
        ] {
            assert!(parse(wrong).is_none(), "{wrong:.20}");
        }
    }
}
