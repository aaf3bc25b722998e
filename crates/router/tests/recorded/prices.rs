//! Published prices of real usage bodies.

use super::*;

/// The day the published prices are of; prices that begin later are not in force.
const PRICED_ON: &str = "2026-07-01";

/// A decimal number times 10^18.
fn exact(text: &str) -> i128 {
    let (digits, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, 0_i32), |(digits, e)| (digits, e.parse().unwrap()));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = 18 + exponent - i32::try_from(fraction.len()).unwrap();
    format!("{whole}{fraction}").parse::<i128>().unwrap()
        * 10_i128.pow(u32::try_from(places).unwrap())
}

/// A price per token, times 10^18, in the tier of the prompt's size.
fn price(prices: &Value, key: &str, prompt: u64) -> Option<i128> {
    let value = prices.get(key)?;
    let number = match value.get("tiers").and_then(Value::as_array) {
        None => value,
        Some(tiers) => tiers
            .iter()
            .rev()
            .find(|t| prompt > count(t, "/start"))
            .map_or(&value["base"], |t| &t["price"]),
    };
    Some(exact(&number.to_string()) / 1_000_000)
}

fn priced(prices: &Value, usage: Usage) -> (i128, i128) {
    let of = |key: &str| price(prices, key, usage.prompt);
    let (mut input, mut rest) = (0, i128::from(usage.prompt));
    for (key, tokens) in [
        ("cache_read_mtok", usage.cached),
        ("cache_write_mtok", usage.cache_write),
        ("input_audio_mtok", usage.audio_prompt),
    ] {
        if let Some(price) = of(key) {
            input += price * i128::from(tokens);
            rest -= i128::from(tokens);
        }
    }
    input += of("input_mtok").unwrap_or(0) * rest;
    let (mut output, mut rest) = (0, i128::from(usage.completion));
    if let Some(price) = of("output_audio_mtok") {
        output += price * i128::from(usage.audio_completion);
        rest -= i128::from(usage.audio_completion);
    }
    (input, output + of("output_mtok").unwrap_or(0) * rest)
}

fn matches(rule: &Value, model: &str) -> bool {
    let (kind, value) = rule.as_object().unwrap().iter().next().unwrap();
    let word = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "or" => value
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| matches(rule, model)),
        "and" => value
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| matches(rule, model)),
        "equals" => model == word,
        "starts_with" => model.starts_with(word),
        "ends_with" => model.ends_with(word),
        "contains" => model.contains(word),
        // The few there are: literal text, then digits.
        "regex" => {
            let (literal, digits) = word
                .strip_prefix('^')
                .unwrap()
                .split_once("\\d")
                .unwrap_or_else(|| panic!("{word}"));
            let Some(tail) = model.strip_prefix(&literal.replace("\\.", ".")) else {
                return false;
            };
            match digits {
                "{8}$" => tail.len() == 8 && tail.bytes().all(|b| b.is_ascii_digit()),
                "" => tail.starts_with(|c: char| c.is_ascii_digit()),
                _ => panic!("{word}"),
            }
        }
        _ => panic!("{kind}"),
    }
}

fn prices<'a>(providers: &'a [Value], provider: &str, model: &str) -> Option<&'a Value> {
    let provider = providers.iter().find(|p| p["id"] == provider)?;
    let found = provider["models"]
        .as_array()?
        .iter()
        .find(|m| matches(&m["match"], model));
    let Some(found) = found else {
        let fallbacks = provider
            .get("fallback_model_providers")
            .and_then(Value::as_array);
        return fallbacks
            .into_iter()
            .flatten()
            .find_map(|p| prices(providers, p.as_str()?, model));
    };
    let Some(list) = found["prices"].as_array() else {
        return Some(&found["prices"]);
    };
    let in_force = |entry: &&Value| match entry
        .pointer("/constraint/start_date")
        .and_then(Value::as_str)
    {
        Some(date) => date <= PRICED_ON,
        // No constraint, or a time of day: published in the dear hours, which stand last.
        None => true,
    };
    list.iter()
        .rev()
        .find(in_force)
        .map(|entry| &entry["prices"])
}

#[test]
fn published_prices() {
    let (Some(usages), Some(list)) = (
        data("usage_bodies/usages.json.gz"),
        data("usage_bodies/data.json"),
    ) else {
        return;
    };
    let usages: Vec<Value> = serde_json::from_str(&gunzip(&usages)).unwrap();
    let providers: Vec<Value> = serde_json::from_str(&fs::read_to_string(list).unwrap()).unwrap();
    let mut tally = Tally::default();
    let mut claimed_bodies = 0;
    for usage in &usages {
        let body = &usage["body"];
        let model = string(usage, "/model").to_lowercase();
        let mut claimed_body = false;
        for extracted in usage["extracted"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|e| e["extractors"].as_array().unwrap())
        {
            let (provider, flavor) = (
                string(extracted, "/provider_id"),
                string(extracted, "/api_flavor"),
            );
            let (dialect, reply) = match (provider, flavor) {
                _ if extracted.get("input_price").is_none() => {
                    tally.left("no published price");
                    continue;
                }
                (_, "responses") => {
                    tally.left("OpenAI Responses API");
                    continue;
                }
                ("aws", "default") | ("cohere", _) => {
                    tally.left("Bedrock converse, Cohere");
                    continue;
                }
                ("google", "default") => (
                    Dialect::Gemini,
                    json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": body["usageMetadata"]}),
                ),
                (_, "anthropic") | ("anthropic" | "minimax", "default") => (
                    Dialect::Anthropic,
                    json!({"type": "message", "content": [], "usage": body["usage"]}),
                ),
                (_, "embeddings") => (
                    Dialect::Openai,
                    json!({"data": [{"embedding": []}], "usage": body["usage"]}),
                ),
                ("openai" | "azure", _) => (
                    Dialect::Openai,
                    json!({"choices": [{"message": {}}], "usage": body["usage"]}),
                ),
                _ => (
                    Dialect::OpenaiCompatible,
                    json!({"choices": [{"message": {}}], "usage": body["usage"]}),
                ),
            };
            let Some(prices) = prices(&providers, provider, &model) else {
                tally.left("data.json has no price for the model");
                continue;
            };
            if dialect == Dialect::Gemini && model.contains("-image") {
                tally.left("image models: data.json has one output price where the published ones have two");
                continue;
            }
            // Two gaps, both known: what is priced beside them is compared.
            if provider == "azure"
                && flavor == "chat"
                && count(body, "/usage/prompt_tokens_details/cache_write_tokens") > 0
            {
                tally.left(
                    "OpenAI's counts of cache writes, which the published Azure price leaves out",
                );
                continue;
            }
            let in_cache = body
                .pointer("/usageMetadata/cacheTokensDetails")
                .and_then(Value::as_array);
            if in_cache
                .into_iter()
                .flatten()
                .any(|detail| detail["modality"] == "AUDIO")
            {
                tally.left("Gemini audio read from the cache: `Usage` has no count for it");
                continue;
            }
            let operation = if flavor == "embeddings" {
                Operation::Embeddings
            } else {
                Operation::Chat
            };
            let pieces = adapter(dialect)
                .reply(&ask(operation, json!({})), reply.to_string().as_bytes())
                .unwrap();
            let found = pieces.iter().rev().find_map(|p| {
                if let Piece::Usage(usage) = p {
                    Some(*usage)
                } else {
                    None
                }
            });
            let mut found = found.unwrap_or_default();
            if operation == Operation::Embeddings {
                found = Usage {
                    prompt: found.prompt,
                    ..Usage::default()
                };
            }
            claimed_body = true;
            let (input, output) = priced(prices, found);
            let published = (
                exact(string(extracted, "/input_price")),
                extracted["output_price"].as_str().map_or(0, exact),
            );
            let problem = ((input, output) != published)
                .then(|| format!("{input}+{output} instead of {published:?} for {body}"));
            let group = if provider.starts_with("huggingface") {
                "huggingface"
            } else {
                provider
            };
            tally.claimed(
                &format!("{dialect:?} {group}/{flavor}"),
                &format!("{provider}/{flavor} {model}"),
                problem,
            );
        }
        claimed_bodies += u32::from(claimed_body);
    }
    eprintln!(
        "genai-prices: {} bodies, {claimed_bodies} of them claimed",
        usages.len()
    );
    tally.report("genai-prices, prices");
}
