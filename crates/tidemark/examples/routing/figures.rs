//! Shares with their uncertainty, quantiles, tables.

use serde_json::{Value, json};
use std::time::Duration;

/// A share of cases.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    pub of: u64,
    pub all: u64,
}

impl Share {
    pub fn count(cases: impl IntoIterator<Item = bool>) -> Self {
        cases.into_iter().fold(Self::default(), |share, case| Self {
            of: share.of + u64::from(case),
            all: share.all + 1,
        })
    }

    pub fn value(self) -> f64 {
        self.of as f64 / self.all.max(1) as f64
    }

    /// Where the true share is with 95% confidence, by Wilson's formula, which holds near 0 and 1 as well.
    pub fn interval(self) -> (f64, f64) {
        const Z: f64 = 1.96;
        let (n, p) = (self.all.max(1) as f64, self.value());
        let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }

    /// With its interval, in percent.
    pub fn text(self) -> String {
        let (low, high) = self.interval();
        format!(
            "{:.2}% ({:.2} to {:.2})",
            100.0 * self.value(),
            100.0 * low,
            100.0 * high
        )
    }

    pub fn json(self) -> Value {
        let (low, high) = self.interval();
        json!({ "share": self.value(), "low": low, "high": high, "of": self.of, "all": self.all })
    }
}

/// The value below which a share of all lies; 0 of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share) as usize;
    values
        .get(place.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Prints rows in columns; the first row is the head.
pub fn table(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}\n");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("  {}", line.join("  ").trim_end());
    }
}
