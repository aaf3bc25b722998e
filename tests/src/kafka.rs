//! A real Kafka broker of the tests' own, and rollup workers that can be killed, frozen and sent away.

use crate::Result;
use crate::process::{service, signal};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tidemark_bus::kafka::KafkaSettings;

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/kafka/run");
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/registry/run");

/// Whether the tests with Kafka are to run: they need Java and Maven. With `KAFKA_TESTS=required` they must.
pub fn is_wanted() -> bool {
    let there = |program: &str| {
        let mut command = Command::new(program);
        command
            .arg("-version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    std::env::var("KAFKA_TESTS").is_ok_and(|asked| asked == "required")
        || (there("java") && there("mvn"))
}

/// Runs the script until the broker answers.
fn run(dir: &Path, port: u16) -> Result<Child> {
    let mut script = Command::new(RUN);
    script.arg(dir).args(["--port", &port.to_string()]);
    Ok(service(&mut script)?.0)
}

/// One broker, with its data in a folder: Apache Kafka in KRaft mode, as `tests/services/kafka/run` starts it.
pub struct Broker {
    script: Child,
    dir: PathBuf,
    port: u16,
}

impl Broker {
    /// Starts it; the second time on one folder, with what it held.
    pub fn start(dir: &Path, port: u16) -> Result<Self> {
        Ok(Self {
            script: run(dir, port)?,
            dir: dir.to_owned(),
            port,
        })
    }

    /// The settings of a client, with small times so that much happens.
    pub fn settings(&self, topic: &str, partitions: u32) -> KafkaSettings {
        KafkaSettings {
            brokers: format!("127.0.0.1:{}", self.port),
            topic: topic.to_owned(),
            dead_letters: format!("{topic}.dead"),
            group: format!("{topic}.workers"),
            partitions,
            replication: 1,
            session_timeout_ms: 6_000,
            ..KafkaSettings::default()
        }
    }

    fn pid(&self) -> Result<u32> {
        let pid = std::fs::read_to_string(self.dir.join("broker-1/pid"))?;
        Ok(pid.trim().parse()?)
    }

    /// The headers of all records of a topic of one partition, as `name:value,name:value`.
    pub fn headers(&self, topic: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for record in self.records(topic, 0)? {
            let headers = record.headers().ok_or("a record without headers")?;
            let texts = headers.iter().map(|header| {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default());
                format!("{}:{value}", header.key)
            });
            all.push(texts.collect::<Vec<_>>().join(","));
        }
        Ok(all)
    }

    /// All records of a partition, with the client library alone.
    fn records(&self, topic: &str, partition: i32) -> Result<Vec<OwnedMessage>> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
            .set("group.id", "looking")
            .create()?;
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
        client.assign(&from)?;
        let (_, end) = client.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        let mut all = Vec::new();
        let mut next = 0;
        while next < end {
            let Some(record) = client.poll(Duration::from_secs(10)) else {
                return Err(format!("{topic} ends at {end}, and {next} is not given").into());
            };
            let record = record?.detach();
            next = record.offset() + 1;
            all.push(record);
        }
        Ok(all)
    }

    /// How many messages of a topic begin with each byte, with the client library alone.
    pub fn first_bytes(&self, settings: &KafkaSettings) -> Result<BTreeMap<u8, usize>> {
        let mut found = BTreeMap::new();
        for partition in 0..settings.partitions {
            for record in self.records(&settings.topic, partition as i32)? {
                let first = record.payload().and_then(|payload| payload.first());
                *found.entry(*first.ok_or("an empty message")?).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// Lets it do nothing for a while.
    pub fn freeze(&self, length: Duration) -> Result {
        signal(self.pid()?, "STOP")?;
        std::thread::sleep(length);
        signal(self.pid()?, "CONT")
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result {
        signal(self.pid()?, "KILL")?;
        self.script.wait()?;
        Ok(())
    }

    /// Starts it again after a kill.
    pub fn again(&mut self) -> Result {
        self.script = run(&self.dir, self.port)?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            signal(pid, "KILL").ok();
        }
        self.script.kill().ok();
        self.script.wait().ok();
    }
}

/// A schema registry: Apicurio, as `tests/services/registry/run` starts it.
pub struct Registry {
    script: Child,
    /// Where it answers.
    pub url: String,
    pid: u32,
}

impl Registry {
    /// Starts it on a port of its own, with no schemas.
    pub fn start() -> Result<Self> {
        let mut script = Command::new(REGISTRY);
        script.args(["--port", &free_port()?.to_string()]);
        let (script, ready) = service(&mut script)?;
        let (url, pid) = ready.split_once(' ').ok_or("no process id")?;
        Ok(Self {
            script,
            url: url.to_owned(),
            pid: pid.parse()?,
        })
    }

    /// Lets it answer nobody, or everybody again.
    pub fn freeze(&self, frozen: bool) -> Result {
        signal(self.pid, if frozen { "STOP" } else { "CONT" })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        signal(self.script.id(), "TERM").ok();
        self.script.wait().ok();
    }
}

/// A port that nobody has now, with the one above it: the broker's and the controller's.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        if port < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err("no two free ports side by side".into())
}

/// A rollup worker in a process of its own: `kafka_worker`.
pub struct WorkerProcess {
    child: Child,
    /// It ends when this is closed.
    orders: Option<ChildStdin>,
}

impl WorkerProcess {
    /// Starts one; its lake is below `dir` or in the bucket at an endpoint. `failpoints` may say where it dies.
    pub fn start(
        program: &Path,
        dir: &Path,
        settings: &KafkaSettings,
        bucket: Option<&str>,
        failpoints: &str,
    ) -> Result<Self> {
        let mut child = Command::new(program)
            .arg(dir)
            .args([&settings.brokers, &settings.topic])
            .arg(settings.partitions.to_string())
            .args(bucket)
            .env("FAILPOINTS", failpoints)
            .env("TIDEMARK_TEST_REGISTRY", &settings.registry.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let orders = child.stdin.take();
        Ok(Self { child, orders })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            let ended = self.ended()?;
            if ended.is_some() || began.elapsed() > patience {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it sleep, as a machine does that swaps or is moved, and wakes it up.
    pub fn freeze(&self, length: Duration) -> Result {
        signal(self.child.id(), "STOP")?;
        std::thread::sleep(length);
        signal(self.child.id(), "CONT")
    }

    /// Sends it away; it commits what it has read, and leaves the group.
    pub fn send_away(&mut self) {
        drop(self.orders.take());
    }

    /// Sends it away, and waits until it has left.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn leave(mut self) -> Result {
        self.send_away();
        match self.wait(Duration::from_secs(60))? {
            Some(status) if status.success() => Ok(()),
            status => Err(format!("a worker that was sent away ended with {status:?}").into()),
        }
    }

    /// Whether a failpoint ended it.
    pub fn was_aborted(status: ExitStatus) -> bool {
        status.signal() == Some(6)
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
