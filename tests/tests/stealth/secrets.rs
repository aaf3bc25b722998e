//! Models behind aliases, and providers that serve them badly.

use super::*;

/// A model that nobody knows of, at a provider that nobody knows of.
pub const HIDDEN: &str = "zephyr-labs/zephyr-9";
pub const QUIET: &str = "stealth/quiet-heron";
/// One that everybody knows.
pub const KNOWN: &str = "anthropic/claude-sonnet-4.5";
pub const GREY: &str = "stealth/grey-owl";
pub const ACCOUNTS: usize = 12;

/// The operator's file.
pub fn secrets(revealed: Option<DateTime<Utc>>) -> String {
    let revealed = revealed.map_or(String::new(), |at| {
        format!(", revealed = \"{}\"", at.to_rfc3339())
    });
    format!(
        r#"
author = [{{ slug = "zephyr-labs", name = "Zephyr Labs", country = "NZ" }}]
provider = [{{ slug = "zephyr", name = "Zephyr Cloud", country = "NZ", regions = ["zephyr-east"] }}]
model = [{{ id = "{HIDDEN}", name = "Zephyr 9", author = "zephyr-labs", released = "2026-01-01", context_length = 100000, max_output = 4000, open_weights = true, input = ["text"], output = ["text"], tools = true, reasoning = false, status = "live" }}]
endpoint = [{{ id = "zephyr/zephyr-9", model = "{HIDDEN}", provider = "zephyr", upstream = "zephyr-9-preview", quantization = "fp8", context_length = 100000, regions = ["zephyr-east"], prices = [{{ from = "2026-01-01", prompt = "1", completion = "2" }}] }}]
alias = [
  {{ id = "{QUIET}", name = "Quiet Heron", description = "A model in the making.", of = "{HIDDEN}", released = "2026-11-01"{revealed} }},
  {{ id = "{GREY}", name = "Grey Owl", of = "{KNOWN}", released = "2026-11-01"{revealed} }},
]
"#
    )
}

pub fn catalog(revealed: Option<DateTime<Utc>>) -> Arc<Catalog> {
    let catalog = Catalog::builtin().unwrap();
    Arc::new(catalog.with_aliases(&secrets(revealed)).unwrap())
}

/// Both providers fail now and then, in their own words.
pub const SCRIPT: &str = r#"
speed = 0
[behaviour]
server_error = 0.1
rate_limited = 0.05
retry_after_s = 0
cut = 0.1
error_200 = 0.05
filter = 0.05
refuse = 0.05
[provider.zephyr]
dialect = "openai_compatible"
any_model = true
[provider.anthropic]
dialect = "anthropic"
any_model = true
[provider.anthropic.model."claude-sonnet-4-5"]
reasoning = true
"#;
