//! Everything the public is shown, and plain sums over what was stored.

use super::*;

pub struct Shelf(Snapshot);

impl Source for Shelf {
    fn current(&self) -> Option<Snapshot> {
        Some(self.0.clone())
    }
}

pub async fn snapshot(hot: &mut Hot, catalog: Arc<Catalog>) -> Snapshot {
    let (version, tables) = hot.refresh().await.unwrap().unwrap();
    let now = Utc::now();
    Snapshot::publish(version, &tables, catalog, now, now)
        .await
        .unwrap()
}

pub async fn pages(snapshot: &Snapshot, paths: &[&str]) -> Vec<(String, String)> {
    let rankings = Arc::new(Rankings::embedded(Policy::default()).unwrap());
    let app = tidemark_api::router(ApiState::new(rankings, Arc::new(Shelf(snapshot.clone()))));
    let mut all = Vec::new();
    for path in paths {
        let request = Request::get(*path).body(Full::<Bytes>::default()).unwrap();
        let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = format!(
            "{} {:?}\n{}",
            head.status,
            head.headers,
            String::from_utf8_lossy(&body)
        );
        all.push(((*path).to_owned(), text));
    }
    all
}

pub fn boards() -> Vec<String> {
    let mut paths = vec![
        "/rankings".to_owned(),
        "/rankings?by=author".to_owned(),
        "/rankings?period=day&metric=spend&by=country".to_owned(),
    ];
    for board in [
        "models",
        "authors",
        "providers",
        "apps",
        "trending",
        "share",
    ] {
        for metric in Metric::ALL {
            paths.push(format!(
                "/api/v1/rankings/{board}?metric={}",
                metric.as_str()
            ));
        }
    }
    for by in By::ALL {
        paths.push(format!("/api/v1/rankings/share?by={}", by.as_str()));
    }
    paths
}

pub async fn ranked(snapshot: &Snapshot, board: &str, by: Option<By>) -> Ranking {
    let rankings = Rankings::embedded(Policy::default()).unwrap();
    let query = RankingQuery {
        by,
        period: Period::All,
        ..RankingQuery::of(board)
    };
    rankings
        .answer(&snapshot.context, Utc::now(), &query)
        .await
        .unwrap()
}

pub async fn row(snapshot: &Snapshot, board: &str, by: Option<By>, key: &str) -> [i64; 4] {
    let ranking = ranked(snapshot, board, by).await;
    let row = ranking.rows.iter().find(|row| row.key == key);
    row.map_or([0; 4], |row| {
        [row.requests, row.tokens, row.spend_nanousd, row.accounts]
    })
}

/// Sums of the events for which `counts` holds.
pub fn sums(events: &[UsageEvent], counts: impl Fn(&UsageEvent) -> bool) -> [i64; 4] {
    let those = || events.iter().filter(|event| counts(event));
    let accounts: std::collections::BTreeSet<_> = those().map(|event| &event.account_id).collect();
    [
        those().count() as i64,
        those()
            .map(|event| event.prompt_tokens + event.completion_tokens)
            .sum(),
        those().map(|event| event.cost_nanousd).sum(),
        accounts.len() as i64,
    ]
}

/// Every event of the folder, by the record that analysts see.
pub async fn stored(folder: &Folder) -> Vec<UsageEvent> {
    let context = folder.lake.sql().await.unwrap();
    let rows = context
        .sql("SELECT account_id, model, provider, prompt_tokens, completion_tokens, cost_nanousd FROM usage_events")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut events = Vec::new();
    for batch in &rows {
        let text = |name: &str, row: usize| {
            let column = arrow::compute::cast(
                batch.column_by_name(name).unwrap(),
                &arrow::datatypes::DataType::Utf8,
            )
            .unwrap();
            column.as_string::<i32>().value(row).to_owned()
        };
        let int = |name: &str, row: usize| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_primitive::<arrow::datatypes::Int64Type>()
                .value(row)
        };
        for row in 0..batch.num_rows() {
            events.push(UsageEvent {
                account_id: text("account_id", row),
                model: text("model", row),
                provider: text("provider", row),
                prompt_tokens: int("prompt_tokens", row),
                completion_tokens: int("completion_tokens", row),
                cost_nanousd: int("cost_nanousd", row),
                ..UsageEvent::default()
            });
        }
    }
    events
}

pub async fn rolled_up(dir: &Path) -> Folder {
    let sizes = Sizes {
        partitions: 4,
        ..Sizes::default()
    };
    let folder = Folder::open(dir, sizes).await.unwrap();
    let mut worker = folder.worker().unwrap();
    while worker.step().await.unwrap() {}
    drop(worker);
    folder
}

pub async fn hot_tables(folder: &Folder) -> datafusion::execution::context::SessionContext {
    Hot::new(folder.lake.clone(), held())
        .refresh()
        .await
        .unwrap()
        .unwrap()
        .1
}
