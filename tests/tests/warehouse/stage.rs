//! A lake that grows beside an engine, and what they should hold.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemark_event::UsageEvent;
use tidemark_lake::Merge;
use tidemark_rollup::Worker;
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::traffic::{BASE_US, event_of};
use tidemark_tests::warehouse::{Engine, follow};
use tidemark_tests::{Dice, check};
use tidemark_warehouse::Server;

/// The follower as a process.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_warehouse_follower"))
}

/// A lake that grows, an engine, and what has been sent.
pub struct Stage {
    pub dir: tempfile::TempDir,
    pub engine: Engine,
    pub folder: Folder,
    pub worker: Worker,
    pub sent: Vec<UsageEvent>,
}

impl Stage {
    pub async fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(&dir.path().join("clickhouse")).unwrap();
        let sizes = Sizes {
            commit_interval: Duration::ZERO,
            ..Sizes::default()
        };
        let folder = Folder::open(&dir.path().join("data"), sizes).await.unwrap();
        let worker = folder.worker().unwrap();
        Self {
            engine,
            worker,
            folder,
            sent: Vec::new(),
            dir,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Some more events, in a few commits; about every third time files are put together.
    pub async fn grow(&mut self, dice: &mut Dice) {
        for _ in 0..1 + dice.below(3) {
            let from = self.sent.len() as u64;
            let more: Vec<_> = (from..from + 40 + dice.below(200))
                .map(|n| event_of("warehouse", BASE_US, n))
                .collect();
            self.folder.publish(&more).await.unwrap();
            self.sent.extend(more);
            while self.worker.step().await.unwrap() {}
            if dice.once_in(3) {
                self.folder.lake.compact(eager_upkeep()).await.unwrap();
            }
        }
    }

    pub fn passes(&self, failpoints: &str) -> std::process::ExitStatus {
        follow(program(), &self.data(), &self.engine.settings(), failpoints).unwrap()
    }

    /// A pass without faults, and then: every difference between what was sent and what ClickHouse says, and between
    /// ClickHouse and the lake.
    pub async fn differences(&self) -> Vec<String> {
        assert!(self.passes("").success());
        let mut wrong = Vec::new();
        self.compare_events(&mut wrong);
        check::compare_rollups(&self.folder.lake, &self.sent, &mut wrong)
            .await
            .unwrap();
        self.compare_rollups(&mut wrong).await;
        wrong
    }

    /// Every rollup, row by row, from the lake and from ClickHouse.
    pub async fn compare_rollups(&self, wrong: &mut Vec<String>) {
        let server = Server::new(&self.engine.settings()).unwrap();
        for table in self.folder.lake.tables() {
            let spec = table.spec();
            if spec.merge == Merge::Keep {
                continue;
            }
            let mut partials = Vec::new();
            for day in table.days() {
                partials.extend(table.read_day(&day).await.unwrap());
            }
            let lake = texts(&[table.merge_rows(partials).await.unwrap()]);
            let here = texts(&server.read(spec, None).await.unwrap());
            if lake != here {
                let odd = lake.iter().zip(&here).find(|(a, b)| a != b);
                wrong.push(format!(
                    "{}: {} rows in the lake, {} in ClickHouse; {odd:?}",
                    spec.name,
                    lake.len(),
                    here.len()
                ));
            }
        }
    }

    /// Ids one by one, and sums, by plain Rust over what was sent.
    pub fn compare_events(&self, wrong: &mut Vec<String>) {
        let ask = |sql: &str| self.engine.ask(sql).unwrap();
        let mut ids: Vec<String> = self
            .sent
            .iter()
            .map(|event| {
                event
                    .event_id
                    .0
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect()
            })
            .collect();
        ids.sort_unstable();
        let stored = ask("SELECT event_id FROM usage_events ORDER BY event_id").replace('-', "");
        let stored: Vec<&str> = stored.lines().collect();
        if stored != ids {
            wrong.push(format!(
                "{} events sent, {} stored",
                ids.len(),
                stored.len()
            ));
        }
        let sum = |of: fn(&UsageEvent) -> i64| self.sent.iter().map(of).sum::<i64>();
        let wanted = format!(
            "{}\t{}\t{}\t{}\t{}",
            self.sent.len(),
            sum(|event| event.prompt_tokens),
            sum(|event| event.completion_tokens),
            sum(|event| event.cost_nanousd),
            sum(|event| event.failed_attempts.len() as i64),
        );
        let found = ask(
            "SELECT count(), sum(prompt_tokens), sum(completion_tokens), sum(cost_nanousd), sum(length(failed_attempts)) FROM usage_events",
        );
        if found.trim() != wanted {
            wrong.push(format!("sent {wanted}, stored {}", found.trim()));
        }
    }
}

/// All rows as text, in order.
pub fn texts(batches: &[arrow::array::RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut out = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            out.push(cells.join(" | "));
        }
    }
    out.sort_unstable();
    out
}
