//! One request, from its arrival to the first byte of its answer. What follows is in [`crate::relay`].

use crate::answer::error::Refusal;
use crate::answer::{self, Head};
use crate::ask::{Ask, Operation};
use crate::emit::Emitter;
use crate::entrance;
use crate::ingest::{Desk, Ingest, Protocol};
use crate::keys::admission::Reading;
use crate::keys::{Account, Keys, report};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::passage::Passage;
use crate::piece::UpstreamError;
use crate::policy::Policy;
use crate::pool::Pool;
use crate::relay::Relay;
use crate::respond::{boxed, end_of_life, json_response, model_json, refused};
use crate::route::observed::Statistics;
use crate::route::{Named, Question, Routes};
use crate::settings::Settings;
use crate::upstream::{self, Answer, Failure};
use crate::veil;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tidemark_catalog::{Model, is_alias};

/// Why a body could not be read to its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer.
pub type Reply = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) const GENERATION: HeaderName = HeaderName::from_static("x-generation-id");
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const ROUTE: HeaderName = HeaderName::from_static("x-tidemark-route");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The router.
pub struct Gateway {
    setup: RwLock<Arc<Setup>>,
    keys: Keys,
    emitter: Emitter,
    ingest: Ingest,
    metrics: Arc<Metrics>,
    stopping: Arc<AtomicBool>,
}

/// What a reload replaces. A request keeps to its end the one it began with.
struct Setup {
    settings: Arc<Settings>,
    routes: Routes,
    pool: Pool,
}

/// An answer that has begun well, and what the response to it needs.
struct Begun {
    ask: Ask,
    answer: Answer,
    head: Head,
    passage: Passage,
    /// What the headers say of the model's end, and of the route where that was asked for.
    told: HeaderMap,
    deadline: Instant,
    settings: Arc<Settings>,
}

/// Whose request it is, and what that means for its route.
#[derive(Clone, Copy)]
struct Asker<'a> {
    account: &'a str,
    policy: &'a Policy,
    /// The answer is to say how it was routed.
    explain: bool,
}

impl Gateway {
    /// A router over the given routes, keys and journal.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(
        settings: Settings,
        routes: Routes,
        keys: Keys,
        emitter: Emitter,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            setup: RwLock::new(Arc::new(Setup {
                pool: Pool::new(settings.connect_timeout())?,
                settings: Arc::new(settings),
                routes,
            })),
            keys,
            emitter,
            ingest: Ingest::new(None),
            metrics: Arc::default(),
            stopping: Arc::default(),
        })
    }

    /// Refuses events from elsewhere that the rollup would take for too old.
    #[must_use]
    pub fn retaining(mut self, retention: Option<Duration>) -> Self {
        self.ingest = Ingest::new(retention);
        self
    }

    /// Puts other settings and routes in force for the requests from now on; those under way end as they began.
    ///
    /// # Errors
    /// When the TLS library cannot be set up; all stays as it was.
    pub fn reload(&self, settings: Settings, mut routes: Routes) -> Result<(), rustls::Error> {
        let now = self.setup();
        routes.take_over(&now.routes);
        // Connections stand longer than settings, unless it is how they are made that has changed.
        let pool = if now.settings.connect_timeout_ms == settings.connect_timeout_ms {
            now.pool.clone()
        } else {
            Pool::new(settings.connect_timeout())?
        };
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Setup {
            settings: Arc::new(settings),
            routes,
            pool,
        });
        Ok(())
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what everyone's traffic says of the endpoints, in the place of what was said before. The number of lanes that
    /// the statistics speak of; none where they are too old.
    pub fn learn(&self, statistics: &Statistics) -> usize {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_s = since.map_or(0, |since| since.as_secs() as i64);
        self.setup()
            .routes
            .learn(statistics, Instant::now(), unix_s)
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.setup().settings)
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// From now on requests that are cut are cut by us.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the router takes requests.
    pub fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed) && self.emitter.is_open()
    }

    /// Figures for Prometheus.
    pub fn metrics(&self) -> String {
        let setup = self.setup();
        let broken = setup.routes.broken(Instant::now());
        self.metrics.text(&self.emitter, &broken)
    }

    /// Whether a path is the router's.
    pub fn owns(path: &str) -> bool {
        path.starts_with("/v1/")
    }

    /// Answers a request of the router's paths. An [`Account`] among the request's extensions, which no client can put there,
    /// stands for a key.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        let (head, body) = request.into_parts();
        if let Some(protocol) = Protocol::of(head.uri.path()) {
            return self.take_in(protocol, head, body).await;
        }
        let operation = match head.uri.path() {
            "/v1/chat/completions" => Operation::Chat,
            "/v1/messages" => Operation::Messages,
            "/v1/embeddings" => Operation::Embeddings,
            path if head.method == Method::GET && is_listed(path) => {
                return self
                    .list(path, &head)
                    .unwrap_or_else(|refusal| refused(&refusal, None, ""));
            }
            _ => {
                let refusal = Refusal::new(
                    404,
                    "not_found",
                    "there is nothing at this address; the router answers POST /v1/chat/completions, /v1/messages, /v1/embeddings, /v1/events, /v1/traces and GET /v1/models, /v1/key",
                );
                return refused(&refusal, None, "");
            }
        };
        if head.method != Method::POST {
            let mut response = refused(
                &Refusal::new(405, "method_not_allowed", "this address takes POST"),
                Some(operation),
                "",
            );
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let Some(place) = self.emitter.admit() else {
            self.metrics.turned_away();
            let mut refusal = Refusal::new(
                503,
                "spool_full",
                "the router cannot record requests right now and does not serve what it cannot count: try again in a moment",
            );
            refusal.retry_after = Some(1);
            return refused(&refusal, Some(operation), "");
        };
        let setup = self.setup();
        let mut meter = Meter::start(
            place,
            Arc::clone(&self.stopping),
            &setup.settings.id,
            Arc::clone(&self.metrics),
        );
        meter.operation(operation.as_str());
        let account = self.account(&head);
        let begun = match &account {
            Ok(account) => {
                self.begin(&setup, operation, account, head, body, &mut meter)
                    .await
            }
            Err(refusal) => Err(refusal.clone()),
        };
        let mut response = match begun {
            Ok(begun) => self.reply(begun, meter),
            Err(refusal) => {
                // Says nothing to a meter that already knows of a provider's failure.
                meter.rejected(refusal.status, refusal.code);
                refused(&refusal, Some(operation), meter.id())
            }
        };
        if let Ok(Account {
            standing: Some(standing),
            ..
        }) = account
        {
            let readings = standing.readings();
            report::tell(&readings, response.headers_mut());
            report::warnings(&readings).for_each(|met| self.metrics.met(met));
        }
        response
    }

    /// Whose request it is.
    fn account(&self, head: &http::request::Parts) -> Result<Account, Refusal> {
        match head.extensions.get::<Account>() {
            Some(account) => Ok(account.clone()),
            None => entrance::account(&self.keys, &head.headers),
        }
    }

    /// A limit has nothing left.
    fn met(&self, met: &Reading) -> Refusal {
        self.metrics.met(met);
        met.into()
    }

    /// Events from elsewhere.
    async fn take_in<B>(
        &self,
        protocol: Protocol,
        head: http::request::Parts,
        body: B,
    ) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        let setup = self.setup();
        let desk = Desk {
            keys: &self.keys,
            emitter: &self.emitter,
            settings: &setup.settings,
            catalog: &setup.routes.catalog,
        };
        self.ingest.answer(protocol, desk, head, body).await
    }

    /// Everything up to an answer that has begun well.
    async fn begin<B>(
        &self,
        setup: &Setup,
        operation: Operation,
        account: &Account,
        head: http::request::Parts,
        body: B,
        meter: &mut Meter,
    ) -> Result<Begun, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        meter.account(&account.id, entrance::app(&head.headers));
        meter.admit(account).map_err(|met| self.met(&met))?;
        let body = entrance::receive(&setup.settings, &head.headers, body).await?;
        let ask = entrance::ask(operation, &body)?;
        let session = if ask.session.is_empty() {
            String::new()
        } else {
            self.keys.account_hash(&ask.session).to_string()
        };
        meter.asked(&ask, session);
        let now = meter.time().to_datetime().unwrap_or_else(Utc::now);
        let named = setup.routes.named(&ask.model, now)?;
        meter.requested(&ask.model);
        entrance::may_ask(account, &named.model.id)?;
        meter.model(&named.model.id, named.variant);
        let asker = Asker {
            account: &account.id,
            policy: &account.policy,
            explain: entrance::explains(&head.headers),
        };
        self.serve(setup, ask, &named, now, asker, meter).await
    }

    /// Tries the lanes in order until an answer begins well.
    async fn serve(
        &self,
        setup: &Setup,
        ask: Ask,
        named: &Named<'_>,
        now: DateTime<Utc>,
        asker: Asker<'_>,
        meter: &mut Meter,
    ) -> Result<Begun, Refusal> {
        let began = Instant::now();
        let deadline = began + setup.settings.total_timeout();
        let mut last: Option<(UpstreamError, &Model)> = None;
        let mut unsupported = None;
        let mut tried = 0;
        let mut plan = setup.routes.plan(&Question {
            ask: &ask,
            named: *named,
            policy: asker.policy,
            account: asker.account,
            at: now,
            now: began,
            seed: meter.seed(),
            attempts: setup.settings.max_attempts,
        })?;
        meter.routed(plan.summary());
        while let Some(candidate) = plan.next_lane() {
            if plan.tried() == 1 {
                meter
                    .expect(&ask, candidate.price)
                    .map_err(|met| self.met(&met))?;
            }
            if Instant::now() >= deadline {
                break;
            }
            let provider = veil::provider(candidate.model, candidate.endpoint);
            match upstream::attempt(
                &setup.pool,
                &setup.settings,
                &ask,
                &candidate,
                meter,
                deadline,
            )
            .await
            {
                Ok(answer) => {
                    self.metrics.attempt(provider, "ok");
                    plan.answered(Instant::now());
                    let mut told = HeaderMap::new();
                    let day = named.model.deprecated;
                    let successor = named.model.successor.as_deref().filter(|_| day.is_some());
                    end_of_life(day, successor, &mut told);
                    if asker.explain
                        && let Ok(route) = HeaderValue::try_from(plan.header())
                    {
                        told.insert(ROUTE, route);
                    }
                    return Ok(Begun {
                        head: Head {
                            id: meter.id().to_owned(),
                            model: candidate.model.id.clone(),
                            provider: provider.to_owned(),
                            created: now.timestamp(),
                        },
                        passage: veil::passage(
                            candidate.model,
                            Passage::between(ask.operation, candidate.lane.reach.dialect),
                        ),
                        ask,
                        answer,
                        told,
                        deadline,
                        settings: Arc::clone(&setup.settings),
                    });
                }
                Err(Failure::Unsupported(what)) => {
                    unsupported.get_or_insert((what, candidate.model));
                }
                Err(Failure::Upstream(error)) => {
                    tried += 1;
                    meter.attempt_failed(&error);
                    self.metrics.attempt(provider, error.kind.as_str());
                    tracing::debug!(
                        request = meter.id(),
                        endpoint = candidate.endpoint.id,
                        error = error.kind.as_str(),
                        status = error.status,
                        "an attempt failed"
                    );
                    let give_up = !plan.failed(&error);
                    last = Some((error, candidate.model));
                    if give_up {
                        break;
                    }
                }
            }
        }
        Err(match (last, unsupported) {
            (Some((mut error, model)), _) => {
                error.message = veil::sentence(model, &error)
                    .unwrap_or_else(|| answer::echo::without(&error.message, &ask));
                let refusal = Refusal::from(&error).with("attempts", tried);
                meter.broke(&error, refusal.status);
                refusal
            }
            (None, Some((what, model))) => Refusal {
                param: Some(what.param),
                ..Refusal::new(400, "unsupported", veil::unsupported(model, what.message))
            },
            (None, None) => Refusal::new(503, "no_endpoint", "no provider could be tried"),
        })
    }

    /// The response: a whole answer, or the relay of a streamed one, which takes the meter with it.
    fn reply(&self, begun: Begun, mut meter: Meter) -> Response<Reply> {
        let Begun {
            ask,
            answer,
            head,
            passage,
            told,
            deadline,
            settings,
        } = begun;
        let id = HeaderValue::from_str(&head.id).unwrap_or_else(|_| HeaderValue::from_static(""));
        let mut response = match answer {
            Answer::Stream(stream) => {
                let mut relay = Relay::new(*stream, meter, &ask, passage, head, settings, deadline);
                relay.begin();
                let mut response = Response::new(boxed(relay));
                let headers = response.headers_mut();
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("text/event-stream; charset=utf-8"),
                );
                headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
                response
            }
            Answer::Whole { body, pieces } => {
                pieces.iter().for_each(|piece| meter.piece(piece));
                meter.done();
                let bill = meter.bill();
                let body = passage.whole(&ask, &head, body, &pieces, &bill);
                let mut response = Response::new(boxed(Full::new(body)));
                response.headers_mut().insert(header::CONTENT_TYPE, JSON);
                response
            }
        };
        let headers = response.headers_mut();
        headers.extend(told);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(GENERATION, id);
        response
    }

    /// What can be asked without a model's work: the models, one of them, and how the key stands.
    fn list(&self, path: &str, head: &http::request::Parts) -> Result<Response<Reply>, Refusal> {
        let setup = self.setup();
        let account = match entrance::key(&head.headers) {
            None if path != "/v1/key" => Account::unlimited(""),
            _ => self.account(head)?,
        };
        let json = if let Some(name) = path.strip_prefix("/v1/models/") {
            let named = setup.routes.named(name, Utc::now())?;
            entrance::may_ask(&account, &named.model.id)?;
            setup.routes.in_service(named.model, Utc::now())?;
            model_json(named.model)
        } else if path == "/v1/key" {
            account
                .standing
                .as_deref()
                .map_or(Value::Null, report::key_json)
        } else {
            // Reached here and allowed to answer, both of the same endpoint.
            let answers = |provider: &str| {
                let mut upstreams = setup.settings.upstreams.iter();
                account.policy.allows_provider(provider)
                    && upstreams.any(|upstream| upstream.provider == provider)
            };
            // Whether a hidden model is listed must not tell who serves it.
            let allowed = |model: &&Model| {
                let mut endpoints = setup.routes.catalog.endpoints_of(&model.id);
                account.policy.allows_model(&model.id)
                    && (is_alias(&model.id)
                        || endpoints.any(|endpoint| answers(&endpoint.provider)))
            };
            let data: Vec<Value> = setup
                .routes
                .callable(Utc::now())
                .filter(allowed)
                .map(model_json)
                .collect();
            json!({"object": "list", "data": data})
        };
        let mut response = json_response(200, json.to_string().into_bytes());
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn is_listed(path: &str) -> bool {
    path == "/v1/models" || path.starts_with("/v1/models/") || path == "/v1/key"
}
