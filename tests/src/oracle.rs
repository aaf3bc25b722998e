//! Rankings computed from events with maps: no SQL, no partials, no lake.

use std::collections::{BTreeMap, BTreeSet};
use tidemark_event::UsageEvent;
use tidemark_insight::{By, Metric, ModelRow, Policy, Ranking, RankingQuery, Row};

const DAY_US: i64 = 86_400_000_000;

/// What must be equal of a row: all but the name for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    rank: Option<u32>,
    key: String,
    tokens: i64,
    requests: i64,
    spend: i64,
    accounts: i64,
    capped: i64,
    simulated: i64,
    share: f64,
    growth: Option<f64>,
    growth_percent: Option<f64>,
}

impl From<&Row> for Line {
    fn from(row: &Row) -> Self {
        Self {
            rank: row.rank,
            key: row.key.clone(),
            tokens: row.tokens,
            requests: row.requests,
            spend: row.spend_nanousd,
            accounts: row.accounts,
            capped: row.capped_tokens,
            simulated: row.simulated_requests,
            share: row.share,
            growth: row.growth,
            growth_percent: row.growth_percent,
        }
    }
}

/// The lines of an answer.
pub fn lines(ranking: &Ranking) -> Vec<Line> {
    ranking.rows.iter().map(Line::from).collect()
}

/// Tokens, requests, spend and simulated requests of one account in one cell.
type Volume = [i64; 4];

/// One key in one window.
#[derive(Debug, Clone, Default)]
struct Cell(BTreeMap<String, Volume>);

impl Cell {
    fn add(&mut self, event: &UsageEvent) {
        let volume = self.0.entry(event.account_id.clone()).or_default();
        let numbers = [
            event.prompt_tokens + event.completion_tokens,
            1,
            event.cost_nanousd,
            i64::from(event.simulated),
        ];
        volume
            .iter_mut()
            .zip(numbers)
            .for_each(|(sum, number)| *sum += number);
    }

    fn sum(&self, column: usize) -> i64 {
        self.0.values().map(|volume| volume[column]).sum()
    }

    fn capped(&self, cap: i64) -> i64 {
        self.0.values().map(|volume| volume[0].min(cap)).sum()
    }

    fn value(&self, metric: Metric, cap: i64) -> i64 {
        match metric {
            Metric::Tokens => self.sum(0),
            Metric::Requests => self.sum(1),
            Metric::Spend => self.sum(2),
            Metric::Accounts => self.0.len() as i64,
            Metric::Capped => self.capped(cap),
        }
    }
}

/// The key for which an event counts; `None` for a board this does not know.
fn key(board: &str, by: Option<By>, event: &UsageEvent, catalog: &[ModelRow]) -> Option<String> {
    let known = catalog.iter().find(|row| row.model == event.model);
    let author = || {
        known.map_or_else(
            || event.model.split('/').next().unwrap_or_default().to_owned(),
            |row| row.author.clone(),
        )
    };
    Some(match (board, by) {
        ("providers", _) => event.provider.clone(),
        ("apps", _) => event.app.clone(),
        ("models" | "authors" | "share" | "trending", _) if event.model.is_empty() => String::new(),
        ("models" | "trending", _) if event.variant == "free" => format!("{}:free", event.model),
        ("models" | "trending", _) => event.model.clone(),
        ("authors", _) | ("share", Some(By::Author)) => author(),
        ("share", Some(By::Country)) => known
            .map(|row| row.country.clone())
            .filter(|country| !country.is_empty())
            .unwrap_or("unknown".to_owned()),
        ("share", _) => known
            .and_then(|row| row.open_weights)
            .map_or("unknown", |open| if open { "open" } else { "closed" })
            .to_owned(),
        _ => return None,
    })
}

/// Distinct accounts of several cells.
fn everyone<'a>(cells: impl Iterator<Item = &'a Cell>) -> i64 {
    cells
        .flat_map(|cell| cell.0.keys())
        .collect::<BTreeSet<_>>()
        .len() as i64
}

/// The answer to `query`, and the totals as tokens, requests, spend, accounts; `None` for a board this does not know.
pub fn answer(
    events: &[UsageEvent],
    query: &RankingQuery,
    policy: &Policy,
    catalog: &[ModelRow],
) -> Option<(Vec<Line>, [i64; 4])> {
    let cap = policy.cap_tokens as i64;
    let trending = query.ranking == "trending";
    let earlier = if trending { 3 } else { 0 };
    let today = query.now?.timestamp_micros().div_euclid(DAY_US);
    let mut windows: Vec<BTreeMap<String, Cell>> = vec![BTreeMap::new(); 1 + earlier as usize];
    for event in events {
        let ago = today - event.ts.0.div_euclid(DAY_US);
        let window = match query.period.days() {
            None => 0,
            Some(_) if ago < 0 => continue,
            Some(days) => (ago / days as i64) as usize,
        };
        let key = key(&query.ranking, query.by, event, catalog)?;
        if let Some(cells) = windows.get_mut(window) {
            cells.entry(key).or_default().add(event);
        }
    }
    let empty = Cell::default();
    let mut listed: Vec<(i64, i64, String, Cell)> = Vec::new();
    let mut folded: Vec<(i64, i64, Cell)> = Vec::new();
    let keys: BTreeSet<&String> = windows.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let cell = windows[0].get(key).unwrap_or(&empty);
        let value = cell.value(query.metric, cap);
        let before: i64 = windows[1..]
            .iter()
            .filter_map(|cells| cells.get(key))
            .map(|cell| cell.value(query.metric, cap))
            .sum();
        let score = if trending {
            value * earlier - before
        } else {
            value
        };
        let top = cell.0.values().map(|volume| volume[0]).max().unwrap_or(0);
        let shown = !key.is_empty()
            && score > 0
            && cell.0.len() >= policy.min_accounts as usize
            && top as f64 <= policy.dominance * cell.sum(0) as f64;
        if shown {
            listed.push((score, before, key.clone(), cell.clone()));
        } else if !trending || score > 0 {
            folded.push((score, before, cell.clone()));
        }
    }
    listed.sort_by(|a, b| b.0.cmp(&a.0).then(a.2.cmp(&b.2)));
    let beyond = listed.split_off(listed.len().min(query.limit as usize));
    folded.extend(
        beyond
            .into_iter()
            .map(|(score, before, _, cell)| (score, before, cell)),
    );

    let total = match query.metric {
        Metric::Accounts => everyone(windows[0].values()),
        metric => windows[0]
            .values()
            .map(|cell| cell.value(metric, cap))
            .sum(),
    };
    let line =
        |rank, key: &str, counted: i64, cells: &[&Cell], accounts, growth: Option<(i64, i64)>| {
            let sum = |column| cells.iter().map(|cell| cell.sum(column)).sum();
            Line {
                rank,
                key: key.to_owned(),
                tokens: sum(0),
                requests: sum(1),
                spend: sum(2),
                accounts,
                capped: cells.iter().map(|cell| cell.capped(cap)).sum(),
                simulated: sum(3),
                share: if total > 0 {
                    counted as f64 / total as f64
                } else {
                    0.0
                },
                growth: growth.map(|(score, _)| score as f64 / earlier as f64),
                growth_percent: growth
                    .filter(|(_, before)| *before > 0)
                    .map(|(score, before)| 100.0 * score as f64 / before as f64),
            }
        };
    let mut lines: Vec<Line> = (1..)
        .zip(&listed)
        .map(|(rank, (score, before, key, cell))| {
            line(
                Some(rank),
                key,
                cell.value(query.metric, cap),
                &[cell],
                cell.0.len() as i64,
                trending.then_some((*score, *before)),
            )
        })
        .collect();
    let accounts = everyone(folded.iter().map(|(_, _, cell)| cell));
    let counted = match query.metric {
        Metric::Accounts => accounts,
        metric => folded
            .iter()
            .map(|(_, _, cell)| cell.value(metric, cap))
            .sum(),
    };
    if counted > 0 {
        let sums = folded.iter().fold((0, 0), |(score, before), cell| {
            (score + cell.0, before + cell.1)
        });
        let growth = (trending && query.metric != Metric::Accounts).then_some(sums);
        let cells: Vec<&Cell> = folded.iter().map(|(_, _, cell)| cell).collect();
        lines.push(line(None, "other", counted, &cells, accounts, growth));
    }
    let all = |column| windows[0].values().map(|cell| cell.sum(column)).sum();
    let totals = [all(0), all(1), all(2), everyone(windows[0].values())];
    Some((lines, totals))
}
