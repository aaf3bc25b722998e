//! An answer before it is put into a dialect.

use super::ask::{Ask, Choice, Format, Tool};
use super::behave::Plan;
use super::directive::Act;
use super::instance;
use super::words::{Voice, id};
use serde::Serialize;
use serde_json::json;

/// At most so many tools are called at once.
const MOST_CALLS: usize = 3;

/// A tool call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) salt: u64,
    pub(super) name: String,
    /// JSON text, or what was to be some.
    pub(super) arguments: String,
}

impl Call {
    fn tokens(&self) -> u64 {
        tokens_of(&self.name) + tokens_of(&self.arguments)
    }
}

/// What the answer says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// So many words.
    Words(u32),
    Text(String),
    /// In the field that an API has for refusals.
    Refusal(&'static str),
    Calls(Vec<Call>),
    /// A tool call that the provider itself could not read.
    Malformed,
}

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    Calls,
    Filter,
    Refusal,
    Malformed,
}

/// What a provider bills. Cached tokens and those written to a cache are part of `prompt`, thinking of `completion`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// All input.
    pub prompt: u64,
    /// Input read from the cache.
    pub cached: u64,
    /// Input written to the cache.
    pub cache_write: u64,
    /// All output.
    pub completion: u64,
    /// Output spent thinking.
    pub reasoning: u64,
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) model: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) salt: u64,
    pub(super) voice: Voice,
    pub(super) said: Said,
    pub(super) finish: Finish,
    pub(super) usage: Tokens,
    /// Whether thinking is shown where the dialect can.
    pub(super) show_thinking: bool,
    /// Whether token counts are told.
    pub(super) tell_usage: bool,
    pub(super) tokens_per_chunk: u32,
}

pub(super) fn tokens_of(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

impl Answer {
    /// The answer to a request under a plan. `api_refusals`: the dialect has words for a refusal. `tool_errors`: the
    /// dialect parses arguments itself, so that broken ones end the answer.
    pub(super) fn new(
        ask: &Ask,
        plan: &Plan,
        created: i64,
        (cached, cache_write): (u64, u64),
        (api_refusals, tool_errors): (bool, bool),
    ) -> Self {
        let voice = Voice::new(plan.salt);
        let limit = ask.max_tokens.unwrap_or(u32::MAX).max(1);
        let reasoning = match ask.thinking {
            Some(false) => 0,
            _ => plan.reasoning.min(limit / 2),
        };
        let room = (limit - reasoning).max(1);
        let (said, finish) = match plan.act {
            Act::Refuse if api_refusals => (Said::Refusal(voice.refusal()), Finish::Refusal),
            Act::Refuse | Act::RefuseText => (Said::Text(voice.refusal().to_owned()), Finish::Stop),
            // The filter steps in after a few words.
            Act::Filter => (Said::Words(plan.tokens.min(room).min(6)), Finish::Filter),
            Act::BadJson if tool_errors && ask.may_call() => (Said::Malformed, Finish::Malformed),
            act if calls_tools(ask, plan) => (Said::Calls(calls(ask, plan, act)), Finish::Calls),
            act => text(ask, plan, act, voice, room),
        };
        let spoken = match &said {
            Said::Words(count) => u64::from(*count),
            Said::Text(text) => tokens_of(text),
            Said::Refusal(text) => tokens_of(text),
            Said::Calls(calls) => calls.iter().map(Call::tokens).sum(),
            Said::Malformed => 0,
        };
        Self {
            model: ask.model.clone(),
            created,
            salt: plan.salt,
            voice,
            said,
            finish,
            usage: Tokens {
                prompt: ask.prompt_tokens(),
                cached,
                cache_write,
                completion: spoken + u64::from(reasoning),
                reasoning: u64::from(reasoning),
            },
            show_thinking: ask.show_thinking,
            tell_usage: plan.usage,
            tokens_per_chunk: plan.tokens_per_chunk.max(1),
        }
    }

    /// An id in the way of a dialect.
    pub(super) fn id(&self, prefix: &str, length: usize) -> String {
        id(prefix, self.salt, length)
    }

    /// Hands over the text piece by piece, with the tokens of each.
    pub(super) fn pieces(&self, mut take: impl FnMut(&str, u32)) {
        match &self.said {
            Said::Words(count) => self.grouped(*count, |index| self.voice.word(index), &mut take),
            Said::Text(text) => split(text, self.tokens_per_chunk, take),
            Said::Refusal(text) => split(text, self.tokens_per_chunk, take),
            Said::Calls(_) | Said::Malformed => {}
        }
    }

    /// The same for the thinking.
    pub(super) fn thoughts(&self, mut take: impl FnMut(&str, u32)) {
        let count = u32::try_from(self.usage.reasoning).unwrap_or(u32::MAX);
        self.grouped(count, |index| self.voice.thought(index), &mut take);
    }

    fn grouped(
        &self,
        count: u32,
        word: impl Fn(usize) -> &'static str,
        take: &mut impl FnMut(&str, u32),
    ) {
        let mut piece = String::new();
        let mut index = 0;
        while index < count {
            let tokens = self.tokens_per_chunk.min(count - index);
            piece.clear();
            for at in index..index + tokens {
                piece.push_str(word(at as usize));
            }
            take(&piece, tokens);
            index += tokens;
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.pieces(|piece, _| out.push_str(piece));
        out
    }

    /// All thinking.
    pub(super) fn thinking(&self) -> String {
        let mut out = String::new();
        self.thoughts(|piece, _| out.push_str(piece));
        out
    }
}

/// Cuts a text into pieces of so many tokens, at character boundaries.
pub(super) fn split(text: &str, tokens_per_chunk: u32, mut take: impl FnMut(&str, u32)) {
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest
            .char_indices()
            .nth(4 * tokens_per_chunk.max(1) as usize)
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        take(piece, u32::try_from(tokens_of(piece)).unwrap_or(u32::MAX));
        rest = after;
    }
}

fn calls_tools(ask: &Ask, plan: &Plan) -> bool {
    match plan.act {
        Act::IgnoreTools | Act::Length => false,
        _ if !ask.may_call() => false,
        Act::BadJson | Act::UnknownTool | Act::SchemaMismatch => true,
        _ => ask.must_call() || (plan.calls && !ask.after_tool),
    }
}

fn calls(ask: &Ask, plan: &Plan, act: Act) -> Vec<Call> {
    let count = ask.tools.len();
    let picked: Vec<&Tool> = match &ask.choice {
        Choice::Named(name) => ask
            .tools
            .iter()
            .filter(|tool| tool.name == *name)
            .take(1)
            .collect(),
        _ if ask.parallel && plan.parallel => ask.tools.iter().take(MOST_CALLS).collect(),
        _ => ask
            .tools
            .iter()
            .skip(plan.salt as usize % count.max(1))
            .take(1)
            .collect(),
    };
    picked
        .into_iter()
        .enumerate()
        .map(|(index, tool)| {
            // Only the first call of an answer goes wrong: the others show that calls are judged one by one.
            let act = if index == 0 { act } else { Act::Ok };
            let good = || instance::valid(&tool.schema).to_string();
            let (name, arguments) = match act {
                Act::BadJson => (
                    tool.name.clone(),
                    format!("{}, \"unfinished\": \"", good().trim_end_matches('}')),
                ),
                Act::UnknownTool => (format!("{}_v2", tool.name), good()),
                Act::SchemaMismatch => (
                    tool.name.clone(),
                    instance::invalid(&tool.schema).to_string(),
                ),
                _ => (tool.name.clone(), good()),
            };
            Call {
                salt: plan.salt.wrapping_add(index as u64 + 1),
                name,
                arguments,
            }
        })
        .collect()
}

fn text(ask: &Ask, plan: &Plan, act: Act, voice: Voice, room: u32) -> (Said, Finish) {
    let structured = match &ask.format {
        Format::Text => None,
        Format::Json => Some(json!({ "answer": voice.word(0) }).to_string()),
        Format::Schema(schema) => Some(instance::valid(schema).to_string()),
    };
    match structured {
        Some(text) if act == Act::Length => {
            let half = text.char_indices().nth(text.chars().count() / 2);
            let cut = half.map_or(0, |(at, _)| at);
            (Said::Text(text[..cut].to_owned()), Finish::Length)
        }
        Some(text) => (Said::Text(text), Finish::Stop),
        None if act == Act::Length || plan.tokens > room => {
            (Said::Words(plan.tokens.min(room)), Finish::Length)
        }
        None => (Said::Words(plan.tokens), Finish::Stop),
    }
}
