//! What is said of a record that cannot be counted: headers, and nothing of its content.

use rdkafka::message::{Header, OwnedHeaders};

/// A record set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Why, in the words of the lake's dead letters.
    pub reason: String,
    /// Topic it came from, or `spool`.
    pub source: String,
    /// Partition there.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// Its size.
    pub bytes: usize,
    /// Fingerprint of the schema that it names, as 16 hexadecimal digits; empty if it names none.
    pub schema: String,
}

impl Note {
    /// What tells it from others: sent twice, it has the same key.
    pub(super) fn key(&self) -> String {
        format!("{}/{}/{}", self.source, self.partition, self.offset)
    }

    pub(super) fn headers(&self) -> OwnedHeaders {
        let numbers = [
            ("partition", u64::from(self.partition)),
            ("offset", self.offset),
            ("bytes", self.bytes as u64),
        ];
        let texts = [
            ("reason", &self.reason),
            ("source", &self.source),
            ("schema", &self.schema),
        ];
        let mut headers = OwnedHeaders::new();
        for (key, value) in texts {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_str()),
            });
        }
        for (key, value) in numbers {
            headers = headers.insert(Header {
                key,
                value: Some(&value.to_string()),
            });
        }
        headers
    }
}
