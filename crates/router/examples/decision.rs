//! What a routing decision costs: 400 models with 20 endpoints each, lanes that have a history, three kinds of requests.
//! Prints the 50th and 99th percentile of single decisions, the line for the event included.
#![allow(clippy::print_stdout, reason = "the figures are its output")]

use chrono::Utc;
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::{Catalog, Sources};
use tidemark_router::adapters::Dialect;
use tidemark_router::ask::Operation;
use tidemark_router::entrance;
use tidemark_router::piece::{ErrorKind, UpstreamError};
use tidemark_router::policy::Policy;
use tidemark_router::route::health::Answered;
use tidemark_router::route::{Question, Routes};
use tidemark_router::settings::{Settings, Upstream};

const MODELS: usize = 400;
const ENDPOINTS: usize = 20;
const DECISIONS: usize = 200_000;

const PLAIN: &str = r#"{"model": "acme/mN", "messages": [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "When is high tide?"}]}"#;
const SORTED: &str = r#"{"model": "acme/mN:nitro", "max_tokens": 200, "messages": [{"role": "user", "content": "When is high tide?"}],
    "provider": {"preferred_max_latency": 2, "max_price": {"prompt": 30, "completion": 60}, "data_collection": "allow"}}"#;
const STRICT: &str = r#"{"model": "acme/mN", "session_id": "s", "max_tokens": 200, "temperature": 0.5, "models": ["acme/mM"],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "When is high tide?"}]}],
    "provider": {"order": ["p3", "p5"], "ignore": ["p7", "p8/us-east"], "zdr": true, "data_collection": "deny", "quantizations": ["fp8", "bf16"],
    "regions": ["us-*"], "require_parameters": true, "max_price": {"prompt": 3.5}}}"#;

fn routes() -> Result<Routes, Box<dyn Error>> {
    let (mut providers, mut models, mut endpoints) = (String::new(), String::new(), String::new());
    for p in 0..ENDPOINTS {
        writeln!(
            providers,
            "{{ slug = \"p{p}\", name = \"P\", country = \"FR\", regions = [\"us-east\"], data = {{ collects = false, zdr = true }} }},"
        )?;
    }
    for m in 0..MODELS {
        writeln!(
            models,
            "{{ id = \"acme/m{m}\", name = \"M\", author = \"acme\", released = \"2026-01-01\", context_length = 128000, max_output = 8000, open_weights = true, input = [\"text\"], output = [\"text\"], tools = true, reasoning = true, status = \"live\" }},"
        )?;
        for p in 0..ENDPOINTS {
            let price = 1 + (m + p) % 7;
            writeln!(
                endpoints,
                "{{ id = \"p{p}/m{m}\", model = \"acme/m{m}\", provider = \"p{p}\", upstream = \"m\", quantization = \"fp8\", context_length = 128000, regions = [\"us-east\"], parameters = [\"tools\", \"temperature\"], prices = [{{ from = \"2026-01-01\", prompt = \"{price}\", completion = \"{price}\", cache_read = \"0.1\" }}] }},"
            )?;
        }
    }
    let list = |name: &str, items: &str| format!("{name} = [\n{items}]");
    let catalog = Catalog::from_toml(Sources {
        authors: "author = [{ slug = \"acme\", name = \"Acme\", country = \"FR\" }]",
        providers: &list("provider", &providers),
        models: &list("model", &models),
        endpoints: &list("endpoint", &endpoints),
    })?;
    let upstreams = (0..ENDPOINTS).map(|p| Upstream {
        provider: format!("p{p}"),
        dialect: Dialect::Openai,
        base_url: format!("http://p{p}.invalid"),
        region: Some("us-east".to_owned()),
        data: None,
        key_env: None,
        simulated: true,
    });
    let settings = Settings {
        upstreams: upstreams.collect(),
        ..Settings::default()
    };
    Ok(Routes::new(Arc::new(catalog), &settings)?)
}

/// Every lane has answered, and one in ten has just failed.
fn history(routes: &Routes, now: Instant) {
    for (n, (_, _, lane)) in routes.lanes().enumerate() {
        for second in 0..60 {
            let at = now + Duration::from_secs(second);
            let answered = Answered {
                whole: true,
                ttft_us: Some(200_000 + n as i64 * 37 % 90_000),
                generation_us: Some(2_000_000),
                completion_tokens: 100 + n as i64 % 50,
            };
            lane.health.begin(at);
            lane.health.answered(at, at, &answered);
        }
        if n.is_multiple_of(10) {
            let error = UpstreamError {
                status: 500,
                kind: ErrorKind::Server,
                message: String::new(),
                retry_after: None,
            };
            let at = now + Duration::from_secs(60);
            (0..100).for_each(|_| lane.health.failed(at, at, &error));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let routes = routes()?;
    let now = Instant::now();
    history(&routes, now);
    let now = now + Duration::from_secs(61);
    for (name, body) in [("plain", PLAIN), ("sorted", SORTED), ("strict", STRICT)] {
        let mut asks = Vec::new();
        for m in 0..MODELS {
            let body = body
                .replace("mN", &format!("m{m}"))
                .replace("mM", &format!("m{}", (m + 1) % MODELS));
            let ask = entrance::ask(Operation::Chat, body.as_bytes());
            asks.push(ask.map_err(|refusal| refusal.message)?);
        }
        let policy = Policy::default();
        let (mut times, mut lanes) = (Vec::with_capacity(DECISIONS), 0);
        for n in 0..DECISIONS {
            let ask = &asks[n * 7919 % MODELS];
            let began = Instant::now();
            let named = routes
                .named(&ask.model, Utc::now())
                .map_err(|refusal| refusal.message)?;
            let mut plan = routes
                .plan(&Question {
                    ask,
                    named,
                    policy: &policy,
                    account: "acme",
                    at: Utc::now(),
                    now,
                    seed: n as u64,
                    attempts: 4,
                })
                .map_err(|refusal| refusal.message)?;
            let first = plan.next_lane().ok_or("no lane")?;
            black_box((plan.summary(), first.lane.key));
            times.push(began.elapsed());
            plan.answered(now);
            lanes += plan.lanes().len();
        }
        times.sort_unstable();
        let at = |share: usize| times[DECISIONS * share / 1000].as_nanos() as f64 / 1e3;
        println!(
            "{name}: {:.1} of {ENDPOINTS} lanes in order, over {MODELS} models; p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
            lanes as f64 / DECISIONS as f64,
            at(500),
            at(990),
            at(999)
        );
    }
    Ok(())
}
