//! One file of the lake, one insert.

use crate::{Server, WarehouseError};
use bytes::Bytes;
use clickhouse::Client;
use fail::fail_point;
use futures::{StreamExt, TryStreamExt};
use std::pin::pin;
use std::time::Duration;
use tidemark_lake::{DataFile, Table};

/// For a part of a body to be taken.
const SEND: Duration = Duration::from_secs(30);
/// For an insert to be done with once its body is there.
const END: Duration = Duration::from_secs(600);

impl Server {
    /// Inserts the rows of a file into `table`, with its path as the token: once, however often it is tried within the window.
    pub(crate) async fn load(
        &self,
        table: &str,
        from: &Table,
        file: &DataFile,
    ) -> Result<(), WarehouseError> {
        let what = format!("rows for {table}");
        let sql = format!("INSERT INTO {table} FORMAT Parquet");
        let mut insert = self
            .here()
            .with_setting("insert_deduplication_token", token(file))
            .insert_formatted_with(sql)
            .with_timeouts(Some(SEND), Some(END));
        let mut bytes = pin!(from.bytes(&file.path).await?);
        let mut sent = 0;
        while let Some(part) = bytes.try_next().await? {
            sent += part.len();
            insert
                .send(part)
                .await
                .map_err(|error| self.said(&what, error))?;
            fail_point!("warehouse::mid_body", |_| std::process::abort());
        }
        if sent as i64 != file.size {
            return Err(WarehouseError::Answer {
                what,
                cause: format!("the file has {sent} bytes, the log says {}", file.size),
            });
        }
        fail_point!("warehouse::before_end", |_| std::process::abort());
        insert
            .end()
            .await
            .map_err(|error| self.said(&what, error))?;
        fail_point!("warehouse::after_insert", |_| std::process::abort());
        Ok(())
    }

    /// Inserts a body that is there.
    pub(crate) async fn insert(
        &self,
        what: &str,
        client: &Client,
        sql: &str,
        body: Bytes,
    ) -> Result<(), WarehouseError> {
        let mut insert = client
            .insert_formatted_with(sql)
            .with_timeouts(Some(SEND), Some(END));
        let done = async {
            let mut parts = futures::stream::iter([body]);
            while let Some(part) = parts.next().await {
                insert.send(part).await?;
            }
            insert.end().await
        };
        done.await.map_err(|error| self.said(what, error))
    }
}

/// What makes two tries of a file the same insert.
fn token(file: &DataFile) -> String {
    fail_point!("bug::fresh_token", |_| format!(
        "{} {:?}",
        file.path,
        std::time::SystemTime::now()
    ));
    file.path.clone()
}
