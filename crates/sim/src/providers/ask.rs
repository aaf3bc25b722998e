//! A request, read only as far as an answer depends on it.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use xxhash_rust::xxh64::xxh64;

/// What an image or a file counts as, in characters.
const BLOB_CHARS: u64 = 258 * 4;

/// A tool on offer.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) schema: Value,
}

/// What the request says about calling tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

/// What the text of the answer must be.
#[derive(Debug, Clone, Default)]
pub(super) enum Format {
    #[default]
    Text,
    /// Any JSON object.
    Json,
    Schema(Value),
}

/// A message as the prefix cache sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) tokens: u64,
    pub(super) hash: u64,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    /// Whether a stream ends in token counts.
    pub(super) include_usage: bool,
    /// Tools, system prompt and messages in their order.
    pub(super) turns: Vec<Turn>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    pub(super) parallel: bool,
    /// Whether the last message answers a tool call: then another call would make agents run in circles.
    pub(super) after_tool: bool,
    pub(super) format: Format,
    pub(super) max_tokens: Option<u32>,
    /// Whether thinking is switched on or off by the request.
    pub(super) thinking: Option<bool>,
    /// Whether thinking is shown.
    pub(super) show_thinking: bool,
    /// Whether the request marks what to cache.
    pub(super) cache_marked: bool,
    /// Words to the simulator in the last user message.
    pub(super) words: Option<String>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            model: String::new(),
            stream: false,
            include_usage: true,
            turns: Vec::new(),
            tools: Vec::new(),
            choice: Choice::Auto,
            parallel: true,
            after_tool: false,
            format: Format::Text,
            max_tokens: None,
            thinking: None,
            show_thinking: true,
            cache_marked: false,
            words: None,
        }
    }
}

impl Ask {
    pub(super) fn prompt_tokens(&self) -> u64 {
        self.turns
            .iter()
            .map(|turn| turn.tokens)
            .sum::<u64>()
            .max(1)
    }

    pub(super) fn may_call(&self) -> bool {
        !self.tools.is_empty() && self.choice != Choice::None
    }

    pub(super) fn must_call(&self) -> bool {
        !self.tools.is_empty() && matches!(self.choice, Choice::Required | Choice::Named(_))
    }

    /// Adds a message of which these are the parts.
    pub(super) fn turn(&mut self, role: &str, parts: &[&Measure]) {
        let chars: u64 = parts.iter().map(|part| part.chars).sum();
        let mut hash = xxh64(role.as_bytes(), 0);
        for part in parts {
            hash = mix(hash, part.hash);
            self.cache_marked |= part.marked;
        }
        self.turns.push(Turn {
            tokens: chars.div_ceil(4),
            hash,
        });
    }

    /// Adds a tool, which stands in the prompt, too.
    pub(super) fn tool(&mut self, name: String, description: &str, schema: Value) {
        let text = schema.to_string();
        let chars = name.len() + description.len() + text.len();
        self.turns.push(Turn {
            tokens: (chars as u64).div_ceil(4),
            hash: mix(xxh64(name.as_bytes(), 1), xxh64(text.as_bytes(), 2)),
        });
        self.tools.push(Tool { name, schema });
    }
}

fn mix(a: u64, b: u64) -> u64 {
    (a.rotate_left(23) ^ b).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The length and the hash of all text inside a JSON value, without keeping any of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Measure {
    pub(super) chars: u64,
    pub(super) hash: u64,
    /// Whether something inside has `cache_control`.
    pub(super) marked: bool,
    /// Whether something inside answers a tool call.
    pub(super) tool_result: bool,
    /// Words to the simulator.
    pub(super) words: Option<String>,
}

impl Measure {
    fn add(&mut self, other: Self) {
        self.chars += other.chars;
        self.hash = mix(self.hash, other.hash);
        self.marked |= other.marked;
        self.tool_result |= other.tool_result;
        if other.words.is_some() {
            self.words = other.words;
        }
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Reader {
    fn scalar(text: &str) -> Measure {
        Measure {
            chars: text.len() as u64,
            hash: xxh64(text.as_bytes(), 0),
            ..Measure::default()
        }
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Measure;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text or a list of parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Measure, E> {
        let blob = text.len() > 256 && text.starts_with("data:");
        Ok(Measure {
            chars: if blob {
                BLOB_CHARS
            } else {
                text.chars().count() as u64
            },
            words: super::directive::in_text(text).map(str::to_owned),
            ..Self::scalar(text)
        })
    }

    fn visit_bool<E>(self, value: bool) -> Result<Measure, E> {
        Ok(Self::scalar(if value { "true" } else { "false" }))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Measure, E> {
        Ok(Self::scalar(&value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Measure, E> {
        Ok(Self::scalar(&value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Measure, E> {
        Ok(Self::scalar(&value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Measure, E> {
        Ok(Measure::default())
    }

    fn visit_none<E>(self) -> Result<Measure, E> {
        Ok(Measure::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Measure, A::Error> {
        let mut all = Measure::default();
        while let Some(item) = items.next_element()? {
            all.add(item);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Measure, A::Error> {
        let mut all = Measure::default();
        while let Some(key) = entries.next_key()? {
            match key {
                Key::Type => {
                    let of: Measure = entries.next_value()?;
                    all.tool_result |= of.hash == xxh64(b"tool_result", 0);
                }
                Key::CacheControl => {
                    entries.next_value::<IgnoredAny>()?;
                    all.marked = true;
                }
                Key::Data => {
                    all.chars += BLOB_CHARS;
                    let inside: Measure = entries.next_value()?;
                    all.hash = mix(all.hash, inside.hash);
                }
                Key::ToolResult => {
                    all.add(entries.next_value()?);
                    all.tool_result = true;
                }
                Key::Other => all.add(entries.next_value()?),
            }
        }
        Ok(all)
    }
}

/// Keys whose values are no text.
enum Key {
    Type,
    CacheControl,
    Data,
    ToolResult,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl Visitor<'_> for Keys {
            type Value = Key;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "type" => Key::Type,
                    "cache_control" => Key::CacheControl,
                    "data" => Key::Data,
                    "functionResponse" | "function_response" => Key::ToolResult,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_str(Keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn measure(text: &str) -> Measure {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn counts_text_wherever_it_is() {
        assert_eq!(measure(r#""naïve""#).chars, 5);
        assert_eq!(measure(r#"[{"type":"text","text":"eight ch"}]"#).chars, 8);
        assert_eq!(measure("null").chars, 0);
        let image = format!(
            r#"[{{"type":"image_url","image_url":{{"url":"data:{}"}}}}]"#,
            "x".repeat(9_000)
        );
        assert_eq!(measure(&image).chars, BLOB_CHARS);
        assert_ne!(measure(r#""a""#).hash, measure(r#""b""#).hash);
        assert_eq!(measure(r#""\u0061""#).hash, measure(r#""a""#).hash);
    }

    #[test]
    fn finds_marks_and_words() {
        let part = measure(
            r#"[{"type":"text","text":"hi [sim: 429]","cache_control":{"type":"ephemeral"}}]"#,
        );
        assert!(part.marked && !part.tool_result);
        assert_eq!(part.words.as_deref(), Some(" 429"));
        assert!(measure(r#"[{"type":"tool_result","content":"x"}]"#).tool_result);
        assert!(measure(r#"[{"functionResponse":{"name":"x"}}]"#).tool_result);
    }
}
