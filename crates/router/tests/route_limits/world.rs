//! Random worlds, and random requests and policies for them.

use super::*;

pub const REGIONS: [&str; 5] = ["eu-west", "eu-north", "us-east", "us-west", "ap-east"];
pub const FORMATS: [&str; 6] = ["int4", "fp8", "fp16", "bf16", "fp32", "unknown"];
pub const PARAMETERS: [&str; 7] = [
    "tools",
    "structured_outputs",
    "reasoning",
    "temperature",
    "top_k",
    "seed",
    "stop",
];
pub const PROVIDERS: usize = 8;
pub const MODELS: usize = 6;

/// One world: a catalog and how its providers are reached.
pub struct World {
    pub routes: Routes,
    pub catalog: Arc<Catalog>,
    pub upstreams: Vec<Upstream>,
    /// Lanes that have asked to wait, by endpoint, region and whether that is pinned.
    pub resting: BTreeMap<(String, String, bool), Instant>,
    pub now: Instant,
}

pub fn some<T: Copy>(rng: &mut SmallRng, all: &[T], share: f64) -> Vec<T> {
    all.iter()
        .copied()
        .filter(|_| rng.random_bool(share))
        .collect()
}

pub fn quoted(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("\"{text}\"")).collect();
    quoted.join(", ")
}

pub fn data(rng: &mut SmallRng) -> String {
    format!(
        "data = {{ collects = {}, zdr = {} }}",
        rng.random_bool(0.5),
        rng.random_bool(0.5)
    )
}

pub fn price(rng: &mut SmallRng) -> String {
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

pub fn world(rng: &mut SmallRng) -> World {
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

pub fn places(rng: &mut SmallRng) -> Vec<String> {
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

pub fn request(rng: &mut SmallRng) -> Value {
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

pub fn policy(rng: &mut SmallRng) -> Policy {
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
