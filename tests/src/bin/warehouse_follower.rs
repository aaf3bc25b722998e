//! A follower that the tests with ClickHouse kill: `warehouse_follower DIR URL`, one pass over the lake in DIR.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tidemark_tests::Result;
use tidemark_tests::folder::{Sizes, open_lake};
use tidemark_warehouse::{Follower, Server, WarehouseSettings};

fn main() -> ExitCode {
    let _points = fail::FailScenario::setup();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "warehouse_follower: {error}").ok();
            ExitCode::from(3)
        }
    }
}

async fn run(args: &[String]) -> Result {
    let [dir, url] = args else {
        return Err("usage: warehouse_follower DIR URL".into());
    };
    let (lake, _) = open_lake(Path::new(dir), Sizes::default().partitions).await?;
    let server = Server::new(&WarehouseSettings {
        url: url.clone(),
        ..WarehouseSettings::default()
    })?;
    Follower::start(server, lake).await?.pass().await?;
    Ok(())
}
