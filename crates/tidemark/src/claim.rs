//! What one process at a time may do with a data folder: a lock on a file there, which ends with the process.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The file, not locked.
pub fn file(dir: &Path, name: &str) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(name))
        .with_context(|| format!("the data folder {} cannot be written", dir.display()))
}

/// The right, kept as long as the file is; none while another process has it.
pub fn claim(dir: &Path, name: &str) -> Result<Option<File>> {
    let file = file(dir, name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", dir.display()))
        }
    }
}
