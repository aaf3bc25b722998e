//! Journal, forwarder, a real Kafka broker, and rollup workers that come and go, sleep and die: everything is counted once.
//!
//! Acceptance, two hours: `TIDEMARK_KAFKA_STEP_KILLS=25 TIDEMARK_KAFKA_RANDOM_KILLS=100 TIDEMARK_KAFKA_FREEZES=50 TIDEMARK_KAFKA_CHURN_S=300
//! TIDEMARK_KAFKA_OUTAGES=20 TIDEMARK_KAFKA_OUTAGE_S=45 cargo test --release --workspace --test kafka -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails should fail loudly, and figures are for people"
)]

use arrow::util::display::array_value_to_string;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tidemark_bus::kafka::{Forwarder, KafkaSettings, ends, prepare};
use tidemark_bus::{Journal, JournalOptions};
use tidemark_event::wire::{self, WIRE_SCHEMA, fingerprint};
use tidemark_lake::{EVENTS, Lake, Log, Place};
use tidemark_rollup::{Pipeline, open_lake};
use tidemark_tests::bucket::{self, Store, place};
use tidemark_tests::check::{Book, check_lake};
use tidemark_tests::kafka::{Broker, Registry, WorkerProcess, free_port, is_wanted};
use tidemark_tests::process::{cache, has_python, python};
use tidemark_tests::{Dice, Result, size, traffic};

const PARTITIONS: u32 = 6;
/// After the last fault everything is in within this time.
const SETTLE: Duration = Duration::from_secs(60);
/// How often one joins and another leaves, at the end.
const CHURN: Duration = Duration::from_secs(2);
/// Steps of a worker at which it is killed; each of the lake's is passed once for each table.
const POINTS: [(&str, u64); 9] = [
    ("rollup::after_poll", 20),
    ("rollup::after_fill", 8),
    ("rollup::after_dedup", 20),
    ("rollup::after_rollup", 60),
    ("rollup::after_commit", 8),
    ("lake::after_files", 60),
    ("lake::before_commit", 60),
    ("lake::after_commit", 60),
    ("rollup::before_trim", 4),
];

fn worker_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kafka_worker"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// One test at a time: a broker and its workers are enough for two cores.
static TURN: Mutex<()> = Mutex::new(());

/// A broker with a topic, and what a test keeps in its folder.
struct Stage {
    dir: tempfile::TempDir,
    broker: Broker,
    settings: KafkaSettings,
    /// Where the lake is, if not in the folder.
    store: Option<Store>,
    /// The last to go.
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    fn set(topic: &str) -> Result<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir()?;
        let broker = Broker::start(&dir.path().join("kafka"), free_port()?)?;
        let settings = broker.settings(topic, PARTITIONS);
        runtime().block_on(prepare(&settings))?;
        Ok(Self {
            dir,
            broker,
            settings,
            store: None,
            _turn: turn,
        })
    }

    /// The same, with the lake in a bucket.
    fn set_with_bucket(topic: &str) -> Result<Self> {
        let mut stage = Self::set(topic)?;
        stage.store = Some(Store::start(&stage.dir.path().join("store"))?);
        Ok(stage)
    }

    fn bucket(&self) -> Option<&str> {
        self.store.as_ref().map(|store| store.endpoint.as_str())
    }

    /// The folder of all workers.
    fn folder(&self) -> PathBuf {
        self.dir.path().join("workers")
    }

    async fn open(&self) -> Result<(Lake, Vec<Pipeline>)> {
        let place = match self.bucket() {
            Some(endpoint) => place(
                endpoint,
                &self.settings.topic,
                &self.dir.path().join("scratch"),
            )?,
            None => Place::from(&self.folder().join("lake")),
        };
        let log = Log::topic(&self.settings.topic, PARTITIONS);
        Ok(open_lake(place, &log).await?)
    }

    fn worker(&self, failpoints: &str) -> Result<WorkerProcess> {
        let (program, folder) = (worker_program(), self.folder());
        WorkerProcess::start(program, &folder, &self.settings, self.bucket(), failpoints)
    }

    fn spool(&self) -> Result<Journal> {
        let options = JournalOptions {
            partitions: 3,
            segment_bytes: 256 << 10,
            ..JournalOptions::default()
        };
        Ok(Journal::open(&self.dir.path().join("spool"), options)?)
    }

    fn forward(&self, spool: &Journal) -> Result<Forwarder> {
        let file = self.dir.path().join("forwarded");
        let settings = self.settings.clone();
        let started = Forwarder::start(spool.clone(), &file, settings);
        Ok(runtime().block_on(started)?)
    }

    /// Waits until what the lake holds of the topic is enough.
    fn wait_for(
        &self,
        lake: &Lake,
        began: Instant,
        ends: &[u64],
        enough: impl Fn(&[u64]) -> bool,
    ) -> Result {
        loop {
            runtime().block_on(lake.reload())?;
            let committed: Vec<u64> = lake.resume_from(PARTITIONS).into_values().collect();
            if enough(&committed) {
                return Ok(());
            }
            if began.elapsed() > SETTLE {
                return Err(
                    format!("the topic ends at {ends:?}, the lake at {committed:?}").into(),
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits, with traffic going on, until the lake holds what was accepted before a fault was over; how long that took.
    fn catch_up(&self, forwarder: &Forwarder) -> Result<Duration> {
        let began = Instant::now();
        let then = forwarder.stats();
        while forwarder.stats().delivered < then.delivered + then.waiting {
            if began.elapsed() > SETTLE {
                return Err(format!("{then:?} became {:?} only", forwarder.stats()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        let ends = ends(&self.settings)?;
        let (lake, _) = runtime().block_on(self.open())?;
        let reached = |committed: &[u64]| committed.iter().zip(&ends).all(|(at, end)| at >= end);
        self.wait_for(&lake, began, &ends, reached)?;
        Ok(began.elapsed())
    }

    /// Waits until the lake holds all that the topic does, and checks every number of it.
    fn must_hold(&self, book: &Book) -> Result<(usize, Duration)> {
        let began = Instant::now();
        let ends = ends(&self.settings)?;
        let runtime = runtime();
        let (lake, pipelines) = runtime.block_on(self.open())?;
        self.wait_for(&lake, began, &ends, |committed| committed == ends)?;
        let lag = began.elapsed();
        let (wrong, events) = runtime.block_on(check_lake(&lake, &pipelines, &ends, book))?;
        match wrong.is_empty() {
            true => Ok((events, lag)),
            false => Err(wrong.join("\n  ").into()),
        }
    }
}

/// Publishes group after group into a spool until it is told to stop, and keeps the books.
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Book>,
}

impl Publisher {
    fn start(spool: Journal, pause: Duration) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let writer = wire::Writer::new().unwrap();
            let mut book = Book::default();
            let mut nth = 0;
            while !told.load(Ordering::Relaxed) {
                let records = traffic::group(nth).into_iter().map(|message| {
                    let (key, bytes) = traffic::record(&writer, message);
                    (spool.partition_for(&key), bytes)
                });
                book.note(&format!("sent {nth}"));
                spool.append_blocking(records.collect()).unwrap();
                book.note(&format!("acked {nth}"));
                nth += 1;
                thread::sleep(pause);
            }
            book
        });
        Self { stop, thread }
    }

    fn stop(self) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn delivered(forwarder: &Forwarder) -> Result {
    let began = Instant::now();
    while forwarder.stats().waiting > 0 {
        if began.elapsed() > SETTLE {
            return Err(format!("the spool is not empty: {:?}", forwarder.stats()).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What can happen to a worker, in any order.
enum Fault {
    /// Killed at a step, one of the first times that it comes to it.
    KillAt(&'static str, u64),
    /// Killed at any time.
    Kill,
    /// Leaves, and another one comes.
    Leave,
}

/// Workers are killed at named steps and at random, frozen past the session timeout and woken up, sent away and joined by others,
/// all under load.
#[test]
fn workers_come_and_go_sleep_and_die() {
    if !is_wanted() {
        eprintln!("left out: Java or Maven is missing");
        return;
    }
    come_and_go(&Stage::set("come-and-go").unwrap());
}

/// The same with the lake in a bucket, where only the store's word says who was first.
#[test]
fn the_same_over_a_bucket() {
    if !is_wanted() || !bucket::is_wanted() {
        eprintln!("left out: Java, Maven, Go or curl is missing");
        return;
    }
    come_and_go(&Stage::set_with_bucket("over-a-bucket").unwrap());
}

fn come_and_go(stage: &Stage) {
    let spool = stage.spool().unwrap();
    let forwarder = stage.forward(&spool).unwrap();
    let publisher = Publisher::start(spool, Duration::from_millis(20));
    let mut dice = Dice::new(size("TIDEMARK_SEED", 20261126));
    let at_each = size("TIDEMARK_KAFKA_STEP_KILLS", 1);
    let kills = size("TIDEMARK_KAFKA_RANDOM_KILLS", 2);
    let freezes = size("TIDEMARK_KAFKA_FREEZES", 1);
    let mut faults: Vec<Fault> = POINTS
        .iter()
        .flat_map(|(point, most)| (0..at_each).map(|_| Fault::KillAt(point, *most)))
        .chain((0..kills).flat_map(|_| [Fault::Kill, Fault::Leave]))
        .collect();
    let mut workers = vec![stage.worker("").unwrap(), stage.worker("").unwrap()];
    let (mut at_points, mut at_random, mut left) = (0, 0, 0);
    while !faults.is_empty() {
        let fault = faults.swap_remove(dice.below(faults.len() as u64) as usize);
        let at = dice.below(workers.len() as u64) as usize;
        match fault {
            // The one that dies is another one, who joins.
            Fault::KillAt(point, most) => {
                let failpoints = format!("{point}={}*off->return", dice.below(most));
                let mut doomed = stage.worker(&failpoints).unwrap();
                let status = doomed.wait(Duration::from_secs(60)).unwrap();
                let status = status.unwrap_or_else(|| panic!("{failpoints} did not strike"));
                assert!(WorkerProcess::was_aborted(status), "{failpoints}: {status}");
                at_points += 1;
            }
            Fault::Kill => {
                thread::sleep(Duration::from_millis(200 + dice.below(2_000)));
                workers[at].kill().unwrap();
                workers[at] = stage.worker("").unwrap();
                at_random += 1;
            }
            Fault::Leave => {
                let fresh = stage.worker("").unwrap();
                std::mem::replace(&mut workers[at], fresh).leave().unwrap();
                left += 1;
            }
        }
        alive(&mut workers);
    }
    for _ in 0..freezes {
        let at = dice.below(workers.len() as u64) as usize;
        // The group gives its partitions to others; when it wakes up it must not commit what it had read.
        workers[at].freeze(Duration::from_millis(7_500)).unwrap();
        thread::sleep(Duration::from_millis(500));
        alive(&mut workers);
    }
    let churn = Duration::from_secs(size("TIDEMARK_KAFKA_CHURN_S", 6));
    let leaving = take_turns(stage, &mut workers, churn, &mut dice);
    let turns = leaving.len();
    let book = publisher.stop();
    delivered(&forwarder).unwrap();
    let (events, lag) = stage.must_hold(&book).unwrap();
    for worker in leaving.into_iter().chain(workers) {
        worker.leave().unwrap();
    }
    eprintln!(
        "{at_points} kills at steps, {at_random} at random, {left} left and joined, {freezes} frozen, {turns} joined and left in \
         {churn:.0?}: {events} events exactly once, lag 0 after {lag:.1?}"
    );
    assert!(events > 0);
    // Every fault fired.
    let each = POINTS.len() as u64 * at_each;
    assert_eq!((at_points, at_random), (each, kills));
    assert_eq!(left, kills);
}

/// One comes and one is told to go, however long the one before takes to leave: the group has hardly given the partitions when it has to
/// give them again. Those that were told to go.
fn take_turns(
    stage: &Stage,
    workers: &mut [WorkerProcess],
    length: Duration,
    dice: &mut Dice,
) -> Vec<WorkerProcess> {
    let (began, mut leaving) = (Instant::now(), Vec::new());
    let mut turn = CHURN;
    while turn <= length {
        thread::sleep(turn.saturating_sub(began.elapsed()));
        let fresh = stage.worker("").unwrap();
        let at = dice.below(workers.len() as u64) as usize;
        let mut old = std::mem::replace(&mut workers[at], fresh);
        old.send_away();
        leaving.push(old);
        alive(workers);
        turn += CHURN;
    }
    leaving
}

/// With a schema registry, messages have Confluent's framing, others' clients can send, and a registry that is away is waited for.
#[test]
fn schemas_may_be_numbered() {
    if !is_wanted() || !has_python() {
        eprintln!("left out: Java, Maven or Python is missing");
        return;
    }
    let registry = Registry::start().unwrap();
    let mut stage = Stage::set("numbered").unwrap();
    stage.settings.registry.url = registry.url.clone();
    let spool = stage.spool().unwrap();
    let forwarder = stage.forward(&spool).unwrap();
    let publisher = Publisher::start(spool, Duration::from_millis(20));
    thread::sleep(Duration::from_secs(2));
    let book = publisher.stop();
    delivered(&forwarder).unwrap();
    let first = stage.broker.first_bytes(&stage.settings).unwrap();
    // Garbage of the traffic is no message of ours, and is sent as it is.
    assert!(
        first[&0] > 10 * (first.values().sum::<usize>() - first[&0]),
        "{first:?}"
    );

    registry.freeze(true).unwrap();
    let worker = stage.worker("").unwrap();
    thread::sleep(Duration::from_secs(8));
    let (lake, _) = runtime().block_on(stage.open()).unwrap();
    assert_eq!(
        lake.table(EVENTS).unwrap().view().files.len(),
        0,
        "who told it?"
    );
    registry.freeze(false).unwrap();
    let (events, _) = stage.must_hold(&book).unwrap();

    let script = |name| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("services/registry")
            .join(name)
    };
    let python = python(&cache("registry").unwrap(), &script("requirements.txt")).unwrap();
    let theirs = Command::new(python)
        .arg(script("produce.py"))
        .args([
            &stage.settings.brokers,
            &stage.settings.topic,
            &registry.url,
        ])
        .arg("500")
        .status();
    assert!(theirs.unwrap().success());
    let asked = "SELECT count(*), coalesce(sum(prompt_tokens), 0) FROM usage_events WHERE account_id = 'them'";
    let began = Instant::now();
    loop {
        let answer = runtime().block_on(async { ask(&stage.open().await?.0, asked).await });
        if answer.unwrap() == ["500", "124750"] {
            break;
        }
        assert!(began.elapsed() < SETTLE, "their events do not come");
        thread::sleep(Duration::from_millis(200));
    }
    worker.leave().unwrap();
    eprintln!("{first:?} by their first byte; {events} events of ours exactly once, 500 of theirs");
}

/// The first row of an answer, as text.
async fn ask(lake: &Lake, sql: &str) -> Result<Vec<String>> {
    let rows = lake.sql().await?.sql(sql).await?.collect().await?;
    let cells = rows[0].columns().iter();
    let cells = cells.map(|column| array_value_to_string(column, 0));
    Ok(cells.collect::<std::result::Result<_, _>>()?)
}

/// What cannot be counted is listed in the lake, and whoever reads the dead-letter topic is told of each.
#[test]
fn dead_letters_are_told() {
    if !is_wanted() {
        eprintln!("left out: Java or Maven is missing");
        return;
    }
    let stage = Stage::set("letters").unwrap();
    let spool = stage.spool().unwrap();
    let forwarder = stage.forward(&spool).unwrap();
    let publisher = Publisher::start(spool, Duration::from_millis(5));
    // Dies between telling and committing the first batch, which is full by the time that the group has given the partitions.
    let points = "rollup::after_rollup=2*off->return";
    let mut doomed = stage.worker(points).unwrap();
    let status = doomed.wait(Duration::from_secs(30)).unwrap().unwrap();
    assert!(WorkerProcess::was_aborted(status));
    let worker = stage.worker("").unwrap();
    thread::sleep(Duration::from_secs(2));
    let book = publisher.stop();
    delivered(&forwarder).unwrap();
    stage.must_hold(&book).unwrap();
    worker.leave().unwrap();

    let mut listed = runtime().block_on(listed(&stage)).unwrap();
    listed.sort_unstable();
    assert!(listed.len() > 5, "{} dead letters", listed.len());
    let mut told = stage.broker.headers(&stage.settings.dead_letters).unwrap();
    let all = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, listed);
    assert!(all > told.len(), "nothing was told again after the kill");
    eprintln!("{} dead letters, told {all} times", listed.len());
}

/// The lake's dead letters as a note's headers say it.
async fn listed(stage: &Stage) -> Result<Vec<String>> {
    let (lake, _) = stage.open().await?;
    let sql = "SELECT reason, partition, \"offset\", bytes FROM dead_letters";
    let mut listed = Vec::new();
    for rows in lake.sql().await?.sql(sql).await?.collect().await? {
        for row in 0..rows.num_rows() {
            let cells: Vec<String> = rows
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row))
                .collect::<std::result::Result<_, _>>()?;
            let [reason, partition, offset, bytes] = &cells[..] else {
                unreachable!("four columns are asked for");
            };
            // What the garbage of each kind names; `traffic::garbage` flips bits of the fourth byte.
            let ours = u64::from_str_radix(&fingerprint("usage_event", WIRE_SCHEMA)?, 16)?;
            let schema = match reason.as_str() {
                "not_avro" => String::new(),
                "unknown_schema" => format!("{:016x}", ours ^ (0x5A << 24)),
                _ => format!("{ours:016x}"),
            };
            listed.push(format!(
                "reason:{reason},source:letters,schema:{schema},partition:{partition},offset:{offset},bytes:{bytes}"
            ));
        }
    }
    Ok(listed)
}

/// No worker may have ended by itself.
fn alive(workers: &mut [WorkerProcess]) {
    for worker in workers {
        assert_eq!(worker.ended().unwrap(), None, "a worker ended by itself");
    }
}

/// The harness must notice a worker that does not look at the offsets it goes on from.
#[test]
fn a_worker_that_does_not_look_is_noticed() {
    if !is_wanted() {
        eprintln!("left out: Java or Maven is missing");
        return;
    }
    let stage = Stage::set("planted").unwrap();
    let spool = stage.spool().unwrap();
    let forwarder = stage.forward(&spool).unwrap();
    let publisher = Publisher::start(spool, Duration::from_millis(20));
    let bug = "bug::skip_txn_check=return";
    let mut noticed = false;
    for _ in 0..6 {
        // Dies between the commits of two tables; the next one commits again what is in already.
        let failpoints = format!("{bug};lake::after_commit=13*off->return");
        let mut doomed = stage.worker(&failpoints).unwrap();
        let status = doomed.wait(Duration::from_secs(30)).unwrap();
        noticed |= status.is_some_and(|status| !WorkerProcess::was_aborted(status));
    }
    let mut last = stage.worker(bug).unwrap();
    thread::sleep(Duration::from_secs(3));
    let book = publisher.stop();
    delivered(&forwarder).unwrap();
    noticed |= last.ended().unwrap().is_some();
    noticed = noticed || stage.must_hold(&book).is_err();
    assert!(noticed, "a planted bug passed for right");
}

/// Kafka is killed and frozen while events are accepted: the spool keeps them, and all arrive.
#[test]
fn kafka_may_be_away() {
    if !is_wanted() {
        eprintln!("left out: Java or Maven is missing");
        return;
    }
    let mut stage = Stage::set("away").unwrap();
    let spool = stage.spool().unwrap();
    let forwarder = stage.forward(&spool).unwrap();
    let publisher = Publisher::start(spool, Duration::from_millis(20));
    let mut workers = [stage.worker("").unwrap()];
    let outages = size("TIDEMARK_KAFKA_OUTAGES", 1);
    let length = Duration::from_secs(size("TIDEMARK_KAFKA_OUTAGE_S", 8));
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for nth in 0..2 * outages {
        thread::sleep(Duration::from_secs(1));
        if nth % 2 == 0 {
            stage.broker.kill().unwrap();
            thread::sleep(length);
            most = most.max(forwarder.stats().waiting);
            stage.broker.again().unwrap();
        } else {
            stage.broker.freeze(length).unwrap();
            most = most.max(forwarder.stats().waiting);
        }
        slowest = slowest.max(stage.catch_up(&forwarder).unwrap());
        alive(&mut workers);
    }
    let book = publisher.stop();
    delivered(&forwarder).unwrap();
    let (events, lag) = stage.must_hold(&book).unwrap();
    let [worker] = workers;
    worker.leave().unwrap();
    eprintln!(
        "killed and frozen {outages} times for {length:?}: {events} events exactly once, up to {most} waited in the spool and were in the \
         lake {slowest:.1?} later, lag 0 after {lag:.1?}; {:?}",
        forwarder.stats()
    );
    assert!(most > 0, "nothing ever waited: the broker was not away");
}
