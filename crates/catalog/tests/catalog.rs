//! The built-in catalog holds what it promises, and each kind of fault is refused by name.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tidemark_catalog::{Catalog, CatalogError, Kind, Sources, Status, Tokens};

const AUTHORS: &str = r#"author = [{ slug = "acme", name = "Acme", country = "FR" }]"#;
const PROVIDERS: &str =
    r#"provider = [{ slug = "host", name = "Host", country = "US", regions = ["us-east"] }]"#;

fn model(id: &str, more: &str) -> String {
    format!(
        r#"{{ id = "{id}", name = "One", author = "acme", released = "2026-01-01", context_length = 1000,
        max_output = 100, open_weights = true, input = ["text"], output = ["text"], tools = true,
        reasoning = false, status = "live"{more} }},"#
    )
    .replace('\n', " ")
}

fn endpoint(provider: &str, model: &str, prices: &str) -> String {
    let slug = model.split('/').next_back().unwrap();
    format!(
        r#"{{ id = "{provider}/{slug}", model = "{model}", provider = "{provider}", upstream = "{slug}",
        quantization = "fp8", context_length = 1000, regions = ["us-east"], prices = [{prices}] }},"#
    )
    .replace('\n', " ")
}

const PRICE: &str = r#"{ from = "2026-01-01", prompt = "1", completion = "2" }"#;

fn load(models: &[String], endpoints: &[String]) -> Result<Catalog, CatalogError> {
    Catalog::from_toml(Sources {
        authors: AUTHORS,
        providers: PROVIDERS,
        models: &format!("model = [\n{}\n]", models.join("\n")),
        endpoints: &format!("endpoint = [\n{}\n]", endpoints.join("\n")),
    })
}

/// Loads a catalog of one good model and the given prices of its one endpoint.
fn load_prices(prices: &str) -> Result<Catalog, CatalogError> {
    load(
        &[model("acme/one", "")],
        &[endpoint("host", "acme/one", prices)],
    )
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn the_builtin_catalog_is_wide_enough() {
    let catalog = Catalog::builtin().unwrap();
    let authors: HashSet<_> = catalog.models().iter().map(|model| &model.author).collect();
    let providers: HashSet<_> = catalog
        .endpoints()
        .iter()
        .map(|endpoint| &endpoint.provider)
        .collect();
    assert!(
        catalog.models().len() >= 80,
        "{} models",
        catalog.models().len()
    );
    assert!(
        catalog.endpoints().len() >= 200,
        "{} endpoints",
        catalog.endpoints().len()
    );
    assert!(authors.len() >= 15 && authors.len() == catalog.authors().len());
    assert!(providers.len() >= 20 && providers.len() == catalog.providers().len());
}

#[test]
fn every_builtin_model_is_served_and_priced_from_its_release() {
    let catalog = Catalog::builtin().unwrap();
    for model in catalog.models() {
        let day = model.released.and_hms_opt(0, 0, 0).unwrap().and_utc();
        let mut endpoints = catalog.endpoints_of(&model.id).peekable();
        assert!(endpoints.peek().is_some(), "{} has no endpoint", model.id);
        for endpoint in endpoints {
            assert!(endpoint.price_at(day).is_some(), "{}", endpoint.id);
            assert!(!endpoint.regions.is_empty(), "{}", endpoint.id);
        }
    }
}

#[test]
fn builtin_prices_are_of_a_sane_size() {
    let thousand_dollars = 1_000_000_000_000;
    for endpoint in Catalog::builtin().unwrap().endpoints() {
        for price in &endpoint.prices {
            assert!(
                price.prompt < thousand_dollars && price.completion < thousand_dollars,
                "{}",
                endpoint.id
            );
            assert!(
                price.cache_read.is_none_or(|read| read <= price.prompt),
                "{}",
                endpoint.id
            );
            for tier in &price.tiers {
                assert!(tier.prompt >= price.prompt, "{}", endpoint.id);
            }
        }
    }
}

#[test]
fn deprecated_models_say_when_and_where_to() {
    let catalog = Catalog::builtin().unwrap();
    let complete = |model: &&tidemark_catalog::Model| {
        model.status == Status::Deprecated
            && model.deprecated.is_some()
            && model.successor.is_some()
    };
    assert!(catalog.models().iter().filter(complete).count() >= 5);
    for model in catalog.models() {
        let Some(successor) = &model.successor else {
            continue;
        };
        assert_eq!(
            catalog.model(successor).unwrap().status,
            Status::Live,
            "{}",
            model.id
        );
        assert_ne!(model.status, Status::Live, "{}", model.id);
    }
}

#[test]
fn a_past_request_is_charged_at_the_price_of_its_day() {
    let catalog = Catalog::builtin().unwrap();
    let endpoint = catalog.endpoint("openai/o3").unwrap();
    let tokens = Tokens {
        prompt: 1_000_000,
        completion: 1_000_000,
        ..Tokens::default()
    };
    let cost = |when| endpoint.price_at(at(when)).unwrap().cost(&tokens).total();
    assert_eq!(cost("2025-05-01T00:00:00Z"), 50_000_000_000);
    assert_eq!(cost("2025-07-01T00:00:00Z"), 10_000_000_000);
}

#[test]
fn names_lead_to_entries() {
    let catalog = Catalog::builtin().unwrap();
    let model = catalog.model("meta-llama/llama-3.3-70b-instruct").unwrap();
    assert_eq!(catalog.author(&model.author).unwrap().country, "US");
    assert!(
        catalog
            .endpoints_of(&model.id)
            .any(|endpoint| endpoint.provider == "groq")
    );
    assert!(catalog.provider("groq").is_some());
    assert!(catalog.model("meta-llama/llama-99").is_none());
    assert_eq!(catalog.endpoints_of("meta-llama/llama-99").count(), 0);
    assert_eq!(
        catalog.nearest("anthropic/claude-sonet-4.5", 1),
        ["anthropic/claude-sonnet-4.5"]
    );
    assert_eq!(catalog.nearest("gpt4o", 1), ["openai/gpt-4o"]);
}

#[test]
fn entries_serialize_for_the_api() {
    let catalog = load_prices(PRICE).unwrap();
    let endpoint = serde_json::to_value(&catalog.endpoints()[0]).unwrap();
    assert_eq!(endpoint["quantization"], "fp8");
    assert_eq!(endpoint["prices"][0]["completion"], 2_000_000_000_i64);
    assert_eq!(
        serde_json::to_value(&catalog.models()[0]).unwrap()["status"],
        "live"
    );
}

#[test]
fn a_price_holds_from_its_first_moment_to_the_next_price() {
    let prices = format!(r#"{PRICE}, {{ from = "2026-02-01", prompt = "0.5", completion = "2" }}"#);
    let catalog = load_prices(&prices).unwrap();
    let prompt = |when| {
        catalog.endpoints()[0]
            .price_at(at(when))
            .map(|price| price.prompt)
    };
    assert_eq!(prompt("2025-12-31T23:59:59Z"), None);
    assert_eq!(prompt("2026-01-01T00:00:00Z"), Some(1_000_000_000));
    assert_eq!(prompt("2026-01-31T23:59:59Z"), Some(1_000_000_000));
    assert_eq!(prompt("2026-02-01T00:00:00Z"), Some(500_000_000));
    assert_eq!(prompt("2030-01-01T00:00:00Z"), Some(500_000_000));
}

#[test]
fn hours_of_the_day_have_prices_of_their_own() {
    let night = r#", hours = [{ from = "16:30:00", to = "00:30:00", prompt = "0.135", completion = "0.55", cache_read = "0.035" }, { from = "12:00:00", to = "13:00:00", prompt = "9", completion = "9" }] }"#;
    let catalog = load_prices(&PRICE.replace(" }", night)).unwrap();
    let prompt = |when| {
        catalog.endpoints()[0]
            .price_at(at(when))
            .map(|price| price.prompt)
    };
    assert_eq!(prompt("2026-01-01T00:00:00Z"), Some(135_000_000));
    assert_eq!(prompt("2026-03-05T00:29:59Z"), Some(135_000_000));
    assert_eq!(prompt("2026-03-05T00:30:00Z"), Some(1_000_000_000));
    assert_eq!(prompt("2026-03-05T12:59:59Z"), Some(9_000_000_000));
    assert_eq!(prompt("2026-03-05T13:00:00Z"), Some(1_000_000_000));
    assert_eq!(prompt("2026-03-05T16:29:59Z"), Some(1_000_000_000));
    assert_eq!(prompt("2026-03-05T16:30:00Z"), Some(135_000_000));
    assert_eq!(prompt("2025-12-31T23:59:59Z"), None);
}

#[test]
fn hours_that_overlap_are_refused() {
    let span = |from: &str, to: &str| {
        format!(r#"{{ from = "{from}:00", to = "{to}:00", prompt = "1", completion = "1" }}"#)
    };
    for (one, other) in [
        (span("16:30", "00:30"), span("00:00", "02:00")),
        (span("01:00", "05:00"), span("02:00", "03:00")),
        (span("02:00", "03:00"), span("01:00", "05:00")),
        (span("22:00", "02:00"), span("21:00", "01:00")),
    ] {
        let hours = format!(", hours = [{one}, {other}] }}");
        let error = load_prices(&PRICE.replace(" }", &hours)).unwrap_err();
        assert!(
            matches!(error, CatalogError::OverlappingHours { .. }),
            "{error}"
        );
    }
}

#[test]
fn unreadable_text_is_refused() {
    let error = load(&["nonsense".to_owned()], &[]).unwrap_err();
    assert!(
        matches!(
            error,
            CatalogError::Syntax {
                kind: Kind::Model,
                ..
            }
        ),
        "{error}"
    );
    let error = load(&[model("acme/one", ", colour = \"red\"")], &[]).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
}

#[test]
fn unknown_names_are_refused() {
    let error = load(
        &[model("acme/one", "").replace("author = \"acme\"", "author = \"emca\"")],
        &[],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `acme/one` names the unknown author `emca`"
    );

    let error = load(
        &[model("acme/one", "")],
        &[endpoint("ghost", "acme/one", PRICE)],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "endpoint `ghost/one` names the unknown provider `ghost`"
    );

    let error = load(&[], &[endpoint("host", "acme/one", PRICE)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "endpoint `host/one` serves the unknown model `acme/one`"
    );

    for successor in ["acme/two", "acme/one"] {
        let error = load(
            &[model("acme/one", &format!(", successor = \"{successor}\""))],
            &[],
        )
        .unwrap_err();
        assert!(
            matches!(error, CatalogError::UnknownSuccessor { .. }),
            "{error}"
        );
    }
}

#[test]
fn ids_are_unique_and_follow_from_their_parts() {
    let error = load(&[model("acme/one", ""), model("acme/one", "")], &[]).unwrap_err();
    assert_eq!(error.to_string(), "model `acme/one` is listed twice");

    let twice = [
        endpoint("host", "acme/one", PRICE),
        endpoint("host", "acme/one", PRICE),
    ];
    let error = load(&[model("acme/one", "")], &twice).unwrap_err();
    assert!(
        matches!(
            error,
            CatalogError::DuplicateId {
                kind: Kind::Endpoint,
                ..
            }
        ),
        "{error}"
    );

    for id in ["other/one", "one"] {
        let error = load(&[model(id, "")], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("model id `{id}` should be `acme/one`")
        );
    }
}

#[test]
fn faulty_prices_are_refused() {
    let one = |prompt: &str| {
        format!(r#"{{ from = "2026-01-01", prompt = "{prompt}", completion = "2" }}"#)
    };
    let error = load_prices(&one("-0.5")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "endpoint `host/one` has the negative price `-0.5` for prompt"
    );

    let error = load_prices(&one("cheap")).unwrap_err();
    assert!(
        matches!(
            error,
            CatalogError::BadPrice {
                field: "prompt",
                ..
            }
        ),
        "{error}"
    );

    let error = load_prices("").unwrap_err();
    assert!(matches!(error, CatalogError::NoPrice { .. }), "{error}");

    let error = load_prices(&format!("{PRICE}, {PRICE}")).unwrap_err();
    let wanted =
        "endpoint `host/one`: the price from 2026-01-01 is listed after the one from 2026-01-01";
    assert_eq!(error.to_string(), wanted);

    let tier = |above: u64| format!(r#"{{ above = {above}, prompt = "1", completion = "1" }}"#);
    let tiers = format!(", tiers = [{}, {}] }}", tier(200), tier(100));
    let error = load_prices(&PRICE.replace(" }", &tiers)).unwrap_err();
    assert!(
        matches!(
            error,
            CatalogError::UnorderedTiers {
                above: 100,
                after: 200,
                ..
            }
        ),
        "{error}"
    );
}
