//! The follower: what commits add to the lake, loaded once each; days that cannot be followed file by file, loaded again as a whole.

use crate::ledger::Ledger;
use crate::schema::{self, quoted};
use crate::{Server, WarehouseError};
use fail::fail_point;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemark_lake::{Changes, DataFile, Lake, LakeError, Merge, Table, TableSpec, TableView};

/// Files between two writings of the ledger, far fewer than the window of tokens.
const BOOK_EVERY: usize = 500;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Files loaded.
    pub files: usize,
    /// Their rows.
    pub rows: i64,
    /// Days loaded again as a whole.
    pub days: usize,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.days += other.days;
    }
}

/// Keeps a server in step with a lake. One at a time: two would each load what the other has not booked yet.
pub struct Follower {
    server: Server,
    lake: Lake,
    /// By table: what is in, and the version of the lake's table it was compared with.
    ledgers: BTreeMap<String, (Ledger, Option<u64>)>,
}

impl Follower {
    /// Makes what is not there yet.
    ///
    /// # Errors
    /// As [`Server::migrate`].
    pub async fn start(server: Server, lake: Lake) -> Result<Self, WarehouseError> {
        let specs: Vec<TableSpec> = lake.tables().map(|table| table.spec().clone()).collect();
        server.migrate(&specs).await?;
        Ok(Self {
            server,
            lake,
            ledgers: BTreeMap::new(),
        })
    }

    /// Loads what the lake, as it was last looked at, has more than the server.
    ///
    /// # Errors
    /// When either cannot be read, or the server refuses. What was loaded stays, and is not loaded again.
    pub async fn pass(&mut self) -> Result<Report, WarehouseError> {
        let mut report = Report::default();
        for table in self.lake.tables() {
            let name = table.spec().name.as_str();
            let (mut ledger, seen) = match self.ledgers.remove(name) {
                Some(known) => known,
                None => (self.server.ledger(table.spec()).await?, None),
            };
            let view = table.view();
            if seen != Some(view.version) {
                // Whether an insert that failed is in is not known here: after an error the ledger is read again.
                report += self.server.follow(table, &view, &mut ledger).await?;
            }
            self.ledgers
                .insert(name.to_owned(), (ledger, Some(view.version)));
        }
        Ok(report)
    }

    /// Loads every day of a table again, while what is there goes on being read. `done` is told of each day.
    ///
    /// # Errors
    /// As [`Follower::pass`].
    pub async fn rebuild(
        &mut self,
        name: &str,
        mut done: impl FnMut(&str),
    ) -> Result<Report, WarehouseError> {
        let table = Arc::clone(self.lake.table(name)?);
        self.ledgers.remove(name);
        let view = table.view();
        let mut ledger = self.server.ledger(table.spec()).await?;
        let mut report = Report::default();
        self.server.drop_days(&table, &view, &mut ledger).await?;
        for day in table.days() {
            report += self.server.reload(&table, &view, &mut ledger, &day).await?;
            done(&day);
        }
        Ok(report)
    }
}

impl Server {
    /// Brings one table to `view`.
    async fn follow(
        &self,
        table: &Table,
        view: &TableView,
        ledger: &mut Ledger,
    ) -> Result<Report, WarehouseError> {
        let mut report = Report::default();
        if !ledger.is_empty() {
            let mut struck = BTreeSet::new();
            for changes in log_since(table, ledger.version, view.version).await? {
                self.replay(table, changes, ledger, &mut struck, &mut report)
                    .await?;
            }
        }
        self.drop_days(table, view, ledger).await?;
        let lacking: BTreeSet<&str> = view
            .files
            .iter()
            .filter(|file| !ledger.has(&file.path))
            .map(|file| file.date.as_str())
            .collect();
        for day in lacking {
            report += self.reload(table, view, ledger, day).await?;
        }
        self.clear(ledger, &view.files, view.version).await?;
        // Commits without files leave no line, and need not be looked at again.
        ledger.version = ledger.version.max(view.version);
        Ok(report)
    }

    /// Does what one commit did. Days in `struck` have lost rows: nothing more of them is loaded before they are loaded as a whole.
    async fn replay(
        &self,
        table: &Table,
        changes: Changes,
        ledger: &mut Ledger,
        struck: &mut BTreeSet<String>,
        report: &mut Report,
    ) -> Result<(), WarehouseError> {
        let name = schema::stored(table.spec());
        for path in &changes.gone {
            // Rows that went cannot be taken out file by file: the day counts as not there.
            let day = day_of(path);
            if struck.insert(day.to_owned()) {
                self.strike(ledger, day).await?;
            }
        }
        let mut loaded: Vec<(DataFile, u64)> = Vec::new();
        for file in changes.new {
            if ledger.has(&file.path) || struck.contains(&file.date) {
                continue;
            }
            if planted("bug::ledger_early") {
                self.book(ledger, &[(file.clone(), changes.version)])
                    .await?;
            }
            match self.load(&name, table, &file).await {
                Ok(()) => {}
                // Put together with others since, and cleared away: the day will be found lacking.
                Err(WarehouseError::Lake(error)) if error.is_gone() => continue,
                Err(error) => return Err(error),
            }
            report.files += 1;
            report.rows += file.rows;
            loaded.push((file, changes.version));
            if loaded.len() >= BOOK_EVERY {
                self.book(ledger, &loaded).await?;
                loaded.clear();
            }
        }
        fail_point!("warehouse::before_ledger", |_| std::process::abort());
        self.book(ledger, &loaded).await?;
        fail_point!("warehouse::after_ledger", |_| std::process::abort());
        if planted("bug::rearranged_is_new") {
            for file in &changes.rearranged {
                self.load(&name, table, file).await?;
            }
        }
        if changes.replaced.iter().all(|path| ledger.has(path)) {
            let known: Vec<_> = changes
                .rearranged
                .into_iter()
                .filter(|file| !ledger.has(&file.path))
                .map(|file| (file, changes.version))
                .collect();
            self.book(ledger, &known).await?;
        }
        Ok(())
    }

    /// Puts the rows that the lake has of a day in the place of those that the server has of it, at once.
    async fn reload(
        &self,
        table: &Table,
        view: &TableView,
        ledger: &mut Ledger,
        day: &str,
    ) -> Result<Report, WarehouseError> {
        let name = schema::stored(table.spec());
        let staging = format!("{name}_staging");
        let drop = format!("DROP TABLE IF EXISTS {} SYNC", quoted(&staging));
        self.run("the staging table", &drop).await?;
        let make = format!("CREATE TABLE {} AS {}", quoted(&staging), quoted(&name));
        self.run("the staging table", &make).await?;
        let files: Vec<(DataFile, u64)> = view
            .files
            .iter()
            .filter(|file| file.date == day)
            .map(|file| (file.clone(), view.version))
            .collect();
        let mut rows = 0;
        for (file, _) in &files {
            self.load(&staging, table, file).await?;
            rows += file.rows;
        }
        // Where rows have a time to live, some may be gone before they are counted.
        if table.spec().merge == Merge::Keep && self.raw_days == 0 {
            self.expect_rows(&staging, &name, day, rows).await?;
        }
        // Between these two the day is there twice over or not at all for the ledger, never for readers: a stop here costs
        // loading it again.
        self.strike(ledger, day).await?;
        fail_point!("warehouse::before_replace", |_| std::process::abort());
        let replace = format!(
            "ALTER TABLE {} REPLACE PARTITION {} FROM {}",
            quoted(&name),
            partition(day),
            quoted(&staging)
        );
        self.run(&format!("day {day} of {name}"), &replace).await?;
        fail_point!("warehouse::after_replace", |_| std::process::abort());
        self.book(ledger, &files).await?;
        self.run("the staging table", &drop).await?;
        Ok(Report {
            files: files.len(),
            rows,
            days: 1,
        })
    }

    async fn expect_rows(
        &self,
        staging: &str,
        table: &str,
        day: &str,
        wanted: i64,
    ) -> Result<(), WarehouseError> {
        #[derive(Deserialize)]
        struct Count {
            n: i64,
        }
        let sql = format!("SELECT toInt64(count()) AS n FROM {}", quoted(staging));
        let found: Vec<Count> = self.rows("the staging table", &sql).await?;
        let found = found.first().map_or(0, |count| count.n);
        match found == wanted {
            true => Ok(()),
            false => Err(WarehouseError::RowsLost {
                table: table.to_owned(),
                day: day.to_owned(),
                found,
                wanted,
            }),
        }
    }

    /// Drops days that the lake has no more.
    async fn drop_days(
        &self,
        table: &Table,
        view: &TableView,
        ledger: &mut Ledger,
    ) -> Result<(), WarehouseError> {
        let here: BTreeSet<&str> = view.files.iter().map(|file| file.date.as_str()).collect();
        let gone: Vec<String> = ledger
            .days()
            .difference(&here)
            .map(|day| (*day).to_owned())
            .collect();
        for day in gone {
            let name = schema::stored(table.spec());
            let sql = format!(
                "ALTER TABLE {} DROP PARTITION {}",
                quoted(&name),
                partition(&day)
            );
            self.run(&format!("day {day} of {name}"), &sql).await?;
            self.strike(ledger, &day).await?;
        }
        Ok(())
    }
}

/// Whether a planted bug is on; always false in a shipped binary.
fn planted(bug: &str) -> bool {
    fail_point!(bug, |_| true);
    let _ = bug;
    false
}

/// The day of a file, which its path begins with.
fn day_of(path: &str) -> &str {
    let folder = path.split('/').next().unwrap_or_default();
    folder.strip_prefix("date=").unwrap_or_default()
}

/// A day as the partition key spells it.
fn partition(day: &str) -> String {
    day.chars().filter(char::is_ascii_digit).collect()
}

/// The commits from `from` to `to`, as far back as the log still reaches without a gap.
async fn log_since(table: &Table, from: u64, to: u64) -> Result<Vec<Changes>, LakeError> {
    let mut log = Vec::new();
    for version in (from..=to).rev() {
        match table.changes(version).await? {
            Some(changes) => log.push(changes),
            None => break,
        }
    }
    log.reverse();
    Ok(log)
}
