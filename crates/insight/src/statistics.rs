//! How endpoints, providers and models do: the answers of `pipelines/statistics/measures.sql`, kept while the data stays the same.

use crate::InsightError;
use crate::measure::Measure;
use crate::session::{self, plan};
use crate::source::Snapshot;
use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;
use datafusion::scalar::ScalarValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidemark_lake::{Held, Part};
use tokio::sync::Mutex;

const MEASURES: &str = "measures";
const SQL: &str = include_str!("../../../pipelines/statistics/measures.sql");
/// Fewer attempts say nothing of an uptime.
pub const ENOUGH_ATTEMPTS: i64 = 100;

const MINUTE_US: i64 = 60_000_000;
const HALF_HOUR_US: i64 = 30 * MINUTE_US;
const DAY: Duration = Duration::from_secs(86_400);
/// The windows of the last half hour begin at a whole minute, and the clock goes on between a refresh and an answer.
const BY_MINUTE: Duration = Duration::from_secs(33 * 60);
const HALF_HOUR: Duration = Duration::from_secs(30 * 60);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Endpoints, by region.
    Endpoint,
    /// Providers.
    Provider,
    /// Models, by their requests.
    Model,
}

impl Subject {
    fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Provider => "provider",
            Self::Model => "model",
        }
    }
}

type Kept = HashMap<Subject, (u64, i64, Arc<Vec<Measure>>)>;

/// Measures, computed once for each state of the data and each minute.
#[derive(Debug, Default)]
pub struct Statistics {
    kept: Mutex<Kept>,
}

impl Statistics {
    /// What statistics need of the lake in memory: the last half hour by minute with what speeds are made of, and counts of a day by
    /// half hour. That bounds it: a row for each endpoint and region, 34 and 50 times.
    pub fn held() -> Vec<Held> {
        let by_minute = |values| Part {
            values,
            since: BY_MINUTE,
            grain: None,
        };
        let by_half_hour = |values| Part {
            values,
            since: DAY + HALF_HOUR,
            grain: Some(HALF_HOUR),
        };
        const ENDPOINTS: &str = "endpoints_by_minute";
        const FAILED: &str = "failed_attempts_by_minute";
        const COUNTS: &[&str] = &[
            "requests",
            "attempts_ok",
            "attempts_failed",
            "rate_limited",
            "tool_requests",
            "tool_requests_ok",
        ];
        const COUNTS_AND_SPEEDS: &[&str] = &[
            "requests",
            "attempts_ok",
            "attempts_failed",
            "rate_limited",
            "tool_requests",
            "tool_requests_ok",
            "ttft_us",
            "throughput_mtps",
        ];
        const FAILURES: &[&str] = &["attempts", "attempts_failed", "rate_limited"];
        const REFUSALS: &[&str] = &["filtered", "declined", "declined_text", "not_ok"];
        vec![
            Held::part(ENDPOINTS, ENDPOINTS, by_minute(COUNTS_AND_SPEEDS)),
            Held::part(FAILED, FAILED, by_minute(FAILURES)),
            Held::part("endpoints_by_half_hour", ENDPOINTS, by_half_hour(COUNTS)),
            Held::part(
                "failed_attempts_by_half_hour",
                FAILED,
                by_half_hour(FAILURES),
            ),
            Held::part(
                "refusals_by_half_hour",
                "refusals_by_minute",
                by_half_hour(REFUSALS),
            ),
        ]
    }

    /// All measures of one kind at `now`, in the order of their keys.
    ///
    /// # Errors
    /// The file does not plan or run.
    pub async fn of(
        &self,
        snapshot: &Snapshot,
        subject: Subject,
        now: DateTime<Utc>,
    ) -> Result<Arc<Vec<Measure>>, InsightError> {
        let minute = now.timestamp_micros().div_euclid(MINUTE_US);
        // One computation at a time: it takes milliseconds, and the rest of the machine is for the traffic.
        let mut kept = self.kept.lock().await;
        if let Some((version, of, measures)) = kept.get(&subject)
            && *version >= snapshot.version
            && *of == minute
        {
            return Ok(Arc::clone(measures));
        }
        let measures = Arc::new(measures(&snapshot.context, subject, now).await?);
        kept.insert(subject, (snapshot.version, minute, Arc::clone(&measures)));
        Ok(measures)
    }

    /// Plans the file. `context` needs the tables, not their rows.
    ///
    /// # Errors
    /// It does not plan, or a column is missing.
    pub async fn plan_check(context: &SessionContext) -> Result<String, InsightError> {
        measures(context, Subject::Endpoint, Utc::now()).await?;
        Ok(format!("{MEASURES}.sql"))
    }
}

/// The measures of one kind, computed from the tables in `context`.
///
/// # Errors
/// The file does not plan or run.
pub async fn measures(
    context: &SessionContext,
    subject: Subject,
    now: DateTime<Utc>,
) -> Result<Vec<Measure>, InsightError> {
    let now = now.timestamp_micros();
    let ago = |minutes: i64, grain: i64| {
        let since = now - minutes * MINUTE_US;
        session::time(since - since.rem_euclid(grain))
    };
    let parameters = [
        ("by", session::text(subject.as_str())),
        ("last_5m", ago(5, MINUTE_US)),
        ("last_30m", ago(30, MINUTE_US)),
        ("last_2h", ago(120, HALF_HOUR_US)),
        ("last_1d", ago(24 * 60, HALF_HOUR_US)),
        ("enough", ScalarValue::Int64(Some(ENOUGH_ATTEMPTS))),
    ];
    let batches = plan(context, MEASURES, SQL, &parameters)
        .await?
        .collect()
        .await
        .map_err(InsightError::sql(MEASURES))?;
    let mut all = Vec::new();
    for batch in &batches {
        all.extend(Measure::read(MEASURES, batch)?);
    }
    Ok(all)
}
