//! Simulated upstream providers over HTTP, for demos, tests and benchmarks of a router.
//!
//! One listener serves them all. The base URL of a provider is `http://ADDR/{provider}/v1`, for the Gemini dialect
//! `http://ADDR/{provider}/v1beta`; below it is what the real one has: `/chat/completions` and `/embeddings`,
//! `/messages`, `/models/{model}:generateContent` and `:streamGenerateContent`. With `{provider}@{region}` in the place of
//! `{provider}`, a region is asked as an upstream of its own: it has its behaviour, its prompt cache and its line in the books.
//! `GET http://ADDR/ledger` shows the [`Ledger`] as JSON. No key is checked.
//!
//! What happens to a request follows from the [`Script`], the seed, the endpoint and how many requests the endpoint
//! got before, so that a run can be repeated. A test can also say what is to happen to one request:
//!
//! | header | word in the last user message | |
//! |---|---|---|
//! | `x-sim: WORDS` | `[sim: WORDS]` | any of the words below, separated by blanks |
//! | `x-sim-tokens: N` | `tokens=N` | length of the text |
//! | `x-sim-chunk-ms: N` | `chunk-ms=N` | pause between parts of a stream |
//! | `x-sim-ttft-ms: N` | `ttft-ms=N` | time to the first token |
//! | `x-sim-region: R` | | region whose behaviour applies |
//!
//! | word | what happens |
//! |---|---|
//! | `ok` | nothing bad |
//! | `429`, `500`, `503`, any from 400 to 599 | that status, in the dialect's error shape; `retry-after=N` sets the seconds |
//! | `hang`, `stall` | no answer at all; half an answer, then nothing, connection open |
//! | `cut`, `cut=3`, `cut=100b` | the connection breaks half-way, after 3 parts (of a whole answer: half-way), after 100 bytes |
//! | `refuse` | the API says that the model declined (Gemini has no words for it: prose) |
//! | `filter` | the provider's filter stops the answer (Anthropic: an error) |
//! | `refuse-text` | declined in prose |
//! | `bad-json`, `unknown-tool`, `schema-mismatch` | the first tool call is wrong in that way (Gemini ends with `MALFORMED_FUNCTION_CALL` for the first) |
//! | `ignore-tools` | text although tools were required |
//! | `length` | stopped by the token limit |
//! | `html` | a web page with status 200 |
//! | `half-sse` | ends cleanly in the middle of a line (of a whole answer: half of it) |
//! | `wrong-type` | the right body as `text/plain` |
//! | `error-200` | an error with status 200 and nothing else |
//! | `error-in-stream` | half a stream, then an error |
//! | `endless` | never ends |
//! | `no-usage` | no token counts; goes together with any other |
//! | `reasoning=N` | tokens of thinking |
//!
//! Whole providers are switched by `POST http://ADDR/control`, from outside and while they run. `behaviour` has the fields of the
//! script, and lies over what the script says; `region` and `duration_s` may be left out. Without `behaviour` all is as before.
//! The answer, as that to `GET`, lists what is on:
//!
//! ```json
//! {"provider": "groq", "region": "us-west", "behaviour": {"slowdown": 20, "server_error": 0.3}, "duration_s": 60}
//! ```
//!
//! A request that says anything is left alone by chance: no fault but the named one, tools are called where they may
//! be, several where several are offered. Delays that a request names are not scaled by the script's speed. Words that
//! are not known are answered 400. After a tool's result the answer is text, so that agents come to an end.
//!
//! Token counts: a prompt counts a token for four characters of each message and tool, an answer one for each word, or
//! for four characters where it is JSON or a refusal.

mod answer;
mod anthropic;
mod ask;
mod behave;
mod behaviour;
mod body;
mod cache;
mod control;
mod demo;
mod dialect;
mod directive;
mod embeddings;
mod fault;
mod frames;
mod gemini;
mod instance;
mod ledger;
mod openai;
mod published;
mod reply;
mod script;
mod server;
mod values;
mod words;

pub use answer::Tokens;
pub use behaviour::Behaviour;
pub use ledger::{Ending, Entry, Ledger, Served};
pub use script::{Dialect, Script, ScriptError};
pub use values::{Amount, Brownout, Chance, Drift, Law};

use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Simulated providers, ready to serve.
#[derive(Debug)]
pub struct Providers {
    script: Script,
    seed: u64,
    ledger: Arc<Ledger>,
}

impl Providers {
    /// Providers that follow a script. The same seed gives the same behaviour, request by request.
    pub fn new(script: Script, seed: u64) -> Self {
        Self {
            script,
            seed,
            ledger: Arc::default(),
        }
    }

    /// What they did and billed; stays readable after they have stopped.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Serves until `shutdown` comes, and a little longer for answers that are under way.
    ///
    /// # Errors
    /// None at present; a failed accept is tried again.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future) -> io::Result<()> {
        server::serve(
            server::House::new(self.script, self.seed, self.ledger),
            listener,
            shutdown,
        )
        .await
    }
}
