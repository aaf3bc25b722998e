//! The ClickHouse engine behind its HTTP interface, a door in front of it that can be slammed, and followers that can be killed.

use crate::Result;
use crate::process::{self, cache, has_python, signal};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use tidemark_warehouse::WarehouseSettings;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/clickhouse");

/// Whether the tests with ClickHouse are to run: they need Python with `venv`. With `CLICKHOUSE_TESTS=required` they must.
pub fn is_wanted() -> bool {
    has_python() || std::env::var("CLICKHOUSE_TESTS").is_ok_and(|asked| asked == "required")
}

/// The engine's Python.
fn python() -> Result<PathBuf> {
    let requirements = Path::new(SERVICE).join("requirements.txt");
    process::python(&cache("clickhouse")?, &requirements)
}

/// The engine, with its data in a folder, on a port of its own.
pub struct Engine {
    child: Child,
    dir: PathBuf,
    port: u16,
}

fn start(dir: &Path, port: u16) -> Result<(Child, u16)> {
    let mut child = Command::new(python()?)
        .arg(Path::new(SERVICE).join("serve.py"))
        .arg(dir)
        .args(["--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("no stdout")?;
    for line in BufReader::new(out).lines() {
        if let Some(address) = line?.strip_prefix("ready: http://127.0.0.1:") {
            return Ok((child, address.trim().parse()?));
        }
    }
    Err(format!("no ClickHouse engine: {}", child.wait()?).into())
}

impl Engine {
    /// Starts it.
    pub fn start(dir: &Path) -> Result<Self> {
        let (child, port) = start(dir, 0)?;
        Ok(Self {
            child,
            dir: dir.to_owned(),
            port,
        })
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after a kill, on its port, with what it held.
    pub fn again(&mut self) -> Result {
        (self.child, _) = start(&self.dir, self.port)?;
        Ok(())
    }

    /// Lets it do nothing.
    pub fn freeze(&self) -> Result {
        signal(self.child.id(), "STOP")
    }

    /// And wakes it up.
    pub fn wake(&self) -> Result {
        signal(self.child.id(), "CONT")
    }

    /// Settings for it, straight.
    pub fn settings(&self) -> WarehouseSettings {
        settings(self.port)
    }

    /// What it answers to a query, by plain HTTP: nothing of the warehouse's own code is in between.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let length = sql.len();
        write!(
            stream,
            "POST /?database=tidemark HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{sql}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        match head.starts_with("HTTP/1.1 200") {
            true => Ok(body.to_owned()),
            false => Err(body.to_owned().into()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn settings(port: u16) -> WarehouseSettings {
    WarehouseSettings {
        url: format!("http://127.0.0.1:{port}"),
        ..WarehouseSettings::default()
    }
}

/// A door before the engine that cuts a connection once so many bytes of an insert have gone through it.
pub struct Door {
    port: u16,
    /// Bytes until the cut; below 0 for none.
    left: Arc<AtomicI64>,
    cuts: Arc<AtomicU64>,
}

impl Door {
    /// A door to the engine, open.
    pub fn to(engine: &Engine) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let door = Self {
            port: listener.local_addr()?.port(),
            left: Arc::new(AtomicI64::new(-1)),
            cuts: Arc::default(),
        };
        let (left, cuts, behind) = (Arc::clone(&door.left), Arc::clone(&door.cuts), engine.port);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (left, cuts) = (Arc::clone(&left), Arc::clone(&cuts));
                std::thread::spawn(move || pass(client, behind, &left, &cuts));
            }
        });
        Ok(door)
    }

    /// Cuts the next insert after so many bytes.
    pub fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, SeqCst);
    }

    /// How often it has cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(SeqCst)
    }

    /// Settings for the engine behind it.
    pub fn settings(&self) -> WarehouseSettings {
        settings(self.port)
    }
}

fn pass(mut client: TcpStream, behind: u16, left: &AtomicI64, cuts: &AtomicU64) -> Option<()> {
    let mut engine = TcpStream::connect(("127.0.0.1", behind)).ok()?;
    let (mut back_from, mut back_to) = (engine.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        std::io::copy(&mut back_from, &mut back_to).ok();
        back_to.shutdown(Shutdown::Both).ok();
    });
    let mut part = [0; 4096];
    let mut is_insert = false;
    loop {
        let got = client.read(&mut part).ok().filter(|got| *got > 0);
        let Some(got) = got else {
            engine.shutdown(Shutdown::Write).ok();
            return None;
        };
        let part = &part[..got];
        // A request's first bytes say what it is.
        if part.starts_with(b"POST ") {
            is_insert = part
                .windows(17)
                .any(|at| at == b"FORMAT+Parquet HT" || at == b"FORMAT%20Parquet&")
                || part.windows(14).any(|at| at == b"FORMAT+Parquet");
        }
        if is_insert && left.load(SeqCst) >= 0 {
            let after = left.fetch_sub(got as i64, SeqCst) - got as i64;
            if after < 0 {
                cuts.fetch_add(1, SeqCst);
                left.store(-1, SeqCst);
                engine.shutdown(Shutdown::Both).ok();
                client.shutdown(Shutdown::Both).ok();
                return None;
            }
        }
        engine.write_all(part).ok()?;
    }
}

/// Runs `warehouse_follower` once: one pass over the lake in a folder; `failpoints` may say where it dies.
pub fn follow(
    program: &Path,
    dir: &Path,
    settings: &WarehouseSettings,
    failpoints: &str,
) -> Result<ExitStatus> {
    Ok(Command::new(program)
        .arg(dir)
        .arg(&settings.url)
        .env("FAILPOINTS", failpoints)
        .stdin(Stdio::null())
        .status()?)
}
