//! Processes that tests start and send signals to, and the Python that some of them need.

use crate::Result;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

/// Sends a signal.
pub fn signal(pid: u32, name: &str) -> Result {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("kill -{name} {pid}: {status}").into()),
    }
}

/// Starts a service's script, and waits until it says "ready: " and more, which is the answer.
pub fn service(script: &mut Command) -> Result<(Child, String)> {
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().ok_or("no stdout")?;
    for line in BufReader::new(out).lines() {
        if let Some((_, ready)) = line?.split_once("ready: ") {
            let ready = ready.to_owned();
            return Ok((child, ready));
        }
    }
    let (script, ended) = (script.get_program().display(), child.wait()?);
    Err(format!("{script}: {ended}; what it needs is in its first lines").into())
}

/// The whole of a program that tests kill: with the failpoints of `FAILPOINTS`, the work, and exit code 3 if that fails.
pub fn subject<F: Future<Output = Result>>(
    name: &str,
    threads: usize,
    work: impl FnOnce(Vec<String>) -> F,
) -> ExitCode {
    let _points = fail::FailScenario::setup();
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(work(std::env::args().skip(1).collect())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "{name}: {error}").ok();
            ExitCode::from(3)
        }
    }
}

/// Whether Python can make an environment; Debian's comes without what that takes.
pub fn has_python() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A folder that stays: `~/.cache/tidemark/NAME`.
pub fn cache(name: &str) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = home.join(".cache/tidemark").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A Python with the packages that a file names, installed once into a folder.
pub fn python(environment: &Path, requirements: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(environment)?;
    // Tests of several processes may come first at once.
    let lock = std::fs::File::create(environment.join("install.lock"))?;
    lock.lock()?;
    let python = environment.join("bin/python");
    let ran = |command: &mut Command| -> Result {
        let output = command.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    };
    if !python.exists() {
        ran(Command::new("python3")
            .args(["-m", "venv"])
            .arg(environment))?;
    }
    ran(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "-r"])
        .arg(requirements))?;
    Ok(python)
}
