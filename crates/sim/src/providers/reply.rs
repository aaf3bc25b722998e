//! From a request to what is sent back.

use super::answer::{Answer, Tokens};
use super::ask::{Ask, Choice};
use super::behave::{Pace, Plan, Scene, plan};
use super::behaviour::Behaviour;
use super::body::{Bill, End, Paced, Reply};
use super::dialect::{Tongue, tongue};
use super::directive::{Act, Cut, Directive};
use super::fault::{Fault, Kind};
use super::frames::Frames;
use super::ledger::{Ending, Entry};
use super::script::{Dialect, Model};
use super::server::{Desk, House, error, whole};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use std::borrow::Cow;
use std::time::Duration;
use xxhash_rust::xxh64::xxh64;

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n\
    <body><center><h1>502 Bad Gateway</h1></center><hr><center>gateway</center></body></html>\n";

/// A refused request: the model, as far as it is known, and why.
pub(super) type Refused = (String, Fault);

/// One request at one provider.
pub(super) struct Call<'a> {
    pub(super) house: &'a House,
    pub(super) desk: &'a Desk,
    pub(super) headers: &'a HeaderMap,
    /// Region that the path names.
    pub(super) region: Option<&'a str>,
}

/// Adds the request id, under the header that the dialect has for it.
fn stamp(response: &mut Response<Reply>, dialect: Dialect, salt: u64) {
    let name = match dialect {
        Dialect::Anthropic => "request-id",
        _ => "x-request-id",
    };
    if let Ok(value) = HeaderValue::from_str(&super::words::id("req_", salt, 20)) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
}

impl<'a> Call<'a> {
    fn tongue(&self) -> &'static dyn Tongue {
        tongue(self.desk.provider.dialect)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.header("x-sim-region")
            .or(self.region)
            .or(self.desk.provider.default_region.as_deref())
    }

    /// A fresh line of the ledger.
    fn entry(&self, model: &str, ending: Ending) -> Entry {
        Entry {
            provider: self.desk.provider.name.clone(),
            region: self.region().unwrap_or_default().to_owned(),
            model: model.to_owned(),
            id: String::new(),
            ending,
            billed: Tokens::default(),
        }
    }

    /// Answers with an error and books it.
    pub(super) fn refuse(&self, model: &str, fault: &Fault) -> Response<Reply> {
        let ending = Ending::Refused(fault.status);
        self.house.ledger.ended(self.entry(model, ending));
        let dialect = self.desk.provider.dialect;
        let mut response = error(dialect, fault);
        let id = xxh64(fault.message.as_bytes(), u64::from(fault.status));
        stamp(&mut response, dialect, id);
        response
    }

    /// How the model behaves in the region, with what was switched on.
    fn behaviour<'b>(&self, model: &'b Model) -> Cow<'b, Behaviour> {
        let region = self.region();
        let scripted = model.behaviour(region);
        self.house
            .switches
            .over(scripted, &self.desk.provider.name, region)
    }

    /// What the request asks the simulator for; headers win over words.
    pub(super) fn directive(&self, words: Option<&str>) -> Result<Directive, Fault> {
        let mut directive = Directive::default();
        let mut read = |words: &str| directive.read(words).map_err(Fault::bad);
        if let Some(words) = words {
            read(words)?;
        }
        if let Some(words) = self.header("x-sim") {
            read(words)?;
        }
        for name in ["tokens", "chunk-ms", "ttft-ms"] {
            if let Some(value) = self.header(&format!("x-sim-{name}")) {
                read(&format!("{name}={}", value.trim()))?;
            }
        }
        Ok(directive)
    }

    /// The model, or the provider's way to say that there is none.
    pub(super) fn model(&self, name: &str) -> Result<&'a Model, Fault> {
        let provider = &self.desk.provider;
        let found = provider.models.get(name).or(provider.any.as_ref());
        found.ok_or_else(|| {
            let message = match provider.dialect {
                Dialect::Anthropic => format!("model: {name}"),
                Dialect::Gemini => format!(
                    "models/{name} is not found for API version v1beta, or is not supported for generateContent."
                ),
                _ => format!("The model `{name}` does not exist or you do not have access to it."),
            };
            Fault {
                kind: Kind::NoModel,
                ..Fault::new(404, message)
            }
        })
    }

    /// Draws what happens.
    pub(super) fn plan(&self, model: &Model, ask: &Ask, directive: &Directive) -> Plan {
        let number = self.desk.number(&ask.model);
        let scene = Scene {
            behaviour: &self.behaviour(model),
            model,
            dialect: self.desk.provider.dialect,
            moment: self.house.moment(),
            speed: self.house.speed,
            world: self.house.seed,
            seed: self.endpoint(&ask.model) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        };
        plan(scene, ask, directive)
    }

    /// A number for the endpoint, from its names and the seed.
    fn endpoint(&self, model: &str) -> u64 {
        let provider = xxh64(self.desk.provider.name.as_bytes(), self.house.seed);
        xxh64(model.as_bytes(), provider)
    }

    /// A line of the ledger, written when the answer is over.
    pub(super) fn bill(&self, model: &str) -> Bill {
        Bill {
            ledger: self.house.ledger.clone(),
            entry: self.entry(model, Ending::Left),
        }
    }

    /// Answers a chat request.
    pub(super) async fn generate(
        &self,
        body: &[u8],
        path_model: Option<&str>,
        path_stream: Option<bool>,
    ) -> Result<Response<Reply>, Refused> {
        let tongue = self.tongue();
        let mut ask = tongue
            .read(body, path_model)
            .map_err(|fault| (path_model.unwrap_or_default().to_owned(), fault))?;
        ask.stream = path_stream.unwrap_or(ask.stream);
        let refused = |fault: Fault| (ask.model.clone(), fault);
        let model = self.model(&ask.model).map_err(refused)?;
        let directive = self.directive(ask.words.as_deref()).map_err(refused)?;
        check(&ask, model).map_err(refused)?;
        let plan = self.plan(model, &ask, &directive);
        if let Act::Status(status) = plan.act {
            return Err(refused(Fault::of(status, plan.retry_after)));
        }
        let mut bill = self.bill(&ask.model);
        if plan.act == Act::Hang {
            return std::future::pending().await;
        }
        if plan.act == Act::Filter
            && self.desk.provider.dialect == Dialect::Anthropic
            && !ask.stream
        {
            bill.entry.ending = Ending::Refused(400);
            return Ok(error(Dialect::Anthropic, &filtered()));
        }
        let answer = self.compose(&ask, &plan, model);
        bill.entry.id = tongue.id(&answer);
        let mut response = if ask.stream {
            self.stream(&ask, &plan, &answer, bill).await
        } else {
            self.one(&plan, &answer, bill).await
        };
        stamp(&mut response, self.desk.provider.dialect, plan.salt);
        Ok(response)
    }

    fn compose(&self, ask: &Ask, plan: &Plan, model: &Model) -> Answer {
        let behaviour = self.behaviour(model);
        let least = behaviour.cache_min_tokens.0 as u64;
        let kept = Duration::try_from_secs_f64(behaviour.cache_s.0).unwrap_or_default();
        // Every region has machines of its own, and what they remember.
        let place = self.region().unwrap_or_default();
        let cached = self.house.cache.look(
            xxh64(place.as_bytes(), self.endpoint(&ask.model)),
            ask,
            (least, kept),
            std::time::Instant::now(),
        );
        let total = ask.prompt_tokens();
        let writes = self.desk.provider.dialect == Dialect::Anthropic
            && ask.cache_marked
            && total >= least.max(2);
        // The last token is read afresh, as by the cache itself.
        let written = if writes { total - 1 - cached } else { 0 };
        let tongue = self.tongue();
        Answer::new(
            ask,
            plan,
            chrono::Utc::now().timestamp(),
            (cached, written),
            (tongue.has_refusals(), tongue.parses_arguments()),
        )
    }

    /// A whole answer.
    async fn one(&self, plan: &Plan, answer: &Answer, mut bill: Bill) -> Response<Reply> {
        let per_token = match plan.pace {
            Pace::PerToken(pause) => pause,
            Pace::PerChunk(_) => Duration::ZERO,
        };
        let tokens = u32::try_from(answer.usage.completion).unwrap_or(u32::MAX);
        wait(plan.ttft.saturating_add(per_token.saturating_mul(tokens))).await;
        let tongue = self.tongue();
        let mut done = |response: Response<Reply>, billed: Tokens| {
            bill.entry.ending = Ending::Answered;
            bill.entry.billed = billed;
            response
        };
        let (stop, end) = match plan.act {
            Act::Html => return done(page(), Tokens::default()),
            Act::Error200 | Act::ErrorInStream => {
                let body = tongue.error(&Fault::of(502, 1));
                return done(whole(200, "application/json", body), Tokens::default());
            }
            Act::Stall => (None, End::Stall),
            Act::Cut(Cut::Bytes(count)) => (Some(count), End::Cut),
            Act::Cut(_) => (None, End::Cut),
            Act::HalfSse => (None, End::Done),
            Act::Endless => (None, End::Again(1)),
            act => {
                let kind = match act {
                    Act::WrongType => "text/plain",
                    _ => "application/json",
                };
                return done(whole(200, kind, tongue.whole(answer)), answer.usage);
            }
        };
        let mut frames = Frames::whole(tongue.whole(answer), answer.usage.completion);
        let stop = stop.unwrap_or(frames.data.len() / 2);
        if end == End::Again(1) {
            // White space is valid JSON for as long as it lasts.
            frames.data.truncate(stop);
            frames.marks.clear();
            frames.mark(0, false, |_| {});
            frames.mark(0, true, |out| out.extend_from_slice(b"          \n"));
            return paced(
                self.framed(frames, None, end, plan.pace, bill, answer),
                "application/json",
            );
        }
        paced(
            self.framed(frames, Some(stop), end, plan.pace, bill, answer),
            "application/json",
        )
    }

    /// An answer in parts.
    async fn stream(
        &self,
        ask: &Ask,
        plan: &Plan,
        answer: &Answer,
        mut bill: Bill,
    ) -> Response<Reply> {
        let tongue = self.tongue();
        let mut frames = tongue.stream(answer, ask.include_usage);
        // Thinking that is not shown is a silence before the first part.
        let first = frames.marks.iter().position(|mark| mark.delta).unwrap_or(0);
        let silent: u32 = frames
            .marks
            .iter()
            .take(first + 1)
            .map(|mark| mark.tokens)
            .sum();
        let silence = match plan.pace {
            Pace::PerToken(pause) => {
                pause.saturating_mul(silent.saturating_sub(answer.tokens_per_chunk))
            }
            Pace::PerChunk(_) => Duration::ZERO,
        };
        wait(plan.ttft.saturating_add(silence)).await;
        let half = frames.half();
        let mut kind = "text/event-stream; charset=utf-8";
        let (stop, end) = match plan.act {
            Act::Html => {
                bill.entry.ending = Ending::Answered;
                return page();
            }
            Act::WrongType => {
                kind = "text/plain; charset=utf-8";
                (None, End::Done)
            }
            Act::Stall => {
                frames.keep(half);
                (None, End::Stall)
            }
            Act::Cut(Cut::Half) => {
                frames.keep(half);
                (None, End::Cut)
            }
            Act::Cut(Cut::Chunks(count)) => {
                frames.keep(count);
                (None, End::Cut)
            }
            Act::Cut(Cut::Bytes(count)) => (Some(count), End::Cut),
            Act::HalfSse => {
                let (from, to) = (frames.begin(half.saturating_sub(1)), frames.begin(half));
                (Some((from + to) / 2), End::Done)
            }
            Act::Error200 => {
                frames.keep(0);
                self.fail(&mut frames, &Fault::of(502, 1));
                (None, End::Done)
            }
            Act::ErrorInStream => {
                frames.keep(half);
                self.fail(&mut frames, &Fault::of(503, 1));
                (None, End::Done)
            }
            Act::Filter if self.desk.provider.dialect == Dialect::Anthropic => {
                frames.keep(half);
                self.fail(&mut frames, &filtered());
                (None, End::Done)
            }
            Act::Endless => {
                let last = frames.marks.iter().rposition(|mark| mark.delta);
                frames.keep(last.map_or(1, |last| last + 1));
                (None, End::Again(first))
            }
            _ => (None, End::Done),
        };
        let mut response = paced(
            self.framed(frames, stop, end, plan.pace, bill, answer),
            kind,
        );
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn fail(&self, frames: &mut Frames, fault: &Fault) {
        frames.note(&self.tongue().stream_error(fault));
    }

    fn framed(
        &self,
        frames: Frames,
        stop: Option<usize>,
        end: End,
        pace: Pace,
        bill: Bill,
        answer: &Answer,
    ) -> Paced {
        Paced::new(
            (frames.data, frames.marks),
            stop,
            end,
            pace,
            bill,
            answer.usage,
        )
    }
}

fn paced(body: Paced, kind: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::Paced(Box::new(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn page() -> Response<Reply> {
    whole(200, "text/html", PAGE.as_bytes().to_vec())
}

pub(super) async fn wait(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// What Anthropic says where its filter stops an answer.
fn filtered() -> Fault {
    Fault {
        kind: Kind::Filter,
        ..Fault::bad("Output blocked by content filtering policy")
    }
}

/// What is wrong with a request besides its form.
fn check(ask: &Ask, model: &Model) -> Result<(), Fault> {
    if let Choice::Named(name) = &ask.choice
        && !ask.tools.iter().any(|tool| tool.name == *name)
    {
        return Err(Fault {
            param: Some("tool_choice"),
            ..Fault::bad(format!(
                "The tool {name:?} in 'tool_choice' is not among 'tools'."
            ))
        });
    }
    if ask.choice == Choice::Required && ask.tools.is_empty() {
        return Err(Fault {
            param: Some("tool_choice"),
            ..Fault::bad("'tool_choice' needs 'tools'.")
        });
    }
    let tokens = ask.prompt_tokens();
    if tokens > model.context_length {
        return Err(Fault {
            kind: Kind::Context,
            param: Some("messages"),
            ..Fault::bad(format!(
                "prompt is too long: {tokens} tokens > {} maximum. This model's maximum context length is {} tokens.",
                model.context_length, model.context_length
            ))
        });
    }
    Ok(())
}
