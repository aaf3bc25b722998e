//! Whatever a provider of this dialect sends, the client gets an answer or an error that it can read, and the event counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::answer;
use tidemark_router::adapters::Dialect;

fuzz_target!(|data: &[u8]| answer::check(Dialect::Openai, data));
