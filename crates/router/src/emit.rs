//! From the meter to the journal, off the response path.
//!
//! A request takes a place before any work is done for it, so that its event always has somewhere to go: when the journal is
//! full and the places run out, the next request is refused at the door with a 503 and nothing is lost. Events wait in
//! memory only until the group in front of them is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidemark_bus::{Journal, JournalError};
use tidemark_event::{EventId, UsageEvent, wire};
use tokio::sync::mpsc;

/// Requests at work or waiting to be durable, at most.
pub const PLACES: usize = 16_384;
/// Events in one append, at most.
const GROUP: usize = 1024;
/// How long the first event of an append waits for others.
const GATHER: Duration = Duration::from_millis(5);
const AGAIN: Duration = Duration::from_millis(200);

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Emitter {
    queue: mpsc::Sender<Box<UsageEvent>>,
    state: Arc<State>,
    /// None for an emitter without one.
    journal: Option<Journal>,
}

#[derive(Default)]
struct State {
    /// The last append did not succeed; places that are taken stay good.
    blocked: AtomicBool,
    durable: AtomicU64,
}

/// A place for one event.
pub struct Place(mpsc::OwnedPermit<Box<UsageEvent>>);

impl Place {
    /// Hands the event over. Never waits, never fails.
    pub fn emit(self, event: Box<UsageEvent>) {
        self.0.send(event);
    }
}

impl Emitter {
    /// Starts the task that appends to `journal`; it ends, with the number of durable events, when every emitter and place
    /// is gone and all is durable.
    ///
    /// # Errors
    /// When the embedded schema cannot be read.
    pub fn start(
        journal: Journal,
    ) -> Result<(Self, tokio::task::JoinHandle<u64>), wire::SchemaError> {
        let writer = wire::Writer::new()?;
        let (mut emitter, events) = Self::piped();
        emitter.journal = Some(journal.clone());
        let task = tokio::spawn(append(journal, writer, events, Arc::clone(&emitter.state)));
        Ok((emitter, task))
    }

    /// An emitter without a journal: its events come out here.
    pub fn piped() -> (Self, mpsc::Receiver<Box<UsageEvent>>) {
        let (queue, events) = mpsc::channel(PLACES);
        let state = Arc::default();
        let emitter = Self {
            queue,
            state,
            journal: None,
        };
        (emitter, events)
    }

    /// A place for one event; none while the journal takes nothing.
    pub fn admit(&self) -> Option<Place> {
        if self.state.blocked.load(Ordering::Relaxed) {
            return None;
        }
        self.queue.clone().try_reserve_owned().ok().map(Place)
    }

    /// Appends events that were made elsewhere and are written already, all or none, past the queue. Returns when they are
    /// durable: who sent them keeps them until then.
    ///
    /// # Errors
    /// When the journal does not take them. After a crash some may turn up all the same; sent again, they count once.
    pub async fn append(&self, events: Vec<(EventId, Vec<u8>)>) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let journal = self.journal.as_ref().ok_or(JournalError::ReadOnly)?;
        let count = events.len() as u64;
        let records = events
            .into_iter()
            .map(|(id, bytes)| (journal.partition_for(&id.0), bytes))
            .collect();
        journal.append(records).await?;
        self.state.durable.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the journal takes events.
    pub fn is_open(&self) -> bool {
        !self.state.blocked.load(Ordering::Relaxed)
    }

    /// Places taken now, by requests at work and events that wait.
    pub fn waiting(&self) -> usize {
        PLACES - self.queue.capacity()
    }

    /// Events made durable since the start.
    pub fn durable(&self) -> u64 {
        self.state.durable.load(Ordering::Relaxed)
    }
}

async fn append(
    journal: Journal,
    writer: wire::Writer,
    mut events: mpsc::Receiver<Box<UsageEvent>>,
    state: Arc<State>,
) -> u64 {
    let mut group = Vec::with_capacity(GROUP);
    while events.recv_many(&mut group, 1).await > 0 {
        // Each append is a wake-up of the journal's thread and a write to disk: a moment's patience shares them.
        let full = async {
            loop {
                let room = GROUP - group.len();
                if room == 0 || events.recv_many(&mut group, room).await == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(GATHER, full).await.ok();
        let count = group.len() as u64;
        loop {
            // The events are kept until the journal has them; a retry writes the same ids, which count once.
            let records = group.iter().map(|event| {
                let partition = journal.partition_for(&event.event_id.0);
                (partition, writer.write(event))
            });
            match journal.append(records.collect()).await {
                Ok(()) => break,
                Err(
                    error @ (JournalError::Poisoned { .. }
                    | JournalError::Closed
                    | JournalError::ReadOnly),
                ) => {
                    state.blocked.store(true, Ordering::Relaxed);
                    events.close();
                    let mut lost = count;
                    while events.recv().await.is_some() {
                        lost += 1;
                    }
                    tracing::error!(%error, lost, "the journal stopped: requests were refused from then on; the events of those under way are lost");
                    return state.durable.load(Ordering::Relaxed);
                }
                Err(error) => {
                    if !state.blocked.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the journal takes no events: requests are refused until it does, nothing is lost");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        if state.blocked.swap(false, Ordering::Relaxed) {
            tracing::warn!("the journal takes events again");
        }
        state.durable.fetch_add(count, Ordering::Relaxed);
        group.clear();
    }
    state.durable.load(Ordering::Relaxed)
}
