//! A follower that the tests with ClickHouse kill: `warehouse_follower DIR URL`, one pass over the lake in DIR.

use std::path::Path;
use std::process::ExitCode;
use tidemark_tests::Result;
use tidemark_tests::folder::{Sizes, open_lake};
use tidemark_tests::process::subject;
use tidemark_warehouse::{Follower, Server, WarehouseSettings};

fn main() -> ExitCode {
    subject("warehouse_follower", 2, run)
}

async fn run(args: Vec<String>) -> Result {
    let [dir, url] = &args[..] else {
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
