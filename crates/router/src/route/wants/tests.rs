#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::ask::chat;
use crate::settings::Settings;
use serde_json::json;
use std::sync::Arc;
use tidemark_catalog::Catalog;

fn read(provider: Value, variant: &str, check: impl Fn(Result<Wants<'_>, BadRequest>)) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "provider": provider});
    let ask = chat::read(body.as_object().unwrap().clone()).unwrap();
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let routes = Routes::new(catalog, &Settings::default()).unwrap();
    check(Wants::read(&ask, variant, &routes));
}

#[test]
fn everything_at_once() {
    let all = json!({
        "order": ["openai/eu-west", "azure"], "only": ["openai", "azure", "groq"], "ignore": ["openai/us-east"],
        "allow_fallbacks": false, "require_parameters": true, "data_collection": "deny", "zdr": true,
        "quantizations": ["fp8", "bf16", "mxfp4"], "regions": ["eu-*", "us-west"], "sort": {"by": "latency", "partition": "none"},
        "preferred_min_throughput": 50, "preferred_max_latency": 1.5,
        "max_price": {"prompt": 0.1, "completion": "2.5", "request": 1e-7}
    });
    read(all, "", |wants| {
        let wants = wants.unwrap();
        assert_eq!(
            wants.order[0],
            Place {
                provider: "openai",
                region: Some("eu-west")
            }
        );
        assert_eq!((wants.only.len(), wants.ignore.len()), (3, 1));
        assert!(wants.no_fallbacks && wants.require_parameters && wants.mix_models);
        assert!(wants.deny_collection && wants.zdr);
        assert_eq!(wants.quantizations, Some(1 << 4 | 1 << 6));
        assert_eq!(wants.sort, Some(Sort::Latency));
        assert_eq!(wants.min_throughput, Some(50_000));
        assert_eq!(wants.max_latency, Some(1_500_000));
        let price = MaxPrice {
            prompt: Some(100_000_000),
            completion: Some(2_500_000_000),
            request: Some(100),
        };
        assert_eq!(wants.max_price, price);
    });
}

#[test]
fn nothing_and_null_and_empty_are_no_wish() {
    for provider in [
        Value::Null,
        json!({}),
        json!({"order": [], "only": null, "ignore": [], "quantizations": [], "sort": null, "max_price": {"prompt": null}}),
    ] {
        read(provider, "nitro", |wants| {
            let wants = wants.unwrap();
            assert!(wants.order.is_empty() && wants.only.is_empty());
            assert!(!wants.no_fallbacks && wants.quantizations.is_none());
            assert_eq!(wants.max_price, MaxPrice::default());
            assert_eq!(wants.sort, Some(Sort::Throughput));
        });
    }
}

#[test]
fn what_is_wrong_is_named_and_not_repeated() {
    for (provider, param) in [
        (json!("canary"), "provider"),
        (json!({"canary": 1}), "provider"),
        (json!({"order": "canary"}), "provider.order"),
        (json!({"order": ["openai", 3]}), "provider.order"),
        (json!({"order": ["openai", "canary"]}), "provider.order[1]"),
        (json!({"only": ["openai/canary"]}), "provider.only[0]"),
        (json!({"only": ["Openai"]}), "provider.only[0]"),
        (
            json!({"allow_fallbacks": "canary"}),
            "provider.allow_fallbacks",
        ),
        (
            json!({"require_parameters": 1}),
            "provider.require_parameters",
        ),
        (
            json!({"data_collection": "canary"}),
            "provider.data_collection",
        ),
        (
            json!({"data_collection": false}),
            "provider.data_collection",
        ),
        (json!({"zdr": "true"}), "provider.zdr"),
        (
            json!({"quantizations": ["fp8", "canary"]}),
            "provider.quantizations[1]",
        ),
        (json!({"regions": ["mars-*"]}), "provider.regions[0]"),
        (json!({"sort": "canary"}), "provider.sort"),
        (
            json!({"sort": {"by": "price", "canary": 1}}),
            "provider.sort",
        ),
        (
            json!({"sort": {"by": "price", "partition": "canary"}}),
            "provider.sort",
        ),
        (
            json!({"preferred_min_throughput": 0}),
            "provider.preferred_min_throughput",
        ),
        (
            json!({"preferred_max_latency": -1}),
            "provider.preferred_max_latency",
        ),
        (
            json!({"preferred_max_latency": {"p90": 1}}),
            "provider.preferred_max_latency",
        ),
        (json!({"max_price": 1}), "provider.max_price"),
        (json!({"max_price": {"canary": 1}}), "provider.max_price"),
        (
            json!({"max_price": {"prompt": -0.1}}),
            "provider.max_price.prompt",
        ),
        (
            json!({"max_price": {"completion": "canary"}}),
            "provider.max_price.completion",
        ),
        (
            json!({"max_price": {"request": 1e300}}),
            "provider.max_price.request",
        ),
        (
            json!({"only": ["openai"], "ignore": ["openai"]}),
            "provider.ignore",
        ),
        (
            json!({"only": ["openai/eu-west"], "ignore": ["openai"]}),
            "provider.ignore",
        ),
        (
            json!({"order": ["openai"], "ignore": ["openai"]}),
            "provider.ignore",
        ),
        (
            json!({"order": ["azure"], "only": ["openai"]}),
            "provider.order",
        ),
    ] {
        read(provider.clone(), "", |wants| {
            let bad = wants.unwrap_err();
            assert_eq!(bad.param.as_deref(), Some(param), "{provider}");
            assert!(!bad.message.contains("canary"), "{}", bad.message);
        });
    }
}

#[test]
fn a_suffix_and_a_sort_must_agree() {
    read(json!({"sort": "throughput"}), "nitro", |wants| {
        assert!(wants.is_ok())
    });
    read(json!({"sort": "price"}), "nitro", |wants| {
        assert_eq!(wants.unwrap_err().param.as_deref(), Some("provider.sort"));
    });
}
