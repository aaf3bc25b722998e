//! Named points where a test harness makes the journal crash, fail or misbehave.
//!
//! Without the cargo feature `failpoints` every function here is a constant `false`.

/// Whether the failpoint `name` is set to `return`.
pub(crate) fn is_set(name: &'static str) -> bool {
    fail::fail_point!(name, |_| true);
    // Without the feature the macro is empty and the name would be unused.
    let _ = name;
    false
}

/// Dies on the spot, like `kill -9`, if the failpoint `name` is set to `return`.
pub(crate) fn crash_point(name: &'static str) {
    if is_set(name) {
        std::process::abort();
    }
}

/// Whether writes stay in process memory until they are synced, so that killing the process loses
/// what a power cut would lose. Only ever true with the feature on.
pub(crate) fn volatile_page_cache() -> bool {
    cfg!(feature = "failpoints")
        && std::env::var_os("TIDEMARK_VOLATILE_PAGE_CACHE").is_some_and(|value| value == "1")
}
