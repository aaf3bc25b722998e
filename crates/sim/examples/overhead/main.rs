//! The two ends of `benches/overhead`: an upstream that costs little, and a client that measures.
//!
//! ```text
//! overhead upstream 127.0.0.1:9000
//! overhead load '{"target": "127.0.0.1:8480", "key": "sk-...", "model": "m", "rate": 200, "seconds": 10}'
//! ```
//!
//! The client is blocking threads, since a timer wheel of one millisecond would hide what is measured.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the benchmark"
)]

mod client;
mod load;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["upstream", address] => upstream::serve(address),
        ["load", plan] => load::run(plan).map(|report| println!("{report}")),
        _ => Err("usage: overhead upstream ADDRESS | overhead load PLAN (JSON)".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}
