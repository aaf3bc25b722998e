//! Typed ids and times.

use crate::encode::AvroEncode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Microseconds since 1970, UTC. JSON shows RFC 3339 and reads that or the integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// The clock now.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// As a `chrono` time; `None` outside chrono's range.
    pub fn to_datetime(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_datetime() {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Time {
            Micros(i64),
            Text(String),
        }
        match Time::deserialize(d)? {
            Time::Micros(us) => Ok(Self(us)),
            Time::Text(text) => DateTime::parse_from_rfc3339(&text)
                .map(|t| Self(t.timestamp_micros()))
                .map_err(|_| {
                    D::Error::custom(
                        "ts: expected RFC 3339 (2026-11-23T04:08:55Z) or integer microseconds",
                    )
                }),
        }
    }
}

impl AvroEncode for Micros {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// A UUIDv7: 48 bits of milliseconds, then 74 bits that tell requests of one millisecond apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// A fresh id for a request that arrived at `ts`.
    pub fn fresh(ts: Micros) -> Self {
        let ms = ts.0.max(0) as u64 / 1000;
        let stamp =
            uuid::Timestamp::from_unix(uuid::NoContext, ms / 1000, (ms % 1000) as u32 * 1_000_000);
        Self(uuid::Uuid::new_v7(stamp).into_bytes())
    }

    /// The id of a recorded event: the same source and place in it give the same id, so that replaying adds nothing.
    pub fn derived(ts: Micros, source: &[u8], place: u64) -> Self {
        let seed = xxhash_rust::xxh64::xxh64(source, 0);
        let mut tail = [0_u8; 10];
        tail[..8]
            .copy_from_slice(&xxhash_rust::xxh64::xxh64(&place.to_be_bytes(), seed).to_be_bytes());
        tail[8..].copy_from_slice(
            &xxhash_rust::xxh64::xxh64(&place.to_be_bytes(), !seed).to_be_bytes()[..2],
        );
        Self::at(ts, tail)
    }

    /// The id of an event at `ts` that `tail`, but for six of its bits, tells from others of the same millisecond.
    pub fn at(ts: Micros, tail: [u8; 10]) -> Self {
        let ms = ts.0.max(0) as u64 / 1000;
        Self(
            uuid::Builder::from_unix_timestamp_millis(ms, &tail)
                .into_uuid()
                .into_bytes(),
        )
    }

    /// The embedded time, in milliseconds.
    pub fn unix_millis(self) -> i64 {
        self.0[..6]
            .iter()
            .fold(0, |ms, byte| (ms << 8) | i64::from(*byte))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::from_str(s).map(|u| Self(u.into_bytes()))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .map_err(|_| D::Error::custom("event_id: expected a UUID"))
    }
}

impl AvroEncode for EventId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
