//! Limits hold whatever comes: random catalogs, settings, requests and policies against a plain checker that was written from
//! docs/routing.md alone. What is excluded must break the limit it is said to break, too.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::{Catalog, DataPolicy, Endpoint, Sources};
use tidemark_router::adapters::Dialect;
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::entrance;
use tidemark_router::piece::{ErrorKind, UpstreamError};
use tidemark_router::policy::Policy;
use tidemark_router::route::{Question, Routes};
use tidemark_router::settings::{Settings, Upstream};

const REGIONS: [&str; 5] = ["eu-west", "eu-north", "us-east", "us-west", "ap-east"];
const FORMATS: [&str; 6] = ["int4", "fp8", "fp16", "bf16", "fp32", "unknown"];
const PARAMETERS: [&str; 7] = [
    "tools",
    "structured_outputs",
    "reasoning",
    "temperature",
    "top_k",
    "seed",
    "stop",
];
const PROVIDERS: usize = 8;
const MODELS: usize = 6;

/// One world: a catalog and how its providers are reached.
struct World {
    routes: Routes,
    catalog: Arc<Catalog>,
    upstreams: Vec<Upstream>,
    /// Lanes that have asked to wait, by endpoint, region and whether that is pinned.
    resting: BTreeMap<(String, String, bool), Instant>,
    now: Instant,
}

fn some<T: Copy>(rng: &mut SmallRng, all: &[T], share: f64) -> Vec<T> {
    all.iter()
        .copied()
        .filter(|_| rng.random_bool(share))
        .collect()
}

fn quoted(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("\"{text}\"")).collect();
    quoted.join(", ")
}

fn data(rng: &mut SmallRng) -> String {
    format!(
        "data = {{ collects = {}, zdr = {} }}",
        rng.random_bool(0.5),
        rng.random_bool(0.5)
    )
}

fn price(rng: &mut SmallRng) -> String {
    let dollars = |rng: &mut SmallRng| match rng.random_range(0..4) {
        0 => "0".to_owned(),
        _ => format!("{}.{}", rng.random_range(0..4), rng.random_range(0..10)),
    };
    let tiers = if rng.random_bool(0.3) {
        let above = rng.random_range(1..2_000);
        format!(
            ", tiers = [{{ above = {above}, prompt = \"{}\", completion = \"{}\" }}]",
            dollars(rng),
            dollars(rng)
        )
    } else {
        String::new()
    };
    format!(
        "{{ from = \"2026-01-01\", prompt = \"{}\", completion = \"{}\", cache_read = \"0\", request = \"{}\"{tiers} }}",
        dollars(rng),
        dollars(rng),
        ["0", "0", "0.01"].choose(rng).unwrap()
    )
}

fn world(rng: &mut SmallRng) -> World {
    let mut providers = String::from("provider = [\n");
    for n in 0..PROVIDERS {
        let regions = quoted(&some(rng, &REGIONS, 0.6));
        let data = if rng.random_bool(0.6) {
            format!(", {}", data(rng))
        } else {
            String::new()
        };
        writeln!(
            providers,
            "  {{ slug = \"p{n}\", name = \"P{n}\", country = \"FR\", regions = [{regions}]{data} }},"
        )
        .unwrap();
    }
    let (mut models, mut endpoints) = ("model = [\n".to_owned(), "endpoint = [\n".to_owned());
    for m in 0..MODELS {
        let input = [
            vec!["text"],
            vec!["text", "image"],
            vec!["text", "image", "audio"],
        ];
        let input = quoted(input.choose(rng).unwrap());
        let max_output = rng.random_range(50..2_000);
        writeln!(
            models,
            "  {{ id = \"acme/m{m}\", name = \"M\", author = \"acme\", released = \"2026-01-01\", context_length = 4000, max_output = {max_output}, open_weights = true, input = [{input}], output = [\"text\"], tools = true, reasoning = true, status = \"live\" }},"
        )
        .unwrap();
        for n in 0..PROVIDERS {
            if rng.random_bool(0.3) {
                continue;
            }
            let regions = quoted(&some(rng, &REGIONS, 0.6));
            let mut more = String::new();
            if rng.random_bool(0.3) {
                write!(more, ", {}", data(rng)).unwrap();
            }
            if rng.random_bool(0.5) {
                write!(more, ", max_output = {}", rng.random_range(50..2_000)).unwrap();
            }
            if rng.random_bool(0.7) {
                let known = quoted(&some(rng, &PARAMETERS, 0.7));
                write!(more, ", parameters = [{known}]").unwrap();
            }
            let format = FORMATS.choose(rng).unwrap();
            let context = rng.random_range(100..4_000);
            let price = price(rng);
            writeln!(
                endpoints,
                "  {{ id = \"p{n}/m{m}\", model = \"acme/m{m}\", provider = \"p{n}\", upstream = \"m{m}\", quantization = \"{format}\", context_length = {context}, regions = [{regions}]{more}, prices = [{price}] }},"
            )
            .unwrap();
        }
    }
    for list in [&mut providers, &mut models, &mut endpoints] {
        list.push(']');
    }
    let catalog = Catalog::from_toml(Sources {
        authors: "author = [{ slug = \"acme\", name = \"Acme\", country = \"FR\" }]",
        providers: &providers,
        models: &models,
        endpoints: &endpoints,
    });
    let catalog = Arc::new(catalog.unwrap());
    let mut upstreams = Vec::new();
    for n in 0..PROVIDERS {
        let mut regions = vec![None];
        regions.extend(REGIONS.map(|region| Some(region.to_owned())));
        for region in some(rng, &[0, 1, 2, 3, 4, 5], 0.3) {
            let data = rng.random_bool(0.3).then(|| DataPolicy {
                collects: rng.random_bool(0.5),
                zdr: rng.random_bool(0.5),
            });
            upstreams.push(Upstream {
                provider: format!("p{n}"),
                dialect: Dialect::Openai,
                base_url: format!("http://p{n}-{region}.invalid"),
                region: regions[region].clone(),
                data,
                key_env: None,
                simulated: true,
            });
        }
    }
    let settings = Settings {
        upstreams: upstreams.clone(),
        ..Settings::default()
    };
    let routes = Routes::new(Arc::clone(&catalog), &settings).unwrap();
    let now = Instant::now();
    let mut resting = BTreeMap::new();
    for (_, endpoint, lane) in routes.lanes() {
        for _ in 0..rng.random_range(0..4) {
            let (kind, retry_after) = [
                (ErrorKind::Server, None),
                (ErrorKind::Timeout, None),
                (ErrorKind::RateLimited, None),
                (ErrorKind::RateLimited, Some(rng.random_range(0..30))),
            ][rng.random_range(0..4)];
            let error = UpstreamError {
                status: 0,
                kind,
                message: String::new(),
                retry_after,
            };
            lane.health.failed(now, now, &error);
            let Some(seconds) = retry_after else { continue };
            let until = now + Duration::from_secs(seconds);
            let known = resting
                .entry((endpoint.to_owned(), lane.region.clone(), lane.is_pinned))
                .or_insert(until);
            *known = until.max(*known);
        }
    }
    World {
        routes,
        catalog,
        upstreams,
        resting,
        now,
    }
}

fn places(rng: &mut SmallRng) -> Vec<String> {
    (0..rng.random_range(1..6))
        .map(|_| {
            let provider = rng.random_range(0..PROVIDERS);
            if rng.random_bool(0.2) {
                format!("p{provider}/{}", REGIONS.choose(rng).unwrap())
            } else {
                format!("p{provider}")
            }
        })
        .collect()
}

fn request(rng: &mut SmallRng) -> Value {
    let mut provider = Map::new();
    let mut maybe = |rng: &mut SmallRng, share: f64, name: &str, value: Value| {
        if rng.random_bool(share) {
            provider.insert(name.to_owned(), value);
        }
    };
    let (order, only, ignore) = (json!(places(rng)), json!(places(rng)), json!(places(rng)));
    maybe(rng, 0.15, "order", order);
    maybe(rng, 0.15, "only", only);
    maybe(rng, 0.15, "ignore", ignore);
    let flags = [
        rng.random_bool(0.5),
        rng.random_bool(0.5),
        rng.random_bool(0.5),
    ];
    maybe(rng, 0.2, "allow_fallbacks", json!(flags[0]));
    maybe(rng, 0.2, "require_parameters", json!(flags[1]));
    maybe(rng, 0.25, "zdr", json!(flags[2]));
    maybe(rng, 0.15, "data_collection", json!("deny"));
    let formats = json!(some(rng, &FORMATS, 0.6));
    maybe(rng, 0.2, "quantizations", formats);
    let regions = [
        json!(["eu-*"]),
        json!(["us-east", "ap-east"]),
        json!(["eu-west"]),
    ];
    let regions = regions.choose(rng).unwrap().clone();
    maybe(rng, 0.2, "regions", regions);
    let sort = [
        json!("price"),
        json!("latency"),
        json!({"by": "throughput", "partition": "none"}),
    ];
    let sort = sort.choose(rng).unwrap().clone();
    maybe(rng, 0.3, "sort", sort);
    let mut price = Map::new();
    for name in ["prompt", "completion", "request"] {
        if rng.random_bool(0.5) {
            price.insert(
                name.to_owned(),
                json!(f64::from(rng.random_range(0..40)) / 10.0),
            );
        }
    }
    maybe(rng, 0.3, "max_price", json!(price));
    maybe(rng, 0.2, "preferred_max_latency", json!(0.5));

    let mut content =
        vec![json!({"type": "text", "text": "x".repeat(rng.random_range(1..20_000))})];
    for (share, part) in [
        (
            0.1,
            json!({"type": "image_url", "image_url": {"url": "https://x"}}),
        ),
        (
            0.05,
            json!({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
        ),
    ] {
        if rng.random_bool(share) {
            content.push(part);
        }
    }
    let suffix = ["", "", "", "", ":free", ":floor", ":nitro"]
        .choose(rng)
        .unwrap();
    let mut body = json!({
        "model": format!("acme/m{}{suffix}", rng.random_range(0..MODELS)),
        "messages": [{"role": "user", "content": content}],
        "provider": provider,
    });
    let object = body.as_object_mut().unwrap();
    if rng.random_bool(0.3) {
        let others: Vec<String> = (0..rng.random_range(1..4))
            .map(|_| format!("acme/m{}", rng.random_range(0..MODELS)))
            .collect();
        object.insert("models".to_owned(), json!(others));
    }
    for (share, name, value) in [
        (0.5, "max_tokens", json!(rng.random_range(1..2_500))),
        (0.3, "temperature", json!(0.5)),
        (0.2, "top_k", json!(3)),
        (0.2, "seed", json!(1)),
        (0.2, "stop", json!("x")),
        (0.2, "response_format", json!({"type": "json_object"})),
        (0.2, "reasoning_effort", json!("low")),
        (
            0.2,
            "tools",
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
        ),
    ] {
        if rng.random_bool(share) {
            object.insert(name.to_owned(), value);
        }
    }
    body
}

fn policy(rng: &mut SmallRng) -> Policy {
    let providers = |rng: &mut SmallRng, share: f64| -> Vec<String> {
        if rng.random_bool(0.8) {
            return Vec::new();
        }
        let all: Vec<usize> = (0..PROVIDERS).collect();
        let some = some(rng, &all, share);
        some.into_iter().map(|n| format!("p{n}")).collect()
    };
    Policy {
        models: if rng.random_bool(0.1) {
            vec!["acme/m0".to_owned(), "other/*".to_owned()]
        } else {
            Vec::new()
        },
        providers: providers(rng, 0.6),
        ignore: providers(rng, 0.3),
        zdr: rng.random_bool(0.1),
        deny_data_collection: rng.random_bool(0.1),
        sampling: false,
        within: None,
    }
}

/// Every limit that a lane breaks, from the body, the policy and the catalog as they are written.
fn broken(
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

fn question<'a>(
    world: &'a World,
    ask: &'a Ask,
    policy: &'a Policy,
    at: DateTime<Utc>,
    seed: u64,
) -> Question<'a> {
    Question {
        ask,
        named: world.routes.named(&ask.model, at).unwrap(),
        policy,
        account: "acme",
        at,
        now: world.now,
        seed,
        attempts: 1_000,
    }
}

#[test]
fn limits_hold_for_100_000_random_requests() {
    let at: DateTime<Utc> = "2026-06-01T12:00:00Z".parse().unwrap();
    let mut rng = SmallRng::seed_from_u64(4);
    let (mut requests, mut lanes, mut excluded, mut contradictory, mut refused) = (0, 0, 0, 0, 0);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    while requests < 100_000 {
        let world = world(&mut rng);
        for _ in 0..1_000 {
            requests += 1;
            let (body, policy, seed) = (request(&mut rng), policy(&mut rng), rng.random());
            let ask = entrance::ask(Operation::Chat, body.to_string().as_bytes()).unwrap();
            let question = question(&world, &ask, &policy, at, seed);
            let mut plan = match world.routes.decide(&question) {
                Ok(plan) => plan,
                Err(refusal) => {
                    // What contradicts itself names the field.
                    assert_eq!(refusal.status, 400, "{body}");
                    assert!(refusal.param.unwrap().starts_with("provider."), "{body}");
                    contradictory += 1;
                    continue;
                }
            };
            let order: Vec<u64> = plan
                .lanes()
                .iter()
                .map(|lane| lane.candidate.lane.key)
                .collect();
            for lane in plan.lanes() {
                let candidate = &lane.candidate;
                let broken = broken(
                    &world,
                    &body,
                    &policy,
                    candidate.endpoint,
                    &candidate.lane.region,
                    candidate.lane.is_pinned,
                );
                assert!(
                    broken.is_empty(),
                    "{} breaks {broken:?}: {body} {policy:?}",
                    candidate.endpoint.id
                );
                lanes += 1;
            }
            for lane in plan.excluded() {
                excluded += 1;
                *seen.entry(lane.by.as_str()).or_default() += 1;
                let reached = |upstream: &Upstream| upstream.provider == lane.endpoint.provider;
                if lane.by.as_str() == "no_upstream" {
                    continue;
                }
                assert!(world.upstreams.iter().any(reached));
                let is_broken = [true, false].into_iter().any(|is_pinned| {
                    let pinned = is_pinned.then_some(lane.region);
                    world
                        .upstreams
                        .iter()
                        .any(|up| reached(up) && up.region.as_deref() == pinned)
                        && broken(
                            &world,
                            &body,
                            &policy,
                            lane.endpoint,
                            lane.region,
                            is_pinned,
                        )
                        .contains(&lane.by.as_str())
                });
                assert!(
                    is_broken,
                    "{} does not break {}: {body}",
                    lane.endpoint.id,
                    lane.by.as_str()
                );
            }
            let again = world.routes.decide(&question).unwrap();
            let keys: Vec<u64> = again
                .lanes()
                .iter()
                .map(|lane| lane.candidate.lane.key)
                .collect();
            assert_eq!(order, keys, "the same seed gives the same order");
            // Handed out: each lane once at most, and none but these.
            let mut handed = Vec::new();
            while let Some(candidate) = plan.next_lane() {
                assert!(
                    order.contains(&candidate.lane.key) && !handed.contains(&candidate.lane.key)
                );
                handed.push(candidate.lane.key);
            }
            assert_eq!(handed.len(), order.len());
            if let Err(refusal) = world.routes.plan(&question) {
                refused += 1;
                let availability = &refusal.metadata["availability"];
                let constraint = availability["constraint"].as_str().unwrap();
                let by = availability["excluded_by"].as_object().unwrap();
                assert!(
                    order.is_empty() && (by.is_empty() || by.contains_key(constraint)),
                    "{availability}"
                );
            }
        }
    }
    println!(
        "{requests} requests: {lanes} lanes within all limits, {excluded} excluded, {refused} without a lane, {contradictory} contradictory; by limit {seen:?}"
    );
    // A test that meets a limit never proves nothing of it.
    for limit in tidemark_router::route::limits::Exclusion::ALL {
        let name = limit.as_str();
        assert!(
            name == "no_price" || seen.get(name).is_some_and(|n| *n > 100),
            "{name}: {seen:?}"
        );
    }
    assert!(lanes > 100_000);
}
