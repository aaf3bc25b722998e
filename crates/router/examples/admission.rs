//! What limits cost a request: the whole way from the text of a key to the settled admission. Prints nanoseconds.
#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use tidemark_router::keys::{Account, Keys};

const ROUNDS: u32 = 400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("tidemark-admission-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = measure(&dir);
    std::fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let keys = Keys::open(dir)?;
    let limits = [
        "1B requests/minute".parse()?,
        "1B tokens/day".parse()?,
        "1B USD/month".parse()?,
    ];
    let (_, plain) = keys.create("plain")?;
    let (_, limited) = keys.create_with("limited", |key| key.terms.limits = limits.to_vec())?;
    keys.update_account("limited", |terms| terms.limits = limits.to_vec())?;
    for (name, text) in [
        ("no limits", &plain),
        ("3 of the key, 3 of the account", &limited),
    ] {
        let account = keys.account(text).ok_or("the key is not there")?;
        let lookup = time(1, || drop(black_box(keys.account(text))));
        println!("{name}: find the key {lookup:.0} ns");
        for threads in [1, 2, 4] {
            let admit = time(threads, || admit(&account));
            println!(
                "{name}: admit, set aside, settle: {admit:.0} ns, {threads} threads on one key"
            );
        }
        let standing = account.standing.ok_or("a key has a standing")?;
        let read = time(1, || drop(black_box(standing.readings())));
        println!("{name}: read for the headers {read:.0} ns");
    }
    Ok(())
}

fn admit(account: &Account) {
    let Some(Ok(mut admission)) = account.standing.as_ref().map(|standing| standing.admit()) else {
        return;
    };
    black_box(admission.expect(1_000, 1_000).is_ok());
    admission.settle(1_200, 1_200);
}

/// Nanoseconds of wall time for one call, of so many threads together.
fn time(threads: u32, call: impl Fn() + Sync) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..ROUNDS / threads).for_each(|_| call()));
        }
    });
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS / threads * threads)
}
