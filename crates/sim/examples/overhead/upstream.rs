//! An OpenAI-compatible upstream on one thread. What it answers is written in the prompt: `[chunks 20 every 2000]` is a stream
//! of 20 chunks, 2,000 microseconds apart; without it, an answer of about one kilobyte. Each chunk carries the time it left.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until the process is ended.
pub fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(address).await?;
            loop {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                tokio::spawn(
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(socket), service_fn(answer)),
                );
            }
        })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let number = |name: &str| -> Option<u64> {
        let rest = text.split_once(name)?.1;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let (kind, body) = match number("[chunks ") {
        Some(chunks) => {
            let every = Duration::from_micros(number(" every ").unwrap_or(0));
            let body = Chunks::new(chunks, every).boxed_unsync();
            ("text/event-stream", body)
        }
        None => ("application/json", Full::from(whole()).boxed_unsync()),
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

/// One kilobyte, as a chat answer.
fn whole() -> Bytes {
    let words = "The tide comes in and the tide goes out. ".repeat(16);
    Bytes::from(format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":20,"completion_tokens":160,"total_tokens":180}}}}"#
    ))
}

struct Chunks {
    sent: u64,
    chunks: u64,
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Chunks {
    fn new(chunks: u64, every: Duration) -> Self {
        Self {
            sent: 0,
            chunks,
            every,
            next: Box::pin(tokio::time::sleep(every)),
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const HEAD: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench","choices":"#;
        if self.sent > self.chunks {
            return Poll::Ready(None);
        }
        if !self.every.is_zero() && self.sent < self.chunks {
            ready!(self.next.as_mut().poll(context));
            let next = Instant::now() + self.every;
            self.next.as_mut().reset(next);
        }
        self.sent += 1;
        let text = if self.sent <= self.chunks {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            format!(
                "{HEAD}[{{\"index\":0,\"delta\":{{\"content\":\" t={};\"}},\"finish_reason\":null}}]}}\n\n",
                now.as_nanos()
            )
        } else {
            format!(
                "{HEAD}[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n{HEAD}[],\"usage\":{{\"prompt_tokens\":20,\"completion_tokens\":{n},\"total_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
                self.chunks + 20,
                n = self.chunks
            )
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}
