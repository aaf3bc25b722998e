//! Connections and paths.

use super::behave::Moment;
use super::body::Reply;
use super::control::{Order, Switches};
use super::dialect::tongue;
use super::embeddings;
use super::fault::Fault;
use super::ledger::Ledger;
use super::reply::Call;
use super::script::{Dialect, Provider, Script};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Requests may be as large as this.
const MOST_BYTES: usize = 64 << 20;

/// An order to the simulator may be as large as this.
const MOST_ORDER: usize = 64 << 10;

/// How long answers under way may go on after the end was called.
const GRACE: Duration = Duration::from_secs(1);

/// All providers under one roof.
pub(super) struct House {
    desks: BTreeMap<String, Desk>,
    pub(super) speed: f64,
    clock: f64,
    pub(super) seed: u64,
    pub(super) switches: Switches,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cache: super::cache::Cache,
    opened: Instant,
}

/// One provider and how often each of its models was asked.
pub(super) struct Desk {
    pub(super) provider: Provider,
    asked: HashMap<String, AtomicU64>,
    asked_else: AtomicU64,
}

impl Desk {
    /// The number of a request at a model, from 0.
    pub(super) fn number(&self, model: &str) -> u64 {
        self.asked
            .get(model)
            .unwrap_or(&self.asked_else)
            .fetch_add(1, Ordering::Relaxed)
    }
}

impl House {
    pub(super) fn new(script: Script, seed: u64, ledger: Arc<Ledger>) -> Self {
        let desk = |provider: Provider| Desk {
            asked: provider
                .models
                .keys()
                .map(|model| (model.clone(), AtomicU64::new(0)))
                .collect(),
            asked_else: AtomicU64::new(0),
            provider,
        };
        Self {
            desks: script
                .providers
                .into_iter()
                .map(|(name, provider)| (name, desk(provider)))
                .collect(),
            speed: script.speed,
            clock: script.clock,
            seed,
            switches: Switches::default(),
            ledger,
            cache: super::cache::Cache::default(),
            opened: Instant::now(),
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: chrono::Utc::now(),
            since_start: Duration::try_from_secs_f64(
                self.opened.elapsed().as_secs_f64() * self.clock,
            )
            .unwrap_or(Duration::MAX),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Reply> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_start_matches('/');
        let (place, rest) = path.split_once('/').unwrap_or((path, ""));
        let (name, region) = match place.split_once('@') {
            Some((name, region)) => (name, Some(region)),
            None => (place, None),
        };
        let Some(desk) = self.desks.get(name) else {
            return match name {
                "" => self.directory(),
                "ledger" => json(&serde_json::json!(self.ledger.all())),
                "control" => self.control(&head.method, body).await,
                _ => error(
                    Dialect::OpenaiCompatible,
                    &Fault::new(404, format!("no provider is called {name:?} here")),
                ),
            };
        };
        let dialect = desk.provider.dialect;
        if let Some(unknown) = region.filter(|region| !desk.provider.has(region)) {
            let known = desk.provider.regions.join(", ");
            let fault = Fault::new(
                404,
                format!("{name} has no region {unknown:?} here; it has: {known}"),
            );
            return error(dialect, &fault);
        }
        if rest == "v1/models" || rest == "v1beta/models" {
            return models(&desk.provider);
        }
        let Some(operation) = Operation::of(dialect, rest) else {
            return error(dialect, &Fault::new(404, format!("Unknown path: /{rest}")));
        };
        if head.method != Method::POST {
            let mut answer = error(dialect, &Fault::new(405, "Only POST is allowed here."));
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let call = Call {
            house: self,
            desk,
            headers: &head.headers,
            region,
        };
        self.ledger.came(name, call.region().unwrap_or_default());
        let body = match collected(body, MOST_BYTES).await {
            Ok(body) => body,
            Err(fault) => return call.refuse("", &fault),
        };
        let answered = match operation {
            Operation::Embed => embeddings::answer(&call, &body).await,
            Operation::Generate { model, stream } => {
                call.generate(&body, model.as_deref(), stream).await
            }
        };
        answered.unwrap_or_else(|(model, fault)| call.refuse(&model, &fault))
    }

    /// What is switched on, after the request has switched something.
    async fn control(&self, method: &Method, body: Incoming) -> Response<Reply> {
        let done = async {
            if method != Method::GET {
                let order = Order::read(&collected(body, MOST_ORDER).await?)?;
                let desk = self
                    .desks
                    .get(&order.provider)
                    .ok_or_else(|| Fault::new(404, "no provider of that name is simulated here"))?;
                if order
                    .region
                    .as_ref()
                    .is_some_and(|region| !desk.provider.has(region))
                {
                    return Err(Fault::new(404, "the provider has no such region"));
                }
                self.switches.turn(order);
            }
            Ok(json(&serde_json::json!({ "data": self.switches.on() })))
        };
        done.await
            .unwrap_or_else(|fault| error(Dialect::OpenaiCompatible, &fault))
    }

    fn directory(&self) -> Response<Reply> {
        let entries: Vec<_> = self
            .desks
            .values()
            .map(|desk| {
                let base = match desk.provider.dialect {
                    Dialect::Gemini => "v1beta",
                    _ => "v1",
                };
                serde_json::json!({
                    "provider": desk.provider.name,
                    "base_path": format!("/{}/{base}", desk.provider.name),
                    "regions": desk.provider.regions,
                    "models": desk.provider.models.len(),
                })
            })
            .collect();
        json(&serde_json::json!({ "data": entries }))
    }
}

/// A request's body.
async fn collected(body: Incoming, limit: usize) -> Result<Bytes, Fault> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(problem) if problem.is::<LengthLimitError>() => Err(Fault::new(
            413,
            "The request is larger than the server takes.",
        )),
        Err(_) => Err(Fault::bad("The request's body did not arrive.")),
    }
}

/// What a path below a provider asks for.
enum Operation {
    Generate {
        /// Where the path names it.
        model: Option<String>,
        /// Where the path says so.
        stream: Option<bool>,
    },
    Embed,
}

impl Operation {
    fn of(dialect: Dialect, path: &str) -> Option<Self> {
        let chat = Self::Generate {
            model: None,
            stream: None,
        };
        match (dialect, path) {
            (Dialect::OpenaiCompatible | Dialect::Openai, "v1/chat/completions") => Some(chat),
            (Dialect::OpenaiCompatible | Dialect::Openai, "v1/embeddings") => Some(Self::Embed),
            (Dialect::Anthropic, "v1/messages") => Some(chat),
            (Dialect::Gemini, path) => {
                let call = path.strip_prefix("v1beta/models/")?;
                let call = percent_decoded(call);
                // Names may have colons themselves.
                let (model, verb) = call.rsplit_once(':')?;
                let stream = match verb {
                    "generateContent" => false,
                    "streamGenerateContent" => true,
                    _ => return None,
                };
                Some(Self::Generate {
                    model: Some(model.to_owned()),
                    stream: Some(stream),
                })
            }
            _ => None,
        }
    }
}

fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn models(provider: &Provider) -> Response<Reply> {
    let names = provider.models.keys();
    json(&match provider.dialect {
        Dialect::Gemini => serde_json::json!({
            "models": names
                .map(|name| serde_json::json!({ "name": format!("models/{name}") }))
                .collect::<Vec<_>>(),
        }),
        _ => serde_json::json!({
            "object": "list",
            "data": names
                .map(|name| serde_json::json!({ "id": name, "object": "model", "owned_by": provider.name }))
                .collect::<Vec<_>>(),
        }),
    })
}

/// A response of one piece.
pub(super) fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(Bytes::from(body))));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json(value: &serde_json::Value) -> Response<Reply> {
    whole(200, "application/json", value.to_string().into_bytes())
}

/// An error in a dialect's shape.
pub(super) fn error(dialect: Dialect, fault: &Fault) -> Response<Reply> {
    let body = tongue(dialect).error(fault);
    let mut response = whole(fault.status, "application/json", body);
    if let Some(seconds) = fault.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) async fn serve(
    house: House,
    listener: TcpListener,
    shutdown: impl Future,
) -> io::Result<()> {
    let house = Arc::new(house);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(house.clone(), stream, stopped.clone()));
                }
                // No file handles left, or a client that was gone at once: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drop(stop);
    // What hangs on purpose would hang for ever.
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, drained).await;
    connections.shutdown().await;
    Ok(())
}

async fn connection(house: Arc<House>, stream: TcpStream, mut stopped: watch::Receiver<()>) {
    // Small parts must not wait for each other. Where the socket refuses, they wait.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let house = house.clone();
        async move { Ok::<_, Infallible>(house.handle(request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Errors are clients that left and connections that were cut on purpose: the ledger has them.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender is dropped at the end: no message ever comes.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
