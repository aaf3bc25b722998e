//! OTLP's protobuf, read where it lies.
//!
//! The usual libraries build every message before anyone can look at it: two bytes of an empty span would become a hundred
//! of a struct, and every prompt of a batch would be copied. Here fields are walked in place; what is not asked for is
//! stepped over. The tests hold this reader against `prost`.

use super::attributes::{Facts, Value};
use super::{Span, Spans, Unreadable};

/// One field's content.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, in the order they lie in.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(Unreadable)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(length).map_err(|_| Unreadable)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Number and content of the next field; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Unreadable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?.try_into().map_err(|_| Unreadable)?;
                Wire::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            // Groups, which OTLP never had, and types that do not exist.
            _ => return Err(Unreadable),
        };
        match key >> 3 {
            0 => Err(Unreadable),
            number => Ok(Some((number, content))),
        }
    }
}

/// The submessages with a number.
fn each<'a>(
    message: &'a [u8],
    wanted: u64,
    mut f: impl FnMut(&'a [u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut fields = Fields(message);
    while let Some((number, content)) = fields.next()? {
        if number == wanted {
            f(bytes(content)?)?;
        }
    }
    Ok(())
}

fn bytes(content: Wire<'_>) -> Result<&[u8], Unreadable> {
    match content {
        Wire::Bytes(bytes) => Ok(bytes),
        _ => Err(Unreadable),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}

/// Shows every span of an `ExportTraceServiceRequest`.
pub(super) fn read(body: &[u8], spans: &mut Spans<'_>) -> Result<(), Unreadable> {
    each(body, 1, |resource_spans| {
        let mut resource = Facts::default();
        each(resource_spans, 1, |message| {
            each(message, 1, |pair| attribute(pair, &mut resource))
        })?;
        each(resource_spans, 2, |scope_spans| {
            each(scope_spans, 2, |message| {
                spans(&span(message)?, &resource);
                Ok(())
            })
        })
    })
}

fn span(message: &[u8]) -> Result<Span<'_>, Unreadable> {
    let mut span = Span::default();
    let mut fields = Fields(message);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, content) => span.trace_id = bytes(content)?.try_into().unwrap_or_default(),
            (2, content) => span.span_id = bytes(content)?.try_into().unwrap_or_default(),
            (7, Wire::Fixed64(nanos)) => span.start = nanos,
            (8, Wire::Fixed64(nanos)) => span.end = nanos,
            (7 | 8, _) => return Err(Unreadable),
            (9, content) => attribute(bytes(content)?, &mut span.facts)?,
            (15, content) => {
                let mut status = Fields(bytes(content)?);
                while let Some((number, content)) = status.next()? {
                    if let (3, Wire::Varint(code)) = (number, content) {
                        span.failed = code == super::STATUS_ERROR;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(span)
}

/// Notes a `KeyValue` if its key is one of those that count; the value of any other is never looked at.
fn attribute<'a>(pair: &'a [u8], facts: &mut Facts<'a>) -> Result<(), Unreadable> {
    let (mut key, mut value) = (&[][..], None);
    let mut fields = Fields(pair);
    while let Some((number, content)) = fields.next()? {
        match number {
            1 => key = bytes(content)?,
            2 => value = Some(bytes(content)?),
            _ => {}
        }
    }
    if let (Some(slot), Some(value)) = (Facts::slot(text(key)?), value)
        && let Some(value) = any_value(value)?
    {
        facts.note(slot, value);
    }
    Ok(())
}

/// An `AnyValue`. Of a list the first text; lists of pairs and bytes say nothing here.
fn any_value(message: &[u8]) -> Result<Option<Value<'_>>, Unreadable> {
    let mut found = None;
    let mut fields = Fields(message);
    while let Some((number, content)) = fields.next()? {
        found = match (number, content) {
            (1, content) => Some(Value::Text(text(bytes(content)?)?.into())),
            (2, Wire::Varint(flag)) => Some(Value::Flag(flag != 0)),
            (3, Wire::Varint(number)) => Some(Value::Whole(number as i64)),
            (4, Wire::Fixed64(bits)) => Some(Value::Fraction(f64::from_bits(bits))),
            (5, content) => {
                let mut first = None;
                each(bytes(content)?, 1, |item| {
                    let mut fields = Fields(item);
                    while let Some((number, content)) = fields.next()? {
                        if number == 1 && first.is_none() {
                            first = Some(Value::Text(text(bytes(content)?)?.into()));
                        }
                    }
                    Ok(())
                })?;
                first
            }
            (2..=4, _) => return Err(Unreadable),
            _ => found,
        };
    }
    Ok(found)
}

/// `ExportTraceServiceResponse`: empty when all is well.
pub(super) fn answer(rejected: u64, message: &str) -> Vec<u8> {
    if rejected == 0 {
        return Vec::new();
    }
    let mut partial = Vec::new();
    put_number(1, rejected, &mut partial);
    put_bytes(2, message.as_bytes(), &mut partial);
    let mut out = Vec::new();
    put_bytes(1, &partial, &mut out);
    out
}

/// `google.rpc.Status`, the body of every error.
pub(super) fn status(code: u64, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(1, code, &mut out);
    put_bytes(2, message.as_bytes(), &mut out);
    out
}

fn put_number(number: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(number << 3, out);
    put_varint(value, out);
}

fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
