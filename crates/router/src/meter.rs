//! One request's account. Whatever becomes of the request, dropping its meter writes its event.

use crate::answer::Bill;
use crate::ask::Ask;
use crate::emit::Place;
use crate::judge::refusal::RefusalJudge;
use crate::judge::tools::{ToolChoice, ToolJudge};
use crate::keys::Account;
use crate::keys::admission::{Admission, Reading};
use crate::metrics::Metrics;
use crate::piece::{ErrorKind, FinishReason, Piece, UpstreamError, Usage};
use crate::route::Candidate;
use crate::route::health::{Answered, Health};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemark_catalog::{Cost, Price, Tokens};
use tidemark_event::{EventId, FailedAttempt, Micros, UsageEvent};

/// How often a reading that goes on without its client looks whether the router stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Characters of a text from outside that an event keeps, at most.
const TEXT_LIMIT: usize = 200;
/// What the rollup takes for absurd: never written, whatever a provider says.
const MAX_TOKENS: u64 = 100_000_000;
const MAX_ATTEMPTS: usize = 64;
/// Characters of a token, roughly, where a provider counts none.
const CHARS_PER_TOKEN: u64 = 4;

/// The account of one request.
pub struct Meter {
    event: Box<UsageEvent>,
    place: Option<Place>,
    admission: Option<Admission>,
    stopping: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    arrived: Instant,
    /// Time spent in upstreams, but for the one at work.
    upstream: Duration,
    sent: Option<Instant>,
    /// The lane at work, which hears how its attempt ends, and when that began.
    lane: Option<(Arc<Health>, Instant)>,
    first_delta: Option<Instant>,
    last_byte: Option<Instant>,
    /// The attempt that failed last: nested if another one begins, the request's own failure if not.
    failed: Option<FailedAttempt>,
    price: Option<Price>,
    usage: Option<Usage>,
    prompt_estimate: u64,
    /// Text and arguments relayed, bytes, and in how many parts: a part is a token at least.
    relayed: u64,
    parts: u64,
    refusal: RefusalJudge,
    tools: Option<ToolJudge>,
    declined: bool,
    settled: bool,
}

impl Meter {
    /// Starts the account of a request that has just arrived.
    pub fn start(
        place: Place,
        stopping: Arc<AtomicBool>,
        router_id: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.began();
        let ts = Micros::now();
        let event_id = EventId::fresh(ts);
        Self {
            event: Box::new(UsageEvent {
                event_id,
                ts,
                request_id: format!("gen-{event_id}"),
                outcome: "cancelled".to_owned(),
                status: 0,
                router_id: router_id.to_owned(),
                router_version: env!("CARGO_PKG_VERSION").to_owned(),
                ..UsageEvent::default()
            }),
            place: Some(place),
            admission: None,
            stopping,
            metrics,
            arrived: Instant::now(),
            upstream: Duration::ZERO,
            sent: None,
            lane: None,
            first_delta: None,
            last_byte: None,
            failed: None,
            price: None,
            usage: None,
            prompt_estimate: 0,
            relayed: 0,
            parts: 0,
            refusal: RefusalJudge::default(),
            tools: None,
            declined: false,
            settled: false,
        }
    }

    /// The request's id, as the client sees it.
    pub fn id(&self) -> &str {
        &self.event.request_id
    }

    /// Random bits of the request's own, for what is left to chance.
    pub fn seed(&self) -> u64 {
        let random = self.event.event_id.0[8..].iter();
        random.fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    /// How its lanes were chosen, in a line.
    pub fn routed(&mut self, route: String) {
        self.event.route = route;
    }

    /// When the request arrived.
    pub fn time(&self) -> Micros {
        self.event.ts
    }

    /// Whose request it is.
    pub fn account(&mut self, account: &str, app: String) {
        account.clone_into(&mut self.event.account_id);
        self.event.app = app;
    }

    /// Lets the request in, as far as the limits of its key and account go.
    ///
    /// # Errors
    /// The limit of which nothing is left.
    pub fn admit(&mut self, account: &Account) -> Result<(), Reading> {
        if let Some(standing) = &account.standing {
            self.admission = Some(standing.admit()?);
        }
        Ok(())
    }

    /// Sets aside, of what limits leave, what the request will likely use at a price.
    ///
    /// # Errors
    /// The limit of which nothing is left.
    pub fn expect(&mut self, ask: &Ask, price: &Price) -> Result<(), Reading> {
        let Some(admission) = &mut self.admission else {
            return Ok(());
        };
        let likely = Tokens {
            prompt: self.prompt_estimate,
            completion: ask.likely_answer(),
            ..Tokens::default()
        };
        let cost = price.cost(&likely).total();
        admission.expect(
            likely.prompt + likely.completion,
            u64::try_from(cost).unwrap_or(0),
        )
    }

    /// Which API it came in by.
    pub fn operation(&mut self, operation: &str) {
        operation.clone_into(&mut self.event.operation);
    }

    /// What is asked.
    pub fn asked(&mut self, ask: &Ask, session: String) {
        self.event.streamed = ask.stream;
        self.event.session_id = session;
        self.event.tools_offered = i32::try_from(ask.offered.count()).unwrap_or(i32::MAX);
        self.event.tool_choice = match ask.offered.choice() {
            ToolChoice::None => "none",
            ToolChoice::Auto => "auto",
            ToolChoice::Required => "required",
            ToolChoice::Named(_) => "named",
        }
        .to_owned();
        self.tools = (ask.offered.count() > 0).then(|| ask.offered.judge());
        self.prompt_estimate = estimate(ask);
    }

    /// The model's name as the client wrote it. Only of one that the catalog knows: any other text may be a slip of the hand
    /// with a key or a prompt in it.
    pub fn requested(&mut self, name: &str) {
        name.clone_into(&mut self.event.model_requested);
    }

    /// Which model that is.
    pub fn model(&mut self, id: &str, variant: &str) {
        id.clone_into(&mut self.event.model);
        variant.clone_into(&mut self.event.variant);
    }

    /// An attempt begins: the request goes out now. If one failed before, it was not the last and is nested.
    pub fn attempt(&mut self, candidate: &Candidate<'_>) {
        if let Some(failed) = self.failed.take() {
            self.event.failed_attempts.push(failed);
        }
        let event = &mut self.event;
        candidate.endpoint.provider.clone_into(&mut event.provider);
        candidate.endpoint.id.clone_into(&mut event.endpoint);
        candidate.model.id.clone_into(&mut event.model);
        candidate.lane.region.clone_into(&mut event.region);
        event.quantization = format!("{:?}", candidate.endpoint.quantization).to_lowercase();
        event.simulated = candidate.lane.reach.simulated;
        self.price = Some(candidate.price.clone());
        let now = Instant::now();
        candidate.lane.health.begin(now);
        self.lane = Some((Arc::clone(&candidate.lane.health), now));
        self.sent = Some(now);
    }

    /// The attempt failed. Whether another follows is not known yet.
    pub fn attempt_failed(&mut self, error: &UpstreamError) {
        self.lane_failed(error);
        let took = self.upstream_done();
        let event = &self.event;
        self.failed = (event.failed_attempts.len() < MAX_ATTEMPTS).then(|| FailedAttempt {
            provider: event.provider.clone(),
            endpoint: event.endpoint.clone(),
            region: event.region.clone(),
            model: event.model.clone(),
            status: i32::from(error.status),
            error_type: error.kind.as_str().to_owned(),
            latency_us: took.as_micros() as i64,
            cost_nanousd: 0,
        });
    }

    /// Bytes came from the upstream.
    pub fn heard(&mut self) {
        self.last_byte = Some(Instant::now());
    }

    /// Takes in one piece of the answer.
    pub fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Text(text) => {
                self.delta(text.len());
                self.refusal.text(text);
            }
            Piece::Reasoning { text, .. } => {
                self.relayed += text.len() as u64;
                self.parts += 1;
            }
            Piece::Declined(text) => {
                self.delta(text.len());
                self.declined = true;
            }
            Piece::ToolCall {
                index,
                name,
                arguments,
                ..
            } => {
                self.delta(arguments.len() + name.as_ref().map_or(0, String::len));
                if let Some(tools) = &mut self.tools {
                    tools.part(*index, name.as_deref(), arguments);
                } else if name.is_some() {
                    // Called without an offer.
                    self.event.tools_called += 1;
                    self.event.tool_unknown_name += 1;
                }
            }
            Piece::Finish { reason, native } => {
                reason.as_str().clone_into(&mut self.event.finish_reason);
                self.event.native_finish_reason = plain_name(native);
                self.event.truncated = *reason == FinishReason::Length;
            }
            Piece::Usage(usage) => self.usage = Some(*usage),
            Piece::Start { .. } | Piece::Failed(_) => {}
        }
    }

    fn delta(&mut self, bytes: usize) {
        if self.first_delta.is_none() {
            self.first_delta = Some(Instant::now());
        }
        self.relayed += bytes as u64;
        self.parts += u64::from(bytes > 0);
    }

    /// Counts and cost as known now: the provider's own where it has stated them.
    pub fn bill(&self) -> Bill {
        let usage = self.usage.map_or_else(|| self.estimate(), sane);
        Bill {
            usage,
            cost_nanousd: self
                .price
                .as_ref()
                .map_or(0, |price| price.cost(&tokens(&usage)).total()),
        }
    }

    /// What went through, where no provider counts it: a part is a token at least.
    fn estimate(&self) -> Usage {
        Usage {
            prompt: self.prompt_estimate,
            completion: self.relayed.div_ceil(CHARS_PER_TOKEN).max(self.parts),
            ..Usage::default()
        }
    }

    /// The counts of the event. An answer that broke may have stated its prompt only: what went through is counted at least.
    fn counts(&self) -> Usage {
        let stated = self.bill().usage;
        if self.event.outcome == "ok" {
            return stated;
        }
        Usage {
            completion: stated
                .completion
                .max(self.estimate().completion)
                .min(MAX_TOKENS),
            ..stated
        }
    }

    /// The answer is complete.
    pub fn done(&mut self) {
        let failed = self.event.finish_reason == FinishReason::Error.as_str();
        self.settle(
            if failed { "error" } else { "ok" },
            200,
            if failed { "upstream_error" } else { "" },
        );
    }

    fn lane_failed(&mut self, error: &UpstreamError) {
        if let Some((lane, began)) = self.lane.take() {
            lane.failed(began, Instant::now(), error);
        }
    }

    /// Tells the lane how the answer ended and how fast it was.
    fn lane_answered(&mut self) {
        let Some((lane, began)) = self.lane.take() else {
            return;
        };
        let event = &self.event;
        let answered = Answered {
            whole: event.outcome == "ok",
            ttft_us: event.ttft_us,
            generation_us: event.generation_us,
            completion_tokens: event.completion_tokens,
        };
        if event.cancelled || event.error_type == "shutdown" {
            lane.left(Instant::now(), &answered);
        } else {
            lane.answered(began, Instant::now(), &answered);
        }
    }

    /// The last attempt failed; `status` is what the client got.
    pub fn broke(&mut self, error: &UpstreamError, status: u16) {
        self.lane_failed(error);
        self.event.context_overflow = error.kind == ErrorKind::ContextOverflow;
        if error.kind == ErrorKind::Filtered {
            "content_filter".clone_into(&mut self.event.finish_reason);
        } else if self.first_delta.is_some() {
            FinishReason::Error
                .as_str()
                .clone_into(&mut self.event.finish_reason);
        }
        self.settle("error", status, error.kind.as_str());
    }

    /// Whether the process is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends soon after the router has begun to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopping = Arc::clone(&self.stopping);
        async move {
            while !stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Refused at the door.
    pub fn rejected(&mut self, status: u16, code: &str) {
        self.settle("rejected", status, code);
    }

    /// The client left; what follows from here on is only read for the count.
    pub fn client_gone(&mut self) {
        self.settle("cancelled", 499, "client_gone");
        self.event.cancelled = true;
    }

    fn settle(&mut self, outcome: &str, status: u16, error: &str) {
        if self.settled {
            return;
        }
        self.settled = true;
        outcome.clone_into(&mut self.event.outcome);
        self.event.status = i32::from(status);
        error.clone_into(&mut self.event.error_type);
        self.event.latency_us = self.arrived.elapsed().as_micros() as i64;
    }

    fn upstream_done(&mut self) -> Duration {
        let Some(sent) = self.sent.take() else {
            return Duration::ZERO;
        };
        let took = self
            .last_byte
            .take()
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(sent);
        self.upstream += took;
        if let Some(first) = self.first_delta {
            self.event.ttft_us = Some(first.saturating_duration_since(sent).as_micros() as i64);
            if self.event.streamed {
                self.event.generation_us =
                    Some((sent + took).saturating_duration_since(first).as_micros() as i64);
            }
        }
        took
    }

    fn close(&mut self) {
        if !self.settled {
            if self.stopping.load(Ordering::Relaxed) {
                self.settle("error", 503, "shutdown");
            } else {
                self.client_gone();
            }
        }
        self.upstream_done();
        let usage = self.counts();
        let estimated = self.usage.is_none();
        let event = &mut self.event;
        event.overhead_us = event
            .latency_us
            .saturating_sub(self.upstream.as_micros() as i64)
            .max(0);
        // Nothing is billed for what no provider answered.
        let answered = self.price.is_some()
            && event.outcome != "rejected"
            && (self.usage.is_some() || self.parts > 0 || event.outcome == "ok");
        if answered {
            let clamp = |n: u64| n.min(MAX_TOKENS) as i64;
            event.prompt_tokens = clamp(usage.prompt);
            event.cached_tokens = clamp(usage.cached);
            event.cache_write_tokens = clamp(usage.cache_write);
            event.completion_tokens = clamp(usage.completion);
            event.reasoning_tokens = clamp(usage.reasoning);
            event.image_prompt_tokens = clamp(usage.image_prompt);
            event.audio_prompt_tokens = clamp(usage.audio_prompt);
            event.video_prompt_tokens = clamp(usage.video_prompt);
            event.image_completion_tokens = clamp(usage.image_completion);
            event.audio_completion_tokens = clamp(usage.audio_completion);
            if let Some(price) = &self.price {
                charge(event, &price.cost(&tokens(&usage)));
            }
            if let Some(admission) = &mut self.admission {
                let known = |n: i64| u64::try_from(n).unwrap_or(0);
                admission.settle(
                    known(event.prompt_tokens + event.completion_tokens),
                    known(event.cost_nanousd),
                );
            }
        }
        if estimated {
            "estimated".clone_into(&mut event.usage_source);
        }
        if let Some(tools) = self.tools.take() {
            let counts = tools.finish();
            let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
            event.tools_called = count(counts.called);
            event.tool_invalid_json = count(counts.invalid_json);
            event.tool_unknown_name = count(counts.unknown_name);
            event.tool_schema_mismatch = count(counts.schema_mismatch);
        }
        event.refusal = if event.finish_reason == "content_filter" {
            "filtered"
        } else if self.declined {
            "declined"
        } else if event.outcome == "ok" && event.tools_called == 0 && self.refusal.declined() {
            "declined_text"
        } else {
            "none"
        }
        .to_owned();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.close();
        self.lane_answered();
        self.metrics.ended(&self.event);
        if let Some(place) = self.place.take() {
            place.emit(std::mem::take(&mut self.event));
        }
    }
}

/// Writes a cost into an event, with its parts.
pub(crate) fn charge(event: &mut UsageEvent, cost: &Cost) {
    event.cost_prompt_nanousd = cost.prompt;
    event.cost_cached_nanousd = cost.cached;
    event.cost_cache_write_nanousd = cost.cache_write;
    event.cost_completion_nanousd = cost.completion;
    event.cost_request_nanousd = cost.request;
    event.cost_nanousd = cost.total();
}

/// Parts never exceed their whole, whatever a provider says.
fn sane(usage: Usage) -> Usage {
    let prompt = usage.prompt.min(MAX_TOKENS);
    let completion = usage.completion.min(MAX_TOKENS);
    let cached = usage.cached.min(prompt);
    let image_prompt = usage.image_prompt.min(prompt);
    let audio_prompt = usage.audio_prompt.min(prompt - image_prompt);
    Usage {
        prompt,
        cached,
        cache_write: usage.cache_write.min(prompt - cached),
        completion,
        reasoning: usage.reasoning.min(completion),
        image_prompt,
        audio_prompt,
        video_prompt: usage.video_prompt.min(prompt - image_prompt - audio_prompt),
        image_completion: usage.image_completion.min(completion),
        audio_completion: usage.audio_completion.min(completion),
    }
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        prompt: usage.prompt,
        cached: usage.cached,
        cache_write: usage.cache_write,
        completion: usage.completion,
    }
}

/// A name as events carry it: what does not look like one is left out, it might be anything.
fn plain_name(name: &str) -> String {
    let fine = name.len() <= TEXT_LIMIT
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:/@".contains(c));
    if fine { name.to_owned() } else { String::new() }
}

/// Prompt tokens, from the length of the texts alone.
fn estimate(ask: &Ask) -> u64 {
    use serde_json::Value;
    fn texts(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(parts) => parts
                .iter()
                .map(|part| part.get("text").and_then(Value::as_str).map_or(0, str::len))
                .sum(),
            _ => 0,
        }
    }
    let messages = ask.body.get("messages").and_then(Value::as_array);
    let bytes: usize = match messages {
        Some(messages) => messages
            .iter()
            .filter_map(|message| message.get("content"))
            .map(texts)
            .sum(),
        None => match ask.body.get("input") {
            Some(Value::Array(inputs)) => inputs.iter().map(texts).sum(),
            Some(input) => texts(input),
            None => 0,
        },
    };
    (bytes as u64).div_ceil(CHARS_PER_TOKEN)
}
