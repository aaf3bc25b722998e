//! The limits once more, written from docs/routing.md alone.

use super::*;

/// Every limit that a lane breaks, from the body, the policy and the catalog as they are written.
pub fn broken(
    world: &World,
    body: &Value,
    policy: &Policy,
    endpoint: &Endpoint,
    region: &str,
    is_pinned: bool,
) -> Vec<&'static str> {
    let provider = &body["provider"];
    let upstream = world
        .upstreams
        .iter()
        .find(|upstream| {
            upstream.provider == endpoint.provider
                && upstream.region.as_deref() == is_pinned.then_some(region)
        })
        .unwrap();
    let model = world.catalog.model(&endpoint.model).unwrap();
    let mut broken = Vec::new();
    let mut limit = |name, is_broken: bool| {
        if is_broken {
            broken.push(name);
        }
    };
    let names = |field: &str| -> Vec<String> {
        let list = provider[field].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let there = format!("{}/{region}", endpoint.provider);
    let is_in = |field: &str, unsure: bool| {
        names(field).iter().any(|name| {
            *name == endpoint.provider
                || (is_pinned && *name == there)
                || (unsure && !is_pinned && name.split('/').next() == Some(&endpoint.provider))
        })
    };
    let models = &policy.models;
    limit(
        "policy",
        (!models.is_empty() && !models.contains(&endpoint.model))
            || (!policy.providers.is_empty() && !policy.providers.contains(&endpoint.provider))
            || policy.ignore.contains(&endpoint.provider),
    );
    limit("only", !names("only").is_empty() && !is_in("only", false));
    limit("ignore", is_in("ignore", true));
    limit(
        "order",
        provider["allow_fallbacks"] == false
            && !names("order").is_empty()
            && !is_in("order", false),
    );
    let within = |wanted: &String| match wanted.strip_suffix('*') {
        Some(begin) => region.starts_with(begin),
        None => region == wanted,
    };
    let regions = names("regions");
    limit(
        "regions",
        !(regions.is_empty() || is_pinned && regions.iter().any(within)),
    );
    let data = upstream
        .data
        .or(endpoint.data)
        .unwrap_or(world.catalog.provider(&endpoint.provider).unwrap().data);
    let deny = provider["data_collection"] == "deny" || policy.deny_data_collection;
    limit("data_collection", deny && data.collects && !data.zdr);
    limit("zdr", (provider["zdr"] == true || policy.zdr) && !data.zdr);
    let formats = names("quantizations");
    let format = format!("{:?}", endpoint.quantization).to_lowercase();
    limit(
        "quantizations",
        !formats.is_empty() && !formats.contains(&format),
    );
    let parts = body["messages"][0]["content"].as_array().unwrap();
    let holds = |kind: &str| parts.iter().any(|part| part["type"] == kind);
    let takes = |kind: &str| format!("{:?}", model.input).contains(kind);
    limit(
        "modality",
        (holds("image_url") && !takes("Image")) || (holds("input_audio") && !takes("Audio")),
    );
    let prompt = parts[0]["text"].as_str().unwrap().len() as u64;
    let most = endpoint.max_output.unwrap_or(model.max_output);
    let max_tokens = body["max_tokens"].as_u64();
    let answer = max_tokens.unwrap_or(0).min(most);
    limit(
        "context_length",
        prompt / 8 + answer > endpoint.context_length,
    );
    limit("max_output", max_tokens.is_some_and(|asked| asked > most));
    let known = endpoint.parameters.clone().unwrap_or_default();
    let used = [
        ("temperature", "temperature"),
        ("top_k", "top_k"),
        ("seed", "seed"),
        ("stop", "stop"),
        ("response_format", "structured_outputs"),
        ("reasoning_effort", "reasoning"),
        ("tools", "tools"),
    ];
    let lacks = |(field, name): &(&str, &str)| {
        !body[*field].is_null() && !known.iter().any(|known| known == name)
    };
    limit(
        "require_parameters",
        provider["require_parameters"] == true && used.iter().any(lacks),
    );
    let price = &endpoint.prices[0];
    let asked: Vec<&str> = [&body["model"]]
        .into_iter()
        .chain(body["models"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let named = asked
        .iter()
        .find(|name| name.split(':').next() == Some(&endpoint.model))
        .unwrap();
    let reached = price
        .tiers
        .iter()
        .filter(|tier| prompt > tier.above || holds("image_url") || holds("input_audio"));
    let worst = reached.fold((price.prompt, price.completion), |worst, tier| {
        (worst.0.max(tier.prompt), worst.1.max(tier.completion))
    });
    let all = price
        .tiers
        .iter()
        .map(|tier| tier.prompt + tier.completion)
        .sum::<i64>();
    limit(
        "free",
        named.ends_with(":free") && price.prompt + price.completion + price.request + all > 0,
    );
    let over = |name: &str, nano: i64| {
        provider["max_price"][name]
            .as_f64()
            .is_some_and(|max| nano as f64 > max * 1e9 + 0.5)
    };
    limit(
        "max_price",
        over("prompt", worst.0) || over("completion", worst.1) || over("request", price.request),
    );
    let lane = (endpoint.id.clone(), region.to_owned(), is_pinned);
    let rest = world.resting.get(&lane);
    limit("rate_limited", rest.is_some_and(|until| *until > world.now));
    broken
}
