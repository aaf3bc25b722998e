//! Confluent's framing: a zero byte and the number that a registry gave to the schema, in the place of Avro's own mark.
//!
//! It is used on the topic alone. Spool and worker know Avro's single objects.

use super::registry::Registry;
use super::{KafkaSettings, TopicError};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::HashMap;
use tidemark_event::wire::{self, PREFIX, WIRE_SCHEMA};
use tokio::runtime::Handle;

/// The zero byte and the number.
const HEADER: usize = 5;
/// Begins a message whose number stands for no schema: it has a mark, and nobody knows it.
const NOBODYS: [u8; PREFIX] = [0xC3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];

/// For sending: the mark of the current schema, and what to put in its place.
#[derive(Debug, Clone)]
pub(super) struct Framing {
    mark: [u8; PREFIX],
    header: [u8; HEADER],
}

impl Framing {
    /// Has the schema numbered; none where the settings name no registry.
    pub(super) async fn agree(settings: &KafkaSettings) -> Result<Option<Self>, TopicError> {
        let Some(registry) = Registry::new(settings)? else {
            return Ok(None);
        };
        let mark = wire::mark("usage_event", WIRE_SCHEMA)
            .map_err(|error| TopicError::Settings(error.to_string()))?;
        let number = registry.number(&settings.topic, WIRE_SCHEMA).await?;
        let mut header = [0; HEADER];
        header[1..].copy_from_slice(&number.to_be_bytes());
        Ok(Some(Self { mark, header }))
    }

    /// A message as it goes to the topic. One of an older schema, left in the spool by an older build, goes as it is: readers take both.
    pub(super) fn frame<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        match message.strip_prefix(&self.mark) {
            Some(datum) => Cow::Owned([&self.header, datum].concat()),
            None => Cow::Borrowed(message),
        }
    }
}

/// For reading: which number is which schema.
pub(super) struct Unframing {
    registry: Registry,
    marks: HashMap<u32, [u8; PREFIX]>,
    learnt: Vec<(String, String)>,
}

impl Unframing {
    /// None where the settings name no registry.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Option<Box<Self>>, TopicError> {
        let made = Registry::new(settings)?.map(|registry| Self {
            registry,
            marks: HashMap::new(),
            learnt: Vec::new(),
        });
        Ok(made.map(Box::new))
    }

    /// A message with Avro's mark. Blocks while the registry is asked, once for each number.
    ///
    /// # Errors
    /// When the registry does not say what a number is.
    pub(super) fn unframe(&mut self, message: Bytes) -> Result<Bytes, TopicError> {
        let Some([0, a, b, c, d]) = message.first_chunk::<HEADER>() else {
            return Ok(message);
        };
        let number = u32::from_be_bytes([*a, *b, *c, *d]);
        let mark = match self.marks.get(&number) {
            Some(mark) => *mark,
            None => self.ask(number)?,
        };
        Ok([&mark[..], &message[HEADER..]].concat().into())
    }

    fn ask(&mut self, number: u32) -> Result<[u8; PREFIX], TopicError> {
        let name = format!("schema {number} of the registry");
        let schema = Handle::current().block_on(self.registry.schema(number))?;
        // What is no schema today may be one tomorrow.
        let Some(schema) = schema else {
            return Ok(NOBODYS);
        };
        let mark = wire::mark(&name, &schema).unwrap_or(NOBODYS);
        self.marks.insert(number, mark);
        self.learnt.push((name, schema));
        Ok(mark)
    }

    /// Schemas met since this was last asked, as name and JSON.
    pub(super) fn learnt(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.learnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_schema_is_framed() {
        let framing = Framing {
            mark: [0xC3, 1, 9, 9, 9, 9, 9, 9, 9, 9],
            header: [0, 0, 0, 1, 2],
        };
        let message = [&framing.mark[..], b"datum"].concat();
        assert_eq!(*framing.frame(&message), *b"\0\0\0\x01\x02datum");
        let other = [&NOBODYS[..], b"datum"].concat();
        assert_eq!(*framing.frame(&other), *other);
        assert_eq!(*framing.frame(b""), *b"");
    }
}
