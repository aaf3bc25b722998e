//! OTLP's messages as its authors define them, by way of `prost` and `serde`: what our own reader is held against.
//!
//! The official crate would bring the whole SDK, and change the features of what the lake is built on.
#![allow(dead_code, missing_docs, reason = "shared by several tests")]

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! message {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$meta])* pub $field: $type,)* }
    };
}

message!(ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
});
message!(ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
});
message!(PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
});
message!(ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    schema_url: String,
});
message!(Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
});
message!(ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
    #[prost(string, tag = "3")]
    schema_url: String,
});
message!(Scope {
    #[prost(string, tag = "1")]
    name: String,
});
message!(Span {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "hex")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    #[serde(with = "number")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    #[serde(with = "number")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
});
message!(Event {
    #[prost(fixed64, tag = "1")]
    #[serde(with = "number")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
});
message!(Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
});
message!(KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
});
message!(AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5")]
    #[serde(flatten)]
    value: Option<Any>,
});
message!(ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
});

#[derive(Clone, PartialEq, prost::Oneof, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::enum_variant_names, reason = "the names of the protocol")]
pub enum Any {
    #[prost(string, tag = "1")]
    StringValue(String),
    #[prost(bool, tag = "2")]
    BoolValue(bool),
    #[prost(int64, tag = "3")]
    IntValue(#[serde(with = "number")] i64),
    #[prost(double, tag = "4")]
    DoubleValue(f64),
    #[prost(message, tag = "5")]
    ArrayValue(ArrayValue),
}

pub fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

pub fn texts(values: &[&str]) -> Any {
    let any = |value: &&str| AnyValue {
        value: Some(text(value)),
    };
    Any::ArrayValue(ArrayValue {
        values: values.iter().map(any).collect(),
    })
}

pub fn pairs(attributes: &[(&str, Any)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, Any)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(value.clone()),
        }),
    };
    attributes.iter().map(pair).collect()
}

/// A request of one resource and one scope.
pub fn request(resource: &[(&str, Any)], spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: pairs(resource),
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope {
                    name: "opentelemetry.instrumentation.openai_v2".to_owned(),
                }),
                spans,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

mod hex {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
    }
}

/// 64 bits are a text in protobuf's JSON.
mod number {
    use super::*;

    pub fn serialize<T: std::fmt::Display, S: Serializer>(n: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(n)
    }

    pub fn deserialize<'de, T: std::str::FromStr, D: Deserializer<'de>>(
        d: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom("not a number"))
    }
}
