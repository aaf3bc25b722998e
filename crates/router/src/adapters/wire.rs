//! JSON as providers really send it. Nothing here fails because a field has another type than documented: it is then as if
//! it were not there. Text is borrowed from the event where it holds no escapes.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// No honest count of tokens is larger; what is, is taken for noise.
const LARGEST_COUNT: u64 = 1_000_000_000_000;

/// Reads an object. Nothing where anything else stands, or where the text is not UTF-8 even in places that nobody reads: what is
/// taken for an answer may go to the client as it is.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    serde_json::from_str::<Maybe<T>>(text).ok()?.0
}

/// Text. Numbers become their digits, everything else is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

impl Str<'_> {
    /// Whether there is any text.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Text, or the JSON text of an object or a list: arguments of tools come as either.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct JsonText<'a>(pub(super) Cow<'a, str>);

/// A count of tokens: none where it is missing, negative, absurd or no number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u64>);

impl Count {
    /// The count, or 0.
    pub(super) fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }

    /// This count, or the other where there is none.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }
}

/// Takes a part out of what is left of its whole: parts never exceed it, whatever a provider says.
pub(super) fn part(left: &mut u64, count: u64) -> u64 {
    let count = count.min(*left);
    *left -= count;
    count
}

/// A switch that is on only when it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

/// An object, or nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// A list; empty where something else stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The arms of a visitor that take what was not expected for nothing.
macro_rules! nothing_else {
    ($($arm:ident),*) => { $(nothing_else!(@ $arm);)* };
    (@ bool) => { fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ number) => {
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ str) => { fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> { Ok(Self::Value::default()) } };
    (@ unit) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_none<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ expecting) => { fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result { f.write_str("any JSON") } };
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for V<'a> {
            type Value = Str<'a>;
            nothing_else!(expecting, bool, unit, seq, map);
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'a>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Str<'a>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Str<'a>, E> {
                Ok(Str(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Str<'a>, E> {
                Ok(Str(Cow::Owned(number.to_string())))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Str<'a>, E> {
                Ok(Str(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for V<'a> {
            type Value = JsonText<'a>;
            nothing_else!(expecting, bool, number, unit);
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<JsonText<'a>, E> {
                Ok(JsonText(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<JsonText<'a>, E> {
                Ok(JsonText(Cow::Owned(text.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JsonText<'a>, A::Error> {
                let value = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
                Ok(JsonText(Cow::Owned(value.to_string())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonText<'a>, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element::<serde_json::Value>()? {
                    list.push(value);
                }
                Ok(JsonText(Cow::Owned(
                    serde_json::Value::Array(list).to_string(),
                )))
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Count;
            nothing_else!(expecting, bool, str, unit, seq, map);
            fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
                Ok(Count((number <= LARGEST_COUNT).then_some(number)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Count, E> {
                Ok(Count(
                    u64::try_from(number).ok().filter(|n| *n <= LARGEST_COUNT),
                ))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "bounded just before"
                )]
                let count = (0.0..=1e12).contains(&number).then_some(number as u64);
                Ok(Count(count))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flag;
            nothing_else!(expecting, number, str, unit, seq, map);
            fn visit_bool<E>(self, on: bool) -> Result<Flag, E> {
                Ok(Flag(on))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Maybe<T>;
            nothing_else!(expecting, bool, number, str, unit, seq);
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Maybe<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Maybe(Some(value)))
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = List<T>;
            nothing_else!(expecting, bool, number, str, unit, map);
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct All<'a> {
        #[serde(borrow)]
        text: Str<'a>,
        #[serde(borrow)]
        json: JsonText<'a>,
        count: Count,
        flag: Flag,
        #[serde(borrow)]
        list: List<Maybe<Inner<'a>>>,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Inner<'a> {
        #[serde(borrow)]
        text: Str<'a>,
    }

    #[test]
    fn every_type_in_every_place() {
        for value in [
            "null",
            "true",
            "-1",
            "1e300",
            "18446744073709551615",
            "1.5",
            r#""a""#,
            "[]",
            "[1,{}]",
            "{}",
            r#"{"text":[]}"#,
        ] {
            let body = ["text", "json", "count", "flag", "list"]
                .map(|k| format!("\"{k}\":{value}"))
                .join(",");
            serde_json::from_str::<All>(&format!("{{{body}}}")).unwrap();
        }
    }

    #[test]
    fn only_an_object_is_an_object() {
        assert!(object::<All>(br#"{"other":"x"}"#).is_some());
        for text in [
            &b"[]"[..],
            br#"["a",{},1]"#,
            b"null",
            b"1",
            b"",
            b"{} {}",
            b"{\"other\":\"\xff\"}",
        ] {
            assert!(object::<All>(text).is_none(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn counts_that_are_none() {
        for (text, count) in [
            ("3", Some(3)),
            ("3.7", Some(3)),
            ("-3", None),
            ("1e13", None),
            ("\"3\"", None),
            ("null", None),
        ] {
            assert_eq!(
                serde_json::from_str::<Count>(text).unwrap().0,
                count,
                "{text}"
            );
        }
    }

    #[test]
    fn text_is_borrowed() {
        let text = r#"{"text":"abc","json":{"a":1},"list":[{"text":"x"},null,3]}"#;
        let all: All = serde_json::from_str(text).unwrap();
        assert!(matches!(all.text.0, Cow::Borrowed("abc")));
        assert_eq!(all.json.0, r#"{"a":1}"#);
        assert_eq!(all.list.0.len(), 3);
        assert!(!all.flag.0 && all.count.0.is_none());
        assert_eq!(all.list.0[0].0.as_ref().unwrap().text.0, "x");
    }
}
