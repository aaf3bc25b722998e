//! The lake and the real ClickHouse engine hold the same, whatever happens between them.
//!
//! Acceptance: `TIDEMARK_WAREHOUSE_KILLS=25 TIDEMARK_WAREHOUSE_CUTS=20 cargo test --release --workspace --test warehouse -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails should fail loudly, and figures are for people"
)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::context::SessionContext;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemark_event::UsageEvent;
use tidemark_insight::{Rankings, register_catalog_rows};
use tidemark_lake::{Held, Hot, Merge, TableSpec};
use tidemark_rollup::{Worker, erase};
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::traffic::{BASE_US, event_of};
use tidemark_tests::warehouse::{Door, Engine, follow, is_wanted};
use tidemark_tests::{Dice, cases, check, size};
use tidemark_warehouse::{Follower, Server, WarehouseError, Warm, schema};

/// Steps of the follower at which it is killed, and how often each is passed in a round at least.
const POINTS: [&str; 5] = [
    "warehouse::mid_body",
    "warehouse::before_end",
    "warehouse::after_insert",
    "warehouse::before_ledger",
    "warehouse::after_ledger",
];
/// Those of loading a day as a whole.
const DAY_POINTS: [&str; 2] = ["warehouse::before_replace", "warehouse::after_replace"];

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_warehouse_follower"))
}

/// A lake that grows, an engine, and what has been sent.
struct Stage {
    dir: tempfile::TempDir,
    engine: Engine,
    folder: Folder,
    worker: Worker,
    sent: Vec<UsageEvent>,
}

impl Stage {
    async fn set() -> Self {
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

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Some more events, in a few commits; about every third time files are put together.
    async fn grow(&mut self, dice: &mut Dice) {
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

    fn passes(&self, failpoints: &str) -> std::process::ExitStatus {
        follow(program(), &self.data(), &self.engine.settings(), failpoints).unwrap()
    }

    /// A pass without faults, and then: every difference between what was sent and what ClickHouse says, and between
    /// ClickHouse and the lake.
    async fn differences(&self) -> Vec<String> {
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
    async fn compare_rollups(&self, wrong: &mut Vec<String>) {
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
    fn compare_events(&self, wrong: &mut Vec<String>) {
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
fn texts(batches: &[arrow::array::RecordBatch]) -> Vec<String> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_in_once_whatever_dies() {
    if !is_wanted() {
        eprintln!("skipped: Python with venv does not run here");
        return;
    }
    let (kills, cuts) = (
        size("TIDEMARK_WAREHOUSE_KILLS", 2),
        size("TIDEMARK_WAREHOUSE_CUTS", 4),
    );
    let mut dice = Dice::new(7);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);

    for point in POINTS {
        for _ in 0..kills {
            stage.grow(&mut dice).await;
            // At least nine files are new: one for each table.
            let skip = if point.ends_with("ledger") { 5 } else { 7 };
            let died = stage.passes(&format!("{point}={}*off->return", dice.below(skip)));
            assert!(!died.success(), "{point} did not fire");
        }
        assert_eq!(stage.differences().await, [""; 0], "after {point}");
    }
    for point in DAY_POINTS {
        for _ in 0..kills {
            stage.grow(&mut dice).await;
            // Without its ledger every day has to be loaded again.
            stage.engine.ask("TRUNCATE TABLE lake_files").unwrap();
            let died = stage.passes(&format!("{point}={}*off->return", dice.below(9)));
            assert!(!died.success(), "{point} did not fire");
        }
        assert_eq!(stage.differences().await, [""; 0], "after {point}");
    }

    let door = Door::to(&stage.engine).unwrap();
    for nth in 0..cuts {
        stage.grow(&mut dice).await;
        // From the first byte of a file to beyond several.
        door.cut_after((nth * 1_777) as i64 % 40_000);
        let died = follow(program(), &stage.data(), &door.settings(), "").unwrap();
        assert!(!died.success(), "cut {nth} was not noticed");
    }
    assert_eq!(door.cuts(), cuts, "each cut happened");
    assert_eq!(stage.differences().await, [""; 0], "after cuts");

    // The engine dies while it is written to, and is away while the lake grows.
    for nth in 0..kills {
        stage.grow(&mut dice).await;
        let (data, settings) = (stage.data(), stage.engine.settings());
        let following = std::thread::spawn(move || {
            follow(program(), &data, &settings, "").unwrap();
        });
        std::thread::sleep(Duration::from_millis(150 + 90 * nth % 700));
        stage.engine.kill().unwrap();
        following.join().unwrap();
        stage.grow(&mut dice).await;
        assert!(!stage.passes("").success(), "nobody answers");
        stage.engine.again().unwrap();
    }
    assert_eq!(stage.differences().await, [""; 0], "after the engine died");
    eprintln!(
        "{} kills of the follower, {cuts} cuts, {kills} kills of the engine: {} events exactly once in lake and ClickHouse",
        kills * (POINTS.len() + DAY_POINTS.len()) as u64,
        stage.sent.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_forgot_is_loaded_by_days() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(11);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);
    for _ in 0..6 {
        stage.grow(&mut dice).await;
    }
    stage.folder.lake.compact(eager_upkeep()).await.unwrap();
    // The log's entries go, as upkeep lets them after their time, and so do files that were put together.
    for table in stage.folder.lake.tables() {
        let log = stage
            .data()
            .join("lake")
            .join(&table.spec().name)
            .join("_delta_log");
        let newest = table.view().version;
        for version in 0..newest {
            std::fs::remove_file(log.join(format!("{version:020}.json"))).ok();
        }
    }
    let server = Server::new(&stage.engine.settings()).unwrap();
    let mut follower = Follower::start(server, stage.folder.lake.clone())
        .await
        .unwrap();
    let report = follower.pass().await.unwrap();
    assert!(report.days > 0, "{report:?}");
    let again = follower.pass().await.unwrap();
    assert_eq!((again.files, again.days), (0, 0), "nothing is new");
    let mut wrong = Vec::new();
    stage.compare_events(&mut wrong);
    assert_eq!(wrong, [""; 0]);

    // A rebuild puts each day in its place; what was there twice is there once.
    stage
        .engine
        .ask("INSERT INTO raw_events SELECT * FROM raw_events LIMIT 10")
        .unwrap();
    stage.compare_events(&mut wrong);
    assert!(!wrong.is_empty(), "ten rows too many are noticed");
    let mut days = 0;
    follower.rebuild("raw_events", |_| days += 1).await.unwrap();
    wrong.clear();
    stage.compare_events(&mut wrong);
    assert_eq!(wrong, [""; 0]);
    assert!(days > 1);
}

/// Every answer to every question, as the golden files show it.
async fn answers(context: &SessionContext) -> Vec<String> {
    let rows = (cases::models(), cases::authors(), cases::providers());
    register_catalog_rows(context, rows.0, rows.1, rows.2).unwrap();
    let rankings = Rankings::embedded(cases::policy()).unwrap();
    let mut texts = Vec::new();
    for board in rankings.names() {
        for query in cases::questions(&rankings, &board) {
            let answer = rankings
                .answer(context, cases::now(), &query)
                .await
                .unwrap();
            texts.push(cases::text(&query, &answer).unwrap());
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rankings_are_the_same_from_both() {
    if !is_wanted() {
        return;
    }
    let mut stage = Stage::set().await;
    for events in cases::read("two_days").unwrap().chunks(150) {
        stage.folder.publish(events).await.unwrap();
        stage.sent.extend_from_slice(events);
        while stage.worker.step().await.unwrap() {}
        assert_eq!(stage.differences().await, [""; 0]);
    }
    let names = stage
        .folder
        .pipelines
        .iter()
        .map(|pipeline| pipeline.spec().name.clone());
    let mut hot = Hot::new(stage.folder.lake.clone(), names.collect());
    let (_, lake) = hot.refresh().await.unwrap().unwrap();

    let server = Server::new(&stage.engine.settings()).unwrap();
    let held: Vec<Held> = stage
        .folder
        .pipelines
        .iter()
        .map(|p| p.spec().name.clone().into())
        .collect();
    let specs: Vec<TableSpec> = stage
        .folder
        .pipelines
        .iter()
        .map(|p| p.spec().clone())
        .collect();
    let mut warm = Warm::new(server, held, &specs).unwrap();
    let (_, warehouse) = warm.refresh().await.unwrap().unwrap();
    assert!(
        warm.refresh().await.unwrap().is_none(),
        "nothing has changed"
    );
    let (lake, warehouse) = (answers(&lake).await, answers(&warehouse).await);
    assert!(lake.len() > 50, "{} questions", lake.len());
    assert_eq!(lake, warehouse);
    eprintln!("{} answers alike from lake and ClickHouse", lake.len());
}

/// An insert that comes again is told by its token, and beyond the window of tokens by the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_sent_again_counts_once() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(23);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);

    // Rows are in, their line is not: the next pass sends them again. Three times, then once for good.
    let told = "SELECT coalesce(sum(value), 0) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'";
    stage.grow(&mut dice).await;
    for _ in 0..3 {
        assert!(!stage.passes("warehouse::after_insert=return").success());
    }
    assert_eq!(stage.differences().await, [""; 0]);
    // The engine counts a block more than once on its way.
    let told: u64 = stage.engine.ask(told).unwrap().trim().parse().unwrap();
    assert!(told >= 3 && told.is_multiple_of(3), "{told} by their token");

    // One token is remembered, and many files come after it: none is sent again though nobody would notice that it was.
    stage
        .engine
        .ask("ALTER TABLE raw_events MODIFY SETTING non_replicated_deduplication_window = 1")
        .unwrap();
    for _ in 0..4 {
        stage.grow(&mut dice).await;
        assert_eq!(stage.differences().await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_bugs_are_caught() {
    if !is_wanted() {
        return;
    }
    let bugs = [
        (
            "bug::fresh_token=return",
            "warehouse::after_insert=3*off->return",
        ),
        (
            "bug::ledger_early=return",
            "warehouse::mid_body=3*off->return",
        ),
        ("bug::rearranged_is_new=return", ""),
    ];
    let mut caught = BTreeMap::new();
    for (bug, death) in bugs {
        let mut dice = Dice::new(3);
        let mut stage = Stage::set().await;
        stage.grow(&mut dice).await;
        assert_eq!(stage.differences().await, [""; 0]);
        for _ in 0..3 {
            stage.grow(&mut dice).await;
            stage.folder.lake.compact(eager_upkeep()).await.unwrap();
            stage.passes(&format!("{bug};{death}"));
        }
        caught.insert(bug, stage.differences().await.len());
    }
    assert!(
        caught.values().all(|differences| *differences > 0),
        "{caught:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_shape_is_named_and_made_anew() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(5);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);
    let server = Server::new(&stage.engine.settings()).unwrap();
    let specs: Vec<TableSpec> = stage
        .folder
        .lake
        .tables()
        .map(|t| t.spec().clone())
        .collect();
    assert_eq!(
        server.migrate(&specs).await.unwrap(),
        [""; 0],
        "all is there"
    );

    // A raw table of an earlier version gets the column it lacks.
    stage
        .engine
        .ask("ALTER TABLE raw_events DROP COLUMN route")
        .unwrap();
    assert_eq!(server.migrate(&specs).await.unwrap(), ["raw_events.route"]);

    // A rollup of an earlier version cannot be mended, only made anew.
    stage
        .engine
        .ask("ALTER TABLE models_by_hour_partials DROP COLUMN truncated")
        .unwrap();
    let error = server.migrate(&specs).await.unwrap_err();
    assert!(matches!(error, WarehouseError::Drift { .. }), "{error}");
    assert!(
        error.to_string().contains("rebuild --table models_by_hour"),
        "{error}"
    );
    let spec = specs
        .iter()
        .find(|spec| spec.name == "models_by_hour")
        .unwrap();
    server.remake(spec).await.unwrap();
    assert_eq!(stage.differences().await, [""; 0]);

    // Users are not there in the engine as a library, but its parser is.
    for sql in schema::analyst("tidemark") {
        let tree = stage.engine.ask(&format!("EXPLAIN AST {sql}")).unwrap();
        assert!(tree.contains("Query"), "{tree}");
    }

    // Figures of histograms and sketches, by the formulas of the lake.
    let lake = stage.folder.lake.sql().await.unwrap();
    let ours = lake
        .sql("SELECT model, quantile(histogram_merge(latency_us), 0.95) AS q, distinct(bottom_k_merge(accounts, 1024), 1024) AS n FROM models_by_hour GROUP BY model ORDER BY model")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let theirs = stage
        .engine
        .ask("SELECT model, histogram_quantile(sumMap(latency_us), 0.95), sketch_distinct(arraySlice(arraySort(groupUniqArrayArray(accounts)), 1, 1024), 1024) FROM models_by_hour GROUP BY model ORDER BY model")
        .unwrap();
    let ours: Vec<String> = texts(&ours);
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (ours, theirs): (Vec<&str>, Vec<&str>) =
            (ours.split(" | ").collect(), theirs.split('\t').collect());
        let near = |at: usize| {
            let (a, b): (f64, f64) = (ours[at].parse().unwrap(), theirs[at].parse().unwrap());
            (a - b).abs() <= a.abs() * 1e-9
        };
        assert!(
            ours[0] == theirs[0] && near(1) && near(2),
            "{ours:?} {theirs:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let mut settings = tidemark_warehouse::WarehouseSettings {
        url: "http://127.0.0.1:9".to_owned(),
        ..Default::default()
    };
    let error = Server::new(&settings).unwrap().check().await.unwrap_err();
    assert!(matches!(error, WarehouseError::Away { .. }), "{error}");
    assert!(error.to_string().contains("http://127.0.0.1:9"), "{error}");
    settings.url = "127.0.0.1:8123".to_owned();
    assert!(Server::new(&settings).is_err());
    settings.url = "http://me:secret@127.0.0.1:8123".to_owned();
    let error = Server::new(&settings).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

/// `UPDATE_CASES=1` writes them anew.
#[tokio::test]
async fn the_tables_in_schemas_are_those_of_the_rollups() {
    let pipelines = tidemark_rollup::Pipeline::built_in(
        &TableSpec::events(&tidemark_event::wire::Reader::new(&[]).unwrap().schema()).schema,
    )
    .await
    .unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/clickhouse");
    let mut wanted = BTreeMap::from([
        (
            "lake_files.sql".to_owned(),
            format!("{};\n", schema::ledger().trim_end()),
        ),
        (
            "functions.sql".to_owned(),
            schema::functions()
                .map(|sql| format!("{sql};\n"))
                .join("\n"),
        ),
    ]);
    wanted.insert(
        "analyst.sql".to_owned(),
        schema::analyst("tidemark")
            .map(|sql| format!("{sql};\n"))
            .join("\n"),
    );
    for spec in tidemark_rollup::table_specs(&pipelines).await.unwrap() {
        let mut sql = format!("{};\n", schema::table(&spec).trim_end());
        if let Some(view) = schema::view(&spec) {
            sql.push_str(&format!("\n{};\n", view.trim_end()));
        }
        wanted.insert(format!("{}.sql", spec.name), sql);
    }
    if cases::update() {
        for (name, sql) in &wanted {
            std::fs::write(folder.join(name), sql).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.insert(name, std::fs::read_to_string(path).unwrap());
    }
    assert!(
        found == wanted,
        "schemas/clickhouse is not what the rollups say: run with UPDATE_CASES=1 and review"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_account_is_gone_from_both() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(23);
    let mut stage = Stage::set().await;
    for _ in 0..4 {
        stage.grow(&mut dice).await;
    }
    assert_eq!(stage.differences().await, [""; 0]);
    let who = "account-7";
    let count = |sql: &str| stage.engine.ask(sql).unwrap();
    let of = |table: &str| format!("SELECT count() FROM {table} WHERE account_id = '{who}'");
    assert_ne!(count(&of("usage_events")).trim(), "0");
    let sums = "SELECT sum(requests), sum(prompt_tokens), sum(cost_nanousd) FROM models_by_hour";
    let before = count(sums);

    let (lake, pipelines) = (stage.folder.lake.clone(), stage.folder.pipelines.clone());
    erase(&lake, &pipelines, who, |_, _| {}).await.unwrap();
    assert!(stage.passes("").success());
    assert_eq!(count(&of("usage_events")).trim(), "0");
    assert_eq!(count(&of("accounts_by_day")).trim(), "0");
    assert_eq!(count(sums), before, "sums stay");
    stage.sent.retain(|event| event.account_id != who);
    let mut wrong = Vec::new();
    stage.compare_events(&mut wrong);
    stage.compare_rollups(&mut wrong).await;
    assert_eq!(wrong, [""; 0]);
}
