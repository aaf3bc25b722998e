//! Whatever a client sends, a provider gets a request that it can read, or the client an error that repeats nothing of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::request;

fuzz_target!(|data: &[u8]| request::check(data));
