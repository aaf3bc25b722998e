//! Rows that have to go for good: found by the value of a text column, and their files written anew without them.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::maintain::bounded;
use crate::table::Table;
use crate::writer::FileWriter;
use arrow::array::{AsArray, RecordBatch};
use datafusion::logical_expr::{Expr, ident, lit};
use futures::TryStreamExt;

/// Bytes that a filter may hold: it keeps no row back.
const MEMORY: usize = 64 << 20;

/// Rows of one day with one value in a text column.
#[derive(Debug)]
pub struct Found {
    /// The rows, whole.
    pub rows: Vec<RecordBatch>,
    files: Vec<DataFile>,
    wanted: Expr,
    others: Expr,
}

impl Found {
    /// How many rows.
    pub fn len(&self) -> i64 {
        self.rows.iter().map(|rows| rows.num_rows() as i64).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Table {
    /// The rows of a day whose `column` is `value`, as the table was last looked at. Only files that have any are read whole.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn find(&self, date: &str, column: &str, value: &str) -> Result<Found, LakeError> {
        let is = || ident(column).eq(lit(value));
        let mut found = Found {
            rows: Vec::new(),
            files: Vec::new(),
            wanted: is(),
            others: is().is_not_true(),
        };
        let store = self.store().await;
        for file in self.view().files.iter().filter(|file| file.date == date) {
            let names = files::read(store.as_ref(), &file.path, Some(&[column])).await?;
            let has = names.iter().any(|rows| {
                let names = rows
                    .column_by_name(column)
                    .and_then(|names| names.as_string_opt::<i32>());
                names.is_some_and(|names| names.iter().flatten().any(|name| name == value))
            });
            if has {
                found.files.push(file.clone());
            }
        }
        if !found.is_empty() {
            let context = bounded(MEMORY, &self.root().scratch)?;
            let rows = self.scan(&context, &found.files).await?;
            for rows in rows.filter(found.wanted.clone())?.collect().await? {
                found.rows.push(files::conform(&rows, &self.spec().schema)?);
            }
        }
        Ok(found)
    }

    /// Writes the files of what was found anew without it, in one commit beside other writers. The old files go with the next
    /// vacuum after their retention.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when one of the files was put together with others since: then nothing is removed, and the rows have to
    /// be found again.
    pub async fn remove(&self, found: &Found) -> Result<(), LakeError> {
        if found.is_empty() {
            return Ok(());
        }
        let store = self.store().await;
        let mut new = Vec::new();
        let mut after = 0;
        for file in &found.files {
            let context = bounded(MEMORY, &self.root().scratch)?;
            let rows = self.scan(&context, std::slice::from_ref(file)).await?;
            let mut rows = rows.filter(found.others.clone())?.execute_stream().await?;
            let mut writer = FileWriter::new(&store, self.spec(), &file.date)?;
            while let Some(rows) = rows.try_next().await? {
                writer
                    .write(&files::conform(&rows, &self.spec().schema)?)
                    .await?;
            }
            let written = writer.finish(false).await?;
            after += written.0.rows;
            if written.0.rows > 0 {
                new.push(written);
            }
        }
        let before: i64 = found.files.iter().map(|file| file.rows).sum();
        if after + found.len() != before {
            return Err(LakeError::RowsLost {
                table: self.spec().name.clone(),
                before,
                after: after + found.len(),
            });
        }
        self.replace(&found.files, new, true).await
    }
}
