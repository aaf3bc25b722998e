//! Following a journal that another process writes: what the writer's memory would say is found
//! out from the files.

use std::path::PathBuf;

use crate::error::JournalError;
use crate::recover;
use crate::segment::{self, Cursor};
use crate::state::{Partition, Span, View};

/// A partition as the files show it now.
pub(crate) fn look(dir: PathBuf) -> Result<Partition, JournalError> {
    let partition = Partition::new(dir, View::default());
    refresh(&partition)?;
    Ok(partition)
}

/// Takes in segments and records that were added, and drops segments that were trimmed.
pub(crate) fn refresh(partition: &Partition) -> Result<(), JournalError> {
    let (bases, _) = segment::list(&partition.dir)?;
    let known = partition.view().spans.last().copied();
    let mut spans = Vec::with_capacity(bases.len());
    let mut end = partition.view().end;
    for (nth, base) in bases.iter().copied().enumerate() {
        // Trimmed since it was listed.
        let Some(mut cursor) = Cursor::open(&partition.dir, base)? else {
            continue;
        };
        let mut len = cursor.file_len()?;
        if nth + 1 == bases.len() {
            if let Some(known) = known.filter(|known| known.base == base && known.len <= len) {
                cursor.jump(known.len, end);
            }
            let tail = recover::scan(&mut cursor, len)?;
            len = tail.intact;
            end = tail.end;
        }
        spans.push(Span { base, len });
    }
    // A listing that raced with the writer's change from one segment to the next; look again later.
    if spans.is_empty() {
        return Ok(());
    }
    let mut view = partition.view_mut();
    view.end = end.max(spans.last().map_or(0, |span| span.base));
    view.spans = spans;
    Ok(())
}
