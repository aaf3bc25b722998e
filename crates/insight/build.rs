//! Embeds every file of `pipelines/rankings`, so that a new leaderboard needs no line of Rust.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../pipelines/rankings");
    let folder = folder.canonicalize()?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    let mut code = String::from("&[\n");
    for path in &files {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a file name is not UTF-8")?;
        writeln!(
            code,
            "    ({name:?}, include_str!({:?})),",
            path.to_str().ok_or("a path is not UTF-8")?
        )?;
    }
    code.push(']');
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("rankings.rs"),
        code,
    )?;
    directive(&format!("cargo::rerun-if-changed={}", folder.display()));
    Ok(())
}

#[allow(
    clippy::print_stdout,
    reason = "this is how a build script speaks to cargo"
)]
fn directive(line: &str) {
    println!("{line}");
}
