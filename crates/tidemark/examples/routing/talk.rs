//! Conversations of several turns, recorded or made up.

use crate::asker::Answer;
use crate::world::exponential;
use anyhow::Result;
use flate2::read::MultiGzDecoder;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// Tokens in a block of a prompt, as in the Mooncake trace.
const BLOCK: u64 = 512;

/// A turn of a conversation: its prompt is that of the turn before and more.
#[derive(Debug, Clone)]
pub struct Turn {
    pub at: Duration,
    /// Which conversation.
    pub talk: u64,
    /// The prompt in blocks; the same number is the same text.
    blocks: Vec<u64>,
}

#[derive(Deserialize)]
struct Recorded {
    timestamp: u64,
    hash_ids: Vec<u64>,
}

/// The turns of a recorded trace up to a time, `faster` than they were. All prompts share the first block; who shares the second,
/// too, is one conversation.
pub fn recorded(file: &Path, time: Duration, faster: f64) -> Result<Vec<Turn>> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(file)?)).lines();
    let mut talks = HashMap::new();
    let mut turns = Vec::new();
    for line in lines {
        let recorded: Recorded = serde_json::from_str(&line?)?;
        let at = Duration::from_millis(recorded.timestamp).div_f64(faster);
        if at >= time {
            break;
        }
        let begin: Vec<u64> = recorded.hash_ids.iter().take(2).copied().collect();
        let fresh = talks.len() as u64;
        turns.push(Turn {
            at,
            talk: *talks.entry(begin).or_insert(fresh),
            blocks: recorded.hash_ids,
        });
    }
    Ok(turns)
}

/// Made-up turns: so many conversations a second; each goes on after every turn with a chance of three in four, after a pause.
pub fn invented(rate: f64, time: Duration, pause: Duration, seed: u64) -> Vec<Turn> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut turns, mut begin, mut fresh) = (Vec::new(), Duration::ZERO, 1);
    for talk in 0.. {
        begin += exponential(&mut rng, Duration::from_secs_f64(1.0 / rate));
        if begin >= time {
            break;
        }
        let (mut at, mut blocks) = (begin, vec![0]);
        while at < time {
            for _ in 0..rng.random_range(1..=if blocks.len() == 1 { 6 } else { 2 }) {
                blocks.push(fresh);
                fresh += 1;
            }
            turns.push(Turn {
                at,
                talk,
                blocks: blocks.clone(),
            });
            if rng.random_bool(0.25) {
                break;
            }
            at += exponential(&mut rng, pause);
        }
    }
    turns.sort_by_key(|turn| turn.at);
    turns
}

impl Turn {
    /// The request without a model: the first block is the system prompt, each other one a message.
    pub fn body(&self) -> Value {
        let messages: Vec<Value> = self
            .blocks
            .iter()
            .enumerate()
            .map(|(place, block)| {
                let role = match place {
                    0 => "system",
                    place if place % 2 == 1 || place + 1 == self.blocks.len() => "user",
                    _ => "assistant",
                };
                json!({ "role": role, "content": text(*block) })
            })
            .collect();
        json!({ "messages": messages })
    }

    /// The id of its conversation.
    pub fn session(&self) -> String {
        format!("talk-{}", self.talk)
    }
}

/// A block's text: four characters a token, no two blocks alike.
fn text(block: u64) -> String {
    let mut rng = SmallRng::seed_from_u64(block);
    let words = (0..BLOCK / 4).map(|_| format!("{:016x}", rng.random::<u64>()));
    words.collect()
}

/// Sends turns at their times, each not before the one before it in its conversation was answered.
pub async fn play<F>(turns: &[Turn], ask: impl Fn(Turn) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let began = tokio::time::Instant::now();
    let mut before: HashMap<u64, tokio::sync::oneshot::Receiver<()>> = HashMap::new();
    let mut under_way = JoinSet::new();
    for turn in turns {
        tokio::time::sleep_until(began + turn.at).await;
        let (done, mine) = tokio::sync::oneshot::channel();
        let earlier = before.insert(turn.talk, mine);
        let asked = ask(turn.clone());
        under_way.spawn(async move {
            if let Some(earlier) = earlier {
                earlier.await.ok();
            }
            let answer = asked.await;
            done.send(()).ok();
            answer
        });
    }
    under_way.join_all().await
}

/// Share of the prompts' tokens that the providers had in their caches.
pub fn cached_share(answers: &[Answer]) -> f64 {
    let sum = |count: fn(&Answer) -> u64| answers.iter().map(count).sum::<u64>() as f64;
    sum(|answer| answer.cached) / sum(|answer| answer.prompt).max(1.0)
}
