//! Anything that a client may send, on its whole way to the provider.

use crate::client;
use crate::stage::Stage;
use serde_json::Value;
use std::collections::HashSet;
use tidemark_router::adapters::{Dialect, Target, adapter};
use tidemark_router::answer::error::Refusal;
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::entrance;

const ALL: [Dialect; 4] = [
    Dialect::OpenaiCompatible,
    Dialect::Openai,
    Dialect::Anthropic,
    Dialect::Gemini,
];
/// So many bytes of a request in an error are a quotation.
const LONG: usize = 24;

/// Sends the input: its first byte says where to, the rest is the body.
pub fn check(data: &[u8]) {
    let Some((to, body)) = data.split_first() else {
        return;
    };
    let operation = match to % 4 {
        0 | 3 => Operation::Chat,   // 'c'
        1 => Operation::Messages,   // 'm'
        _ => Operation::Embeddings, // 'n'
    };
    Stage::with(|stage| match entrance::ask(operation, body) {
        Err(refusal) => refused(operation, body, &refusal),
        Ok(ask) => asked(stage, body, &ask),
    });
}

fn asked(stage: &mut Stage, body: &[u8], ask: &Ask) {
    assert!(!ask.model.is_empty() && ask.session.chars().count() <= 256);
    assert!((ask.operation == Operation::Messages) == ask.messages_body.is_some());
    if let Some(meter) = stage.meter(ask) {
        stage.end(meter);
    }
    match stage.routes.model(&ask.model, stage.now) {
        Err(refusal) => refused(ask.operation, body, &refusal),
        Ok(named) => {
            // That no lane is left can be our fault, too.
            if let Err(refusal) = stage.plan(ask, named) {
                match refusal.status {
                    503 => explained(ask.operation, body, &refusal),
                    _ => refused(ask.operation, body, &refusal),
                }
            }
        }
    }
    for dialect in ALL {
        for model in ["m-1", "claude-opus-4-6", "claude-opus-4-1", "gemini-3-pro"] {
            build(dialect, model, body, ask);
        }
    }
}

/// The request to a provider: well-formed, to the model that was chosen, or refused.
fn build(dialect: Dialect, model: &str, body: &[u8], ask: &Ask) {
    let target = Target {
        model,
        max_output: 8192,
        key: "key",
    };
    let out = match adapter(dialect).request(ask, target) {
        Ok(out) => out,
        Err(unsupported) => {
            assert!(!unsupported.param.is_empty());
            let refusal = Refusal {
                param: Some(unsupported.param),
                ..Refusal::new(400, "unsupported", unsupported.message)
            };
            return refused(ask.operation, body, &refusal);
        }
    };
    client::is_object(&out.body);
    assert!(out.path.starts_with('/') && out.path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(out.headers.iter().any(|(_, value)| value.is_sensitive()));
    let sent: Value = serde_json::from_slice(&out.body).unwrap_or_default();
    if dialect == Dialect::Gemini {
        assert!(out.path.contains(model));
    } else {
        assert!(sent["model"] == model);
    }
    for ours in ["provider", "models", "session_id", "route", "plugins"] {
        assert!(sent.get(ours).is_none(), "{ours} was sent on");
    }
    if dialect != Dialect::Gemini && ask.operation != Operation::Embeddings {
        let stream = sent.get("stream").is_some_and(|stream| *stream == true);
        assert!(stream == ask.stream);
    }
}

/// A refusal that is the client's fault.
fn refused(operation: Operation, body: &[u8], refusal: &Refusal) {
    assert!((400..500).contains(&refusal.status));
    explained(operation, body, refusal);
}

/// A refusal says something, and repeats nothing long.
fn explained(operation: Operation, body: &[u8], refusal: &Refusal) {
    assert!(!refusal.code.is_empty() && !refusal.message.is_empty());
    client::is_object(&refusal.body(Some(operation), "id"));
    let mut said = windows(body);
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        gather(&value, &mut said);
    }
    // What follows are names of the catalog, as near to the client's as they can be.
    let message = refusal.message.split("did you mean").next();
    for told in [message, refusal.param.as_deref()] {
        let told = windows(told.unwrap_or_default().as_bytes());
        assert!(told.is_disjoint(&said), "repeated: {}", refusal.message);
    }
}

/// Hashes of all long pieces. Hashes, because comparing texts would teach the fuzzer to write our sentences into its requests.
fn windows(text: &[u8]) -> HashSet<u64> {
    text.windows(LONG)
        .map(|piece| crate::dice::Dice::of(piece).roll())
        .collect()
}

fn gather(value: &Value, said: &mut HashSet<u64>) {
    match value {
        Value::String(text) => said.extend(windows(text.as_bytes())),
        Value::Array(items) => items.iter().for_each(|item| gather(item, said)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            said.extend(windows(key.as_bytes()));
            gather(value, said);
        }),
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}
