//! Requests to be answered, and the books over them: the real catalog, the real meter, and the check that every event of a
//! meter has to pass before it is counted.

use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tidemark_catalog::Catalog;
use tidemark_event::validate::{self, Limits};
use tidemark_event::{UsageEvent, wire};
use tidemark_router::adapters::Dialect;
use tidemark_router::answer::Head;
use tidemark_router::answer::error::Refusal;
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::emit::Emitter;
use tidemark_router::entrance;
use tidemark_router::meter::Meter;
use tidemark_router::metrics::Metrics;
use tidemark_router::policy::Policy;
use tidemark_router::route::{Named, Plan, Question, Routes};
use tidemark_router::settings::{Settings, Upstream};
use tokio::sync::mpsc::Receiver;

/// A chat request with tools, streamed, with its usage wanted.
const CHAT: &str = r#"{"model":"openai/gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"What is the weather in Oslo?"}],
    "tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1}},"required":["city"],"additionalProperties":false}}},
    {"type":"function","function":{"name":"noop"}}]}"#;
/// A chat request without anything.
const PLAIN: &str = r#"{"model":"openai/gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#;
/// A messages request with tools, streamed.
const MESSAGES: &str = r#"{"model":"openai/gpt-4o","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"What is the weather in Oslo?"}],
    "tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}},{"name":"noop","input_schema":{"type":"object"}}]}"#;
/// An embeddings request.
const EMBEDDINGS: &str = r#"{"model":"openai/text-embedding-3-small","input":["a","b"]}"#;

/// See the module.
pub struct Stage {
    /// Everything of the catalog, reachable.
    pub routes: Routes,
    /// When it all happens.
    pub now: DateTime<Utc>,
    /// The requests that get answers: a chat with tools, one without anything, messages, embeddings.
    pub asks: Vec<Ask>,
    policy: Policy,
    emitter: Emitter,
    events: Receiver<Box<UsageEvent>>,
    metrics: Arc<Metrics>,
    stopping: Arc<AtomicBool>,
    writer: wire::Writer,
    reader: wire::Reader,
}

impl Stage {
    /// A stage, or nothing where the catalog or the schema cannot be read, which the targets then say.
    pub fn new() -> Option<Self> {
        let catalog = Arc::new(Catalog::builtin().ok()?);
        let upstream = |provider: &tidemark_catalog::Provider| Upstream {
            provider: provider.slug.clone(),
            dialect: Dialect::OpenaiCompatible,
            base_url: "http://127.0.0.1:9".to_owned(),
            region: None,
            data: None,
            key_env: None,
            simulated: true,
        };
        let settings = Settings {
            upstreams: catalog.providers().iter().map(upstream).collect(),
            ..Settings::default()
        };
        let asks: Result<Vec<Ask>, _> = [
            (Operation::Chat, CHAT),
            (Operation::Chat, PLAIN),
            (Operation::Messages, MESSAGES),
            (Operation::Embeddings, EMBEDDINGS),
        ]
        .into_iter()
        .map(|(operation, body)| entrance::ask(operation, body.as_bytes()))
        .collect();
        let (emitter, events) = Emitter::piped();
        Some(Self {
            routes: Routes::new(catalog, &settings).ok()?,
            now: Utc::now(),
            asks: asks.ok()?,
            policy: Policy::default(),
            emitter,
            events,
            metrics: Arc::default(),
            stopping: Arc::default(),
            writer: wire::Writer::new().ok()?,
            reader: wire::Reader::new(&[]).ok()?,
        })
    }

    /// Does something on the one stage there is.
    pub fn with(act: impl FnOnce(&mut Self)) {
        thread_local! {
            static STAGE: std::cell::RefCell<Option<Stage>> = std::cell::RefCell::new(Stage::new());
        }
        STAGE.with_borrow_mut(|stage| {
            assert!(stage.is_some(), "no catalog or no schema");
            stage.as_mut().map(act)
        });
    }

    /// The meter of a request, without an attempt.
    pub fn meter(&self, ask: &Ask) -> Option<Meter> {
        let place = self.emitter.admit();
        assert!(place.is_some(), "a place was not given back");
        let stopping = Arc::clone(&self.stopping);
        let mut meter = Meter::start(place?, stopping, "fuzz", Arc::clone(&self.metrics));
        meter.operation(ask.operation.as_str());
        meter.asked(ask, String::new());
        Some(meter)
    }

    /// The lanes for a request, of an account that may use all.
    ///
    /// # Errors
    /// As [`Routes::plan`].
    pub fn plan<'a>(&'a self, ask: &'a Ask, named: Named<'a>) -> Result<Plan<'a>, Refusal> {
        self.routes.plan(&Question {
            ask,
            named,
            policy: &self.policy,
            account: "",
            at: self.now,
            now: Instant::now(),
            seed: 1,
            attempts: 4,
        })
    }

    /// The meter of a request that has been sent to a provider, and how its answer is headed.
    pub fn sent(&self, ask: &Ask) -> Option<(Meter, Head)> {
        let mut meter = self.meter(ask)?;
        let named = self.routes.model(&ask.model, self.now).ok()?;
        meter.model(&named.model.id, named.variant);
        let plan = self.plan(ask, named).ok()?;
        // The dearest: prices are where numbers grow.
        let candidate = plan
            .lanes()
            .iter()
            .map(|lane| &lane.candidate)
            .max_by_key(|candidate| (candidate.price.completion, candidate.price.prompt))?;
        meter.attempt(candidate);
        let head = Head {
            id: meter.id().to_owned(),
            model: candidate.model.id.clone(),
            provider: candidate.endpoint.provider.clone(),
            created: self.now.timestamp(),
        };
        Some((meter, head))
    }

    /// Ends a request: its one event is there, and would be counted.
    pub fn end(&mut self, meter: Meter) {
        drop(meter);
        let event = self.events.try_recv();
        assert!(
            event.is_ok() && self.events.is_empty(),
            "one event, no more"
        );
        let Ok(event) = event else { return };
        let message = self.writer.write(&event);
        let decoded = self.reader.read(&[message]);
        assert!(decoded.is_ok(), "an event that cannot be read");
        let Ok(decoded) = decoded else { return };
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        let limits = Limits {
            arrived: &[event.ts.0],
            retention_us: None,
        };
        let objections = validate::check(&decoded.batch, limits);
        assert!(objections == [None], "{objections:?}: {event:?}");
    }
}
