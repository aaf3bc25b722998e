//! OTLP's JSON: protobuf's mapping, but ids are hexadecimal. Levels are opened one at a time, so that a body of empty
//! objects stays as small as it came, and values are parsed only under the keys that count.

use super::attributes::{Facts, Value};
use super::{Span, Spans, Unreadable};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

type List<'a> = Option<Vec<&'a RawValue>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_spans: List<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    scope_spans: List<'a>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: List<'a>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    spans: List<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    span_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    start_time_unix_nano: Option<Number<'a>>,
    #[serde(borrow)]
    end_time_unix_nano: Option<Number<'a>>,
    #[serde(borrow, default)]
    attributes: List<'a>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<Code>,
}

/// By number, as the specification has it, or by name, as protobuf's own mapping writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(u64),
    Name(String),
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow)]
    string_value: Option<Cow<'a, str>>,
    bool_value: Option<bool>,
    #[serde(borrow)]
    int_value: Option<Number<'a>>,
    double_value: Option<f64>,
    #[serde(borrow)]
    array_value: Option<ArrayValue<'a>>,
}

#[derive(Deserialize)]
struct ArrayValue<'a> {
    #[serde(borrow, default)]
    values: List<'a>,
}

/// A 64-bit number: a text in the mapping, but numbers are to be taken as well.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Number(i64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl Number<'_> {
    fn value(self) -> Result<i64, Unreadable> {
        match self {
            Self::Number(value) => Ok(value),
            Self::Text(text) => text.parse().map_err(|_| Unreadable),
        }
    }
}

/// Opens an object. Serde would take a list for a struct too.
fn open<'a, T: Deserialize<'a>>(object: &'a str) -> Result<T, Unreadable> {
    if !object.trim_ascii_start().starts_with('{') {
        return Err(Unreadable);
    }
    serde_json::from_str(object).map_err(|_| Unreadable)
}

/// Shows every span of an `ExportTraceServiceRequest`.
pub(super) fn read(body: &[u8], spans: &mut Spans<'_>) -> Result<(), Unreadable> {
    let request: Request<'_> = open(std::str::from_utf8(body).map_err(|_| Unreadable)?)?;
    for raw in request.resource_spans.unwrap_or_default() {
        let from_one: ResourceSpans<'_> = open(raw.get())?;
        let mut resource = Facts::default();
        let attributes = from_one.resource.and_then(|resource| resource.attributes);
        note(attributes, &mut resource)?;
        for raw in from_one.scope_spans.unwrap_or_default() {
            let scope: ScopeSpans<'_> = open(raw.get())?;
            for raw in scope.spans.unwrap_or_default() {
                spans(&span(raw)?, &resource);
            }
        }
    }
    Ok(())
}

fn span(raw: &RawValue) -> Result<Span<'_>, Unreadable> {
    let json: JsonSpan<'_> = open(raw.get())?;
    let nanos = |number: Option<Number<'_>>| -> Result<u64, Unreadable> {
        let value = number.map_or(Ok(0), Number::value)?;
        u64::try_from(value).map_err(|_| Unreadable)
    };
    let mut span = Span {
        trace_id: json
            .trace_id
            .and_then(|text| unhex(&text))
            .unwrap_or_default(),
        span_id: json
            .span_id
            .and_then(|text| unhex(&text))
            .unwrap_or_default(),
        start: nanos(json.start_time_unix_nano)?,
        end: nanos(json.end_time_unix_nano)?,
        failed: match json.status.and_then(|status| status.code) {
            Some(Code::Number(code)) => code == super::STATUS_ERROR,
            Some(Code::Name(name)) => name == "STATUS_CODE_ERROR",
            None => false,
        },
        facts: Facts::default(),
    };
    note(json.attributes, &mut span.facts)?;
    Ok(span)
}

fn note<'a>(attributes: List<'a>, facts: &mut Facts<'a>) -> Result<(), Unreadable> {
    for raw in attributes.unwrap_or_default() {
        let pair: KeyValue<'a> = open(raw.get())?;
        if let (Some(slot), Some(value)) = (Facts::slot(&pair.key), pair.value)
            && let Some(value) = any_value(open(value.get())?)?
        {
            facts.note(slot, value);
        }
    }
    Ok(())
}

/// Of a list the first text; lists of pairs and bytes say nothing here.
fn any_value(any: AnyValue<'_>) -> Result<Option<Value<'_>>, Unreadable> {
    if let Some(text) = any.string_value {
        return Ok(Some(Value::Text(text)));
    }
    if let Some(number) = any.int_value {
        return Ok(Some(Value::Whole(number.value()?)));
    }
    if let Some(items) = any.array_value {
        for raw in items.values.unwrap_or_default() {
            let item: AnyValue<'_> = open(raw.get())?;
            if let Some(text) = item.string_value {
                return Ok(Some(Value::Text(text)));
            }
        }
        return Ok(None);
    }
    let flag = any.bool_value.map(Value::Flag);
    Ok(flag.or(any.double_value.map(Value::Fraction)))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}
