//! A decision as data: which lanes there were, what excluded each, what ranked the rest. Names and figures only: nothing of the
//! request's content.

use super::limits::Exclusion;
use super::plan::Plan;
use super::rank::MARKS;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use tidemark_catalog::Price;

/// Lanes that a header names, of either kind.
const IN_HEADER: usize = 24;

/// Why a request goes where it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What the order goes by: balanced, price, throughput or latency.
    pub strategy: &'static str,
    /// Whether its conversation stays on a lane: off, new, held or moved.
    pub sticky: &'static str,
    /// The first lane goes first because nobody has asked it for a while.
    pub looks: bool,
    /// Models that may answer.
    pub models: Vec<String>,
    /// Lanes in the order in which they are tried.
    pub lanes: Vec<Place>,
    /// Lanes that are not tried.
    pub excluded: Vec<Left>,
}

/// A lane that may be tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// Endpoint, as in the catalog.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Model it answers with.
    pub model: String,
    /// USD per million prompt tokens.
    pub prompt: f64,
    /// USD per million completion tokens.
    pub completion: f64,
    /// Median time to the first token, milliseconds.
    pub ttft_ms: Option<f64>,
    /// Median tokens per second.
    pub tokens_per_second: Option<f64>,
    /// Share of attempts that did not fail.
    pub uptime: Option<f64>,
    /// What speaks against it.
    pub marks: Vec<&'static str>,
}

/// A lane that is not tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Left {
    /// Endpoint, as in the catalog.
    pub endpoint: String,
    /// Region; empty where no upstream is set up.
    pub region: String,
    /// Why.
    pub excluded_by: &'static str,
}

impl Plan<'_> {
    /// In one short line, for the event: what the order goes by, how many lanes there were, how many each limit excluded, what
    /// speaks against the others, and whether the conversation stays.
    pub fn summary(&self) -> String {
        let mut line = String::with_capacity(96);
        let all = self.lanes.len() + self.excluded.len();
        write!(
            line,
            "by={} lanes={}/{all}",
            self.strategy.as_str(),
            self.lanes.len()
        )
        .ok();
        let counts = Exclusion::ALL.map(|by| {
            let lanes = self.excluded.iter().filter(|lane| lane.by == by);
            (by.as_str(), lanes.count())
        });
        list(&mut line, "out", counts);
        let counts = MARKS.map(|(mark, _, name)| {
            let lanes = self.lanes.iter().filter(|lane| lane.marks.has(mark));
            (name, lanes.count())
        });
        list(&mut line, "marked", counts);
        write!(line, " sticky={}", self.hold.as_str()).ok();
        if self.models.len() > 1 {
            write!(line, " models={}", self.models.len()).ok();
        }
        if self.looks {
            line.push_str(" looks");
        }
        line
    }

    /// As JSON of a bearable length, for a header: lanes in their order, of which the first `tried` were tried.
    pub fn header(&self) -> String {
        let lanes: Vec<_> = self
            .lanes
            .iter()
            .take(IN_HEADER)
            .map(|lane| {
                let name = at(&lane.candidate.endpoint.id, &lane.candidate.lane.region);
                json!([name, lane.marks.names().collect::<Vec<_>>()])
            })
            .collect();
        let mut excluded = serde_json::Map::new();
        for lane in self.excluded.iter().take(IN_HEADER) {
            let list = excluded
                .entry(lane.by.as_str())
                .or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(at(&lane.endpoint.id, lane.region).into());
            }
        }
        json!({
            "by": self.strategy.as_str(), "sticky": self.hold.as_str(), "looks": self.looks, "tried": self.tried(),
            "lanes": lanes, "excluded": excluded,
            "more": [self.lanes.len().saturating_sub(IN_HEADER), self.excluded.len().saturating_sub(IN_HEADER)],
        })
        .to_string()
    }

    /// All of it.
    pub fn explain(&self) -> Explanation {
        let lanes = self.lanes.iter().map(|lane| Place {
            endpoint: lane.candidate.endpoint.id.clone(),
            region: lane.candidate.lane.region.clone(),
            model: lane.candidate.model.id.clone(),
            prompt: dollars(lane.candidate.price, |price| price.prompt),
            completion: dollars(lane.candidate.price, |price| price.completion),
            ttft_ms: lane.reading.ttft_us.map(|us| us as f64 / 1e3),
            tokens_per_second: lane.reading.throughput.map(|tps| tps as f64 / 1e3),
            uptime: lane.reading.uptime.map(|share| f64::from(share) / 1e3),
            marks: lane.marks.names().collect(),
        });
        let excluded = self.excluded.iter().map(|lane| Left {
            endpoint: lane.endpoint.id.clone(),
            region: lane.region.to_owned(),
            excluded_by: lane.by.as_str(),
        });
        Explanation {
            strategy: self.strategy.as_str(),
            sticky: self.hold.as_str(),
            looks: self.looks,
            models: self
                .models
                .iter()
                .map(|named| named.model.id.clone())
                .collect(),
            lanes: lanes.collect(),
            excluded: excluded.collect(),
        }
    }
}

fn at(endpoint: &str, region: &str) -> String {
    if region.is_empty() {
        endpoint.to_owned()
    } else {
        format!("{endpoint}@{region}")
    }
}

fn dollars(price: &Price, of: impl Fn(&Price) -> i64) -> f64 {
    of(price) as f64 / 1e9
}

/// ` name=a:1,b:2` of the counts that are not zero.
fn list<const N: usize>(line: &mut String, name: &str, counts: [(&str, usize); N]) {
    let mut separator = ' ';
    for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        if separator == ' ' {
            write!(line, " {name}={what}:{count}").ok();
        } else {
            write!(line, ",{what}:{count}").ok();
        }
        separator = ',';
    }
}
