//! A real object store of the tests' own: MinIO, as `tests/services/minio/run` starts it.

use crate::Result;
use crate::process::{service, signal};
use std::path::Path;
use std::process::{Child, Command};
use tidemark_lake::{Bucket, BucketAddress, Place};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/minio/run");

/// Whether the tests with a bucket are to run: they need Go and curl. With `BUCKET_TESTS=required` they must.
pub fn is_wanted() -> bool {
    let there = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.is_ok_and(|output| output.status.success())
    };
    std::env::var("BUCKET_TESTS").is_ok_and(|asked| asked == "required")
        || (there("go", "version") && there("curl", "--version"))
}

/// The store, with its data in a folder.
pub struct Store {
    script: Child,
    /// Where it answers.
    pub endpoint: String,
}

impl Store {
    /// Starts it on a port of its own.
    pub fn start(dir: &Path) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let mut script = Command::new(RUN);
        script.arg(dir).args(["--port", &port.to_string()]);
        let (script, endpoint) = service(&mut script)?;
        Ok(Self { script, endpoint })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        signal(self.script.id(), "TERM").ok();
        self.script.wait().ok();
    }
}

/// A place in the bucket that the script makes.
pub fn place(endpoint: &str, path: &str, scratch: &Path) -> Result<Place> {
    let address = BucketAddress {
        url: format!("s3://tidemark/{path}"),
        endpoint: endpoint.to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "tidemark".to_owned(),
        secret_key: "tidemark-secret".to_owned(),
    };
    Ok(Place::Bucket(Bucket::new(&address, scratch)?))
}
