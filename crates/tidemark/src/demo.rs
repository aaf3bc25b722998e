//! `up --demo`: a month of simulated history through the journal, and then real requests through the router to simulated
//! providers.

use crate::config::Config;
use crate::instance::Instance;
use crate::output::{grouped, line};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidemark_catalog::Catalog;
use tidemark_event::{Micros, UsageEvent};
use tidemark_rollup::Tally;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::{Account, DEMO_KEY};
use tidemark_router::settings::{Settings, Upstream};
use tidemark_sim::providers::{Providers, Script};
use tidemark_sim::traffic::Traffic;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Events of history: a month at about 70 a minute.
const HISTORY: u64 = 3_000_000;
const MONTH_US: i64 = 30 * 86_400 * 1_000_000;
const GROUP: usize = 4096;
/// Journal entries the rollup may lie behind before the history waits for it.
const LEAD: u64 = 400_000;
const LIVE_TICK: Duration = Duration::from_millis(100);
/// Live requests at work at the same time, at most.
const AT_ONCE: usize = 1024;
/// Longest live prompt, in tokens: longer ones only keep this machine busy.
const LIVE_PROMPT: i64 = 16_384;

/// What was decided at the first start, so that a later one makes the very same history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Demo {
    seed: u64,
    from: i64,
    to: i64,
    events: u64,
    complete: bool,
    #[serde(skip)]
    file: PathBuf,
}

impl Demo {
    /// Reads or makes the plan of the data folder.
    pub fn prepare(config: &Config, instance: &Instance) -> Result<Self> {
        let file = config.data_dir.join("demo.json");
        if let Ok(text) = std::fs::read_to_string(&file) {
            let mut demo: Self = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is damaged: delete it, or choose another --data-dir",
                    file.display()
                )
            })?;
            demo.file = file;
            return Ok(demo);
        }
        let now = Micros::now().0;
        let events = std::env::var("TIDEMARK_DEMO_EVENTS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(HISTORY);
        // A folder that already has events of its own keeps them: no history is put before them.
        let complete = instance.appended() > 0;
        let demo = Self {
            seed: 20_261_123,
            from: now - MONTH_US,
            to: now,
            events,
            complete,
            file,
        };
        demo.save()?;
        Ok(demo)
    }

    fn save(&self) -> Result<()> {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, serde_json::to_string_pretty(self)?)?;
        Ok(std::fs::rename(draft, &self.file)?)
    }

    /// Publishes the history if it is not complete. False, when told to stop before.
    pub fn fill(
        &mut self,
        catalog: &Catalog,
        instance: &Instance,
        tally: &watch::Receiver<Tally>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<bool> {
        if !self.complete {
            let traffic = Traffic::new(catalog, self.seed);
            if !self.history(&traffic, instance, tally, stopped)? {
                return Ok(false);
            }
            self.complete = true;
            self.save()?;
        }
        Ok(true)
    }

    /// Live traffic, until stopped.
    pub async fn live(
        &self,
        catalog: &Catalog,
        gateway: &Arc<Gateway>,
        mut stopped: watch::Receiver<bool>,
    ) {
        line(format!(
            "Live: simulated clients ask simulated providers through the router; ask it yourself with the key {DEMO_KEY}."
        ));
        let mut live = Traffic::new(catalog, self.seed).live(Micros::now());
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let mut tick = tokio::time::interval(LIVE_TICK);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            for event in live.tick(Micros::now()) {
                // A router that cannot keep up is not pushed further.
                let Ok(turn) = Arc::clone(&at_once).try_acquire_owned() else {
                    continue;
                };
                let gateway = Arc::clone(gateway);
                let mut stopped = stopped.clone();
                tokio::spawn(async move {
                    let answered = async {
                        let answer = gateway.handle(request(&event)).await;
                        answer.into_body().collect().await.ok();
                    };
                    // Nobody waits for a simulated client when the demo ends.
                    tokio::select! {
                        () = answered => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                    drop(turn);
                });
            }
        }
    }

    /// Whether the history is complete; not, when told to stop.
    fn history(
        &self,
        traffic: &Traffic,
        instance: &Instance,
        tally: &watch::Receiver<Tally>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<bool> {
        // What an interrupted start has appended need not be made again; at the seam, ids sort out what was.
        let skip = instance.appended().saturating_sub(2 * GROUP as u64);
        line(format!(
            "Demo: {} simulated requests of the last 30 days go through journal, rollup and lake; every figure on the page is simulated and marked so.",
            grouped(self.events)
        ));
        let bar = ProgressBar::with_draw_target(Some(self.events), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(
            "{bar:40} {percent:>3}%  {msg}  {elapsed}, {eta} to go",
        )?);
        let before = instance.committed();
        let mut events = traffic
            .history(Micros(self.from), Micros(self.to), self.events)
            .skip(skip as usize);
        loop {
            let group: Vec<UsageEvent> = events.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            instance.publish(&group)?;
            loop {
                let (appended, committed) =
                    (instance.appended(), before + tally.borrow().counts.received);
                bar.set_position(committed.min(self.events));
                bar.set_message(format!("{} requests committed", grouped(committed)));
                if *stopped.borrow() {
                    bar.abandon();
                    return Ok(false);
                }
                if appended.saturating_sub(committed) <= LEAD || tally.has_changed().is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        while !*stopped.borrow()
            && instance.committed() < instance.appended()
            && tally.has_changed().is_ok()
        {
            bar.set_position((before + tally.borrow().counts.received).min(self.events));
            std::thread::sleep(Duration::from_millis(50));
        }
        bar.finish_and_clear();
        line(format!(
            "History is in: {} requests in {:.0} s.",
            grouped(instance.committed()),
            bar.elapsed().as_secs_f64()
        ));
        Ok(true)
    }
}

/// The simulated providers, on an address of their own, and how the router reaches them.
pub async fn providers(catalog: &Catalog, stopped: watch::Receiver<bool>) -> Result<Vec<Upstream>> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no local port is free for the simulated providers")?;
    let address = listener.local_addr()?;
    let script = Script::demo(catalog);
    let settings: Settings = toml::from_str(&script.upstreams_by_region(address))?;
    let until = async move {
        let mut stopped = stopped;
        stopped.wait_for(|stop| *stop).await.ok();
    };
    tokio::spawn(Providers::new(script, Micros::now().0 as u64).serve(listener, until));
    Ok(settings.upstreams)
}

/// Whether an account asks for the provider of its events first.
fn insists(account: &str) -> bool {
    account
        .bytes()
        .fold(0, |sum: u8, byte| sum.wrapping_add(byte))
        % 2
        == 0
}

/// What a client asks whose use the event describes. The answer will be another one: what happens is up to the provider.
fn request(event: &UsageEvent) -> Request<Full<Bytes>> {
    let tokens = event.prompt_tokens.clamp(1, LIVE_PROMPT) as usize;
    let prompt = "tide ".repeat(tokens * 4 / 5 + 1);
    let model = match event.variant.as_str() {
        // No endpoint of the catalog is free: such a request would only be refused.
        "" | "free" => event.model.clone(),
        variant => format!("{}:{variant}", event.model),
    };
    let mut body = json!({
        "model": model,
        "stream": event.streamed,
        "messages": [{"role": "user", "content": prompt}],
    });
    // Every other account insists on a provider, and meets its bad times; the others leave the choice to the router.
    if let (true, Some(body)) = (insists(&event.account_id), body.as_object_mut()) {
        body.insert("provider".into(), json!({"order": [event.provider]}));
    }
    if let (true, Some(body)) = (event.tools_offered > 0, body.as_object_mut()) {
        let choice = if event.tool_choice == "required" {
            "required"
        } else {
            "auto"
        };
        body.insert("tool_choice".into(), choice.into());
        body.insert("tools".into(), json!([
            {"type": "function", "function": {"name": "next_tide", "description": "When the tide turns", "parameters": {
                "type": "object", "properties": {"harbour": {"type": "string"}, "day": {"type": "integer"}}, "required": ["harbour"]}}},
            {"type": "function", "function": {"name": "search_logs", "description": "Lines of a ship's log", "parameters": {
                "type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}, "required": ["words"]}}},
        ]));
    }
    let mut request = Request::new(Full::from(body.to_string()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("/v1/chat/completions");
    if let Ok(app) = http::HeaderValue::from_str(&event.app) {
        request.headers_mut().insert("x-title", app);
    }
    request
        .extensions_mut()
        .insert(Account::unlimited(&event.account_id));
    request
}
