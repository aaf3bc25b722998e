//! Which lane a conversation was on, so that its prompt is found in that provider's cache again.

use crate::ask::Ask;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A conversation that has been silent for so long is forgotten: providers' caches have expired by then.
const IDLE: Duration = Duration::from_secs(600);
/// Conversations remembered of one generation; two are kept.
const MOST: usize = 1 << 16;
/// Bytes of a message that tell conversations apart, with its length.
const HEAD: usize = 2048;

/// The memory of conversations, bounded: when the young generation is full, the old one is dropped.
#[derive(Debug, Default)]
pub struct Sticky {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Held>,
    old: HashMap<u64, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    lane: u64,
    used: Instant,
}

impl Sticky {
    /// The key of a conversation: the account's own, and never a text. `None` where nothing tells it from another.
    pub fn key(&self, account: &str, model: &str, ask: &Ask) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        (account, model).hash(&mut hasher);
        if ask.session.is_empty() {
            opening(ask, &mut hasher)?;
        } else {
            ask.session.hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    /// The lane that a conversation is on.
    pub fn get(&self, key: u64, now: Instant) -> Option<u64> {
        let generations = self.lock();
        let held = generations
            .young
            .get(&key)
            .or_else(|| generations.old.get(&key))?;
        (now.saturating_duration_since(held.used) < IDLE).then_some(held.lane)
    }

    /// A conversation was answered by a lane.
    pub fn hold(&self, key: u64, lane: u64, now: Instant) {
        let mut generations = self.lock();
        let Generations { young, old } = &mut *generations;
        if young.len() >= MOST && !young.contains_key(&key) {
            std::mem::swap(young, old);
            young.clear();
        }
        young.insert(key, Held { lane, used: now });
    }

    /// A conversation's lane has failed it.
    pub fn let_go(&self, key: u64, lane: u64) {
        let mut generations = self.lock();
        let Generations { young, old } = &mut *generations;
        for generation in [young, old] {
            if generation.get(&key).is_some_and(|held| held.lane == lane) {
                generation.remove(&key);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first system message and the first other one: what stays the same while a conversation grows.
fn opening(ask: &Ask, hasher: &mut impl Hasher) -> Option<()> {
    let messages = ask.body.get("messages")?.as_array()?;
    let is_system = |message: &&Value| {
        matches!(
            message.get("role").and_then(Value::as_str),
            Some("system" | "developer")
        )
    };
    let system = messages.iter().find(is_system);
    let first = messages.iter().find(|message| !is_system(message))?;
    for message in system.into_iter().chain([first]) {
        content(message.get("content")?, hasher);
    }
    Some(())
}

fn content(content: &Value, hasher: &mut impl Hasher) {
    let mut text = |text: &str| {
        text.len().hash(hasher);
        hasher.write(&text.as_bytes()[..text.len().min(HEAD)]);
    };
    match content {
        Value::String(whole) => text(whole),
        Value::Array(parts) => {
            for part in parts {
                text(part.get("text").and_then(Value::as_str).unwrap_or(""));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ask::chat;
    use serde_json::json;

    fn ask(more: &Value, messages: &Value) -> Ask {
        let mut body = json!({"model": "m", "messages": messages});
        let object = body.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        chat::read(object.clone()).unwrap()
    }

    #[test]
    fn a_conversation_is_known_by_its_id_or_its_opening() {
        let sticky = Sticky::default();
        let key = |more: Value, messages: Value| sticky.key("acme", "m", &ask(&more, &messages));
        let opening =
            json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
        let mut later = opening.clone();
        later.as_array_mut().unwrap().extend([
            json!({"role": "assistant", "content": "ho"}),
            json!({"role": "user", "content": "more"}),
        ]);
        let other =
            json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "he"}]);
        let plain = key(json!({}), opening.clone());
        assert_eq!(plain, key(json!({}), later));
        assert_ne!(plain, key(json!({}), other.clone()));
        let session = key(json!({"session_id": "s"}), opening.clone());
        assert_eq!(
            session,
            key(
                json!({"session_id": "s", "prompt_cache_key": "x"}),
                other.clone()
            )
        );
        assert_eq!(session, key(json!({"prompt_cache_key": "s"}), other));
        assert_ne!(
            session,
            sticky.key("other", "m", &ask(&json!({"session_id": "s"}), &opening))
        );
    }

    #[test]
    fn it_forgets_after_ten_minutes_of_silence() {
        let (sticky, now) = (Sticky::default(), Instant::now());
        let minute = Duration::from_secs(60);
        sticky.hold(1, 7, now);
        assert_eq!(sticky.get(1, now + 9 * minute), Some(7));
        sticky.hold(1, 7, now + 9 * minute);
        assert_eq!(sticky.get(1, now + 18 * minute), Some(7));
        assert_eq!(sticky.get(1, now + 19 * minute), None);
    }

    #[test]
    fn it_lets_go_of_the_lane_that_failed_only() {
        let (sticky, now) = (Sticky::default(), Instant::now());
        sticky.hold(1, 7, now);
        sticky.let_go(1, 8);
        assert_eq!(sticky.get(1, now), Some(7));
        sticky.let_go(1, 7);
        assert_eq!(sticky.get(1, now), None);
    }

    #[test]
    fn it_holds_a_bounded_number_and_the_newest() {
        let (sticky, now) = (Sticky::default(), Instant::now());
        for key in 0..300_000 {
            sticky.hold(key, key, now);
        }
        let generations = sticky.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * MOST);
        drop(generations);
        for key in 300_000 - MOST as u64..300_000 {
            assert_eq!(sticky.get(key, now), Some(key));
        }
        assert_eq!(sticky.get(0, now), None);
    }
}
