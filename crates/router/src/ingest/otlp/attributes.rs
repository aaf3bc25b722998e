//! Which attributes of a span count, under all their names.
//!
//! The conventions for generative AI have renamed much and are still in development, so each fact is read under its present
//! and its older names; where a span has several, the newest counts. LiteLLM's and OpenLLMetry's own names are at the end.
//! Attributes with content (`gen_ai.input.messages`, `gen_ai.prompt.0.content`, ...) are not in the list, and what is not in
//! the list is never looked at. `docs/ingest.md` has the same list for people.

use std::borrow::Cow;

/// A value, as far as facts have such.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
    Whole(i64),
    Fraction(f64),
}

/// What can be learned from a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Operation,
    Provider,
    ModelAsked,
    Model,
    ResponseId,
    Prompt,
    Completion,
    Cached,
    CacheWrite,
    Reasoning,
    FirstChunk,
    Streamed,
    Finish,
    Conversation,
    ErrorType,
    Status,
    Cost,
    CostPrompt,
    CostCompletion,
    EventId,
    Account,
    Simulated,
    Service,
}

const FACTS: usize = Fact::Service as usize + 1;

/// A fact and how old the name is under which it was found.
pub(super) type Slot = (Fact, u8);

/// What a span, or a resource, says.
#[derive(Debug, Default)]
pub(super) struct Facts<'a>([Option<(u8, Value<'a>)>; FACTS]);

impl<'a> Facts<'a> {
    /// The fact that an attribute states; none for most.
    pub(super) fn slot(key: &str) -> Option<Slot> {
        use Fact::*;
        Some(match key {
            "gen_ai.operation.name" => (Operation, 0),
            "gen_ai.provider.name" => (Provider, 0),
            "gen_ai.system" => (Provider, 1),
            "gen_ai.request.model" => (ModelAsked, 0),
            "gen_ai.response.model" => (Model, 0),
            "gen_ai.response.id" => (ResponseId, 0),
            "gen_ai.usage.input_tokens" => (Prompt, 0),
            "gen_ai.usage.prompt_tokens" => (Prompt, 1),
            "gen_ai.usage.output_tokens" => (Completion, 0),
            "gen_ai.usage.completion_tokens" => (Completion, 1),
            "gen_ai.usage.cache_read.input_tokens" => (Cached, 0),
            "gen_ai.usage.cache_write.input_tokens" => (CacheWrite, 0),
            "gen_ai.usage.cache_creation.input_tokens" => (CacheWrite, 1),
            "gen_ai.usage.reasoning.output_tokens" => (Reasoning, 0),
            "gen_ai.response.time_to_first_chunk" => (FirstChunk, 0),
            "gen_ai.request.stream" => (Streamed, 0),
            "gen_ai.response.finish_reasons" => (Finish, 0),
            "gen_ai.conversation.id" => (Conversation, 0),
            "session.id" => (Conversation, 1),
            "error.type" => (ErrorType, 0),
            "http.response.status_code" => (Status, 0),
            "http.status_code" => (Status, 1),
            "service.name" => (Service, 0),
            "tidemark.event_id" => (EventId, 0),
            "tidemark.account_id" => (Account, 0),
            "tidemark.simulated" => (Simulated, 0),
            // LiteLLM; who pays is the team, or else the key.
            "metadata.user_api_key_team_id" => (Account, 8),
            "metadata.user_api_key_hash" => (Account, 9),
            "gen_ai.cost.total_cost" => (Cost, 0),
            "gen_ai.usage.cost" => (Cost, 1),
            "gen_ai.cost.input_cost" => (CostPrompt, 0),
            "gen_ai.cost.output_cost" => (CostCompletion, 0),
            // OpenLLMetry, and LiteLLM after it
            "llm.request.type" => (Operation, 9),
            "llm.is_streaming" => (Streamed, 9),
            "gen_ai.usage.cache_read_input_tokens" => (Cached, 9),
            "gen_ai.usage.cache_creation_input_tokens" => (CacheWrite, 9),
            "gen_ai.usage.reasoning_tokens" | "llm.usage.reasoning_tokens" => (Reasoning, 9),
            "gen_ai.response.finish_reason" => (Finish, 9),
            _ => return None,
        })
    }

    /// Keeps a value unless the fact is known under a newer name. An empty text says nothing.
    pub(super) fn note(&mut self, (fact, age): Slot, value: Value<'a>) {
        if matches!(&value, Value::Text(text) if text.is_empty()) {
            return;
        }
        let place = &mut self.0[fact as usize];
        if place.as_ref().is_none_or(|(known, _)| age <= *known) {
            *place = Some((age, value));
        }
    }

    fn get(&self, fact: Fact) -> Option<&Value<'a>> {
        self.0[fact as usize].as_ref().map(|(_, value)| value)
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, fact: Fact) -> &str {
        match self.get(fact) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A whole number that must be one if it is there at all.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn count(&self, fact: Fact) -> Result<Option<i64>, ()> {
        match self.get(fact) {
            None => Ok(None),
            Some(Value::Whole(count)) => Ok(Some(*count)),
            Some(Value::Fraction(count)) if count.fract() == 0.0 && count.abs() < 1e15 => {
                Ok(Some(*count as i64))
            }
            Some(_) => Err(()),
        }
    }

    /// A number of something with a fraction, in parts of it: seconds in microseconds, dollars in nano-dollars.
    pub(super) fn parts(&self, fact: Fact, parts_per_one: f64) -> Option<i64> {
        let value = match self.get(fact)? {
            Value::Whole(value) => *value as f64,
            Value::Fraction(value) => *value,
            _ => return None,
        };
        // Saturates, and the judge of events knows what is absurd.
        value
            .is_finite()
            .then(|| (value * parts_per_one).round() as i64)
    }

    /// A flag; LiteLLM writes it as a text.
    pub(super) fn flag(&self, fact: Fact) -> bool {
        match self.get(fact) {
            Some(Value::Flag(flag)) => *flag,
            Some(Value::Text(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }
}
