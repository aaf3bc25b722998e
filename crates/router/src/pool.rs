//! Connections to the upstreams, kept open between requests.
//!
//! A connection has no task of its own: whoever waits for an answer moves it along in its own poll. Handing each chunk from a
//! task of the connection to that of the request costs more than reading it.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tower::ServiceExt;

/// A connection without work is closed after so long.
const IDLE: Duration = Duration::from_secs(60);
/// How often the ones without work are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the end of a body may take whose answer is known to be complete.
const END: Duration = Duration::from_secs(1);

type Connector = HttpsConnector<HttpConnector>;
type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The upstream's address is not one.
    #[error("the upstream's address is not valid")]
    Address,
    /// No connection, or it broke.
    #[error("the upstream could not be reached")]
    Connection,
}

/// Connections to all upstreams. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    connector: Connector,
    origins: RwLock<HashMap<Arc<str>, Arc<Origin>>>,
}

/// One upstream, and the connections to it that have no work.
struct Origin {
    /// Where to connect.
    uri: Uri,
    host: HeaderValue,
    /// What every path begins with.
    path: String,
    idle: Mutex<Vec<(Link, Instant)>>,
}

/// One connection.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// None once it has ended.
    connection: Option<Box<Connection<Io, Full<Bytes>>>>,
}

impl Pool {
    /// A pool whose connections must stand within a time.
    ///
    /// # Errors
    /// When the TLS library offers none of the protocol versions wanted.
    pub fn new(connect_timeout: Duration) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(connect_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let shared = Arc::new(Shared {
            connector,
            origins: RwLock::default(),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep(Arc::downgrade(&shared)));
        }
        Ok(Self(shared))
    }

    /// Sends a request to `path` below the upstream's address, and waits for the head of the answer.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(
        &self,
        base: &Arc<str>,
        path: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Arriving>, SendError> {
        let origin = self.origin(base)?;
        let path = [&origin.path, path].concat();
        *request.uri_mut() = Uri::try_from(path).map_err(|_| SendError::Address)?;
        request
            .headers_mut()
            .insert(header::HOST, origin.host.clone());
        loop {
            let (mut link, used) = match origin.take() {
                Some(link) => (link, true),
                None => (self.connect(&origin).await?, false),
            };
            match link.send(request).await {
                Ok(response) => {
                    return Ok(response.map(|incoming| Arriving {
                        incoming,
                        link: Some(link),
                        origin,
                    }));
                }
                // The upstream closed the connection before a byte of the request was on it.
                Err(Some(unsent)) if used => request = unsent,
                Err(_) => return Err(SendError::Connection),
            }
        }
    }

    fn origin(&self, base: &Arc<str>) -> Result<Arc<Origin>, SendError> {
        let known = &self.0.origins;
        if let Some(origin) = known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(base)
        {
            return Ok(Arc::clone(origin));
        }
        let origin = Origin::of(base).ok_or(SendError::Address)?;
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(
            known
                .entry(Arc::clone(base))
                .or_insert_with(|| Arc::new(origin)),
        ))
    }

    async fn connect(&self, origin: &Origin) -> Result<Link, SendError> {
        let connecting = self.0.connector.clone().oneshot(origin.uri.clone());
        let io = connecting.await.map_err(|_| SendError::Connection)?;
        let (sender, connection) = http1::handshake(io)
            .await
            .map_err(|_| SendError::Connection)?;
        Ok(Link {
            sender,
            connection: Some(Box::new(connection)),
        })
    }
}

/// Closes what has been idle for long, or was closed by the upstream, until the pool is gone.
async fn sweep(pool: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let known = pool.origins.read().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(|origin| origin.sweep());
    }
}

impl Origin {
    fn of(base: &str) -> Option<Self> {
        let parts = base.parse::<Uri>().ok()?.into_parts();
        let (scheme, authority) = (parts.scheme?, parts.authority?);
        let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
        let usual = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16().filter(|port| *port != usual) {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        Some(Self {
            host: HeaderValue::from_str(&host).ok()?,
            path: path.trim_end_matches('/').to_owned(),
            uri: address(scheme, authority)?,
            idle: Mutex::default(),
        })
    }

    /// A connection that stood open until just now, the one used last: the others may then end.
    fn take(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((mut link, _)) = idle.pop() {
            if link.is_open() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((link, Instant::now()));
    }

    fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|(link, since)| since.elapsed() < IDLE && link.is_open());
    }
}

fn address(scheme: Scheme, authority: Authority) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

impl Link {
    /// Writes and reads what can be written and read now.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(&mut **connection).poll(context).is_ready()
        {
            // What it still held comes out as an error where it is waited for.
            self.connection = None;
        }
    }

    /// Whether nobody has closed it, as far as is known.
    fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// The head of the answer; as an error the request, if nothing of it was sent.
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Option<Request<Full<Bytes>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|context| {
            if let Some(moving) = connection
                && Pin::new(&mut **moving).poll(context).is_ready()
            {
                *connection = None;
            }
            answer.as_mut().poll(context)
        })
        .await
        .map_err(|mut error| error.take_message())
    }
}

/// The body of an answer. Read to its end, it gives its connection back.
pub struct Arriving {
    incoming: Incoming,
    link: Option<Link>,
    origin: Arc<Origin>,
}

impl Arriving {
    /// Reads the end of the body without keeping anybody waiting, so that the connection can be used again.
    pub fn finish(mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(None | Some(Err(_))) = Pin::new(&mut self).poll_frame(&mut context) {
            return;
        }
        tokio::spawn(async move {
            let rest = async { while let Some(Ok(_)) = self.frame().await {} };
            tokio::time::timeout(END, rest).await.ok();
        });
    }

    fn give_back(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.is_open()
        {
            self.origin.put(link);
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut next = Pin::new(&mut this.incoming).poll_frame(context);
        if next.is_pending()
            && let Some(link) = &mut this.link
        {
            link.drive(context);
            next = Pin::new(&mut this.incoming).poll_frame(context);
        }
        let frame = ready!(next);
        if frame.is_none() {
            this.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

    /// Gives so many answers on each connection before it closes it, and tells what was asked.
    async fn upstream(listener: TcpListener, answers: [usize; 2]) -> Vec<String> {
        let mut asked = Vec::new();
        for answers in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            for _ in 0..answers {
                let mut request = Vec::new();
                while !request.ends_with(b"ask") {
                    assert!(socket.read_buf(&mut request).await.unwrap() > 0);
                }
                asked.push(String::from_utf8(request).unwrap());
                socket.write_all(ANSWER).await.unwrap();
            }
        }
        asked
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base: Arc<str> = format!("http://{address}/v1/").into();
        let upstream = tokio::spawn(upstream(listener, [3, 1]));
        let pool = Pool::new(Duration::from_secs(5)).unwrap();
        let asking = async {
            for turn in 0..4 {
                let mut request = Request::new(Full::from("ask"));
                *request.method_mut() = http::Method::POST;
                let answer = pool.send(&base, "/chat", request).await.unwrap();
                let mut body = answer.into_body();
                let chunk = body.frame().await.unwrap().unwrap();
                assert_eq!(chunk.into_data().unwrap(), "hi");
                if turn == 0 {
                    body.finish();
                } else {
                    assert!(body.frame().await.is_none());
                }
                // Until the upstream has closed what it closes.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asking)
            .await
            .unwrap();
        for asked in upstream.await.unwrap() {
            assert!(asked.starts_with("POST /v1/chat HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");
        }
    }
}
