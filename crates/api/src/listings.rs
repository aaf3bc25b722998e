//! Models, endpoints and providers as JSON, in OpenRouter's shapes, and the statistics that routers read.

use crate::ApiState;
use crate::error::ApiError;
use crate::figures::{UNITS, figures};
use crate::json::time;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde_json::{Map, Value, json};
use tidemark_insight::{EndpointEntry, Measure, ModelEntry, Pricing, Snapshot, Subject};

/// `GET /api/v1/models`
pub(crate) async fn models(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let measures = state.statistics.of(&snapshot, Subject::Model, now).await?;
    let data: Vec<Value> = snapshot
        .directory
        .models(now)
        .iter()
        .map(|model| {
            let mut json = model_json(model);
            json.insert("statistics".into(), figures(find(&measures, &model.id)));
            Value::Object(json)
        })
        .collect();
    let count = data.len();
    Ok(open(json!({
        "data": data, "total_count": count, "links": {"next": null}, "meta": meta(&snapshot),
    })))
}

/// `GET /api/v1/models/{author}/{slug}/endpoints`
pub(crate) async fn endpoints(
    State(state): State<ApiState>,
    Path((author, slug)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let model = snapshot
        .directory
        .model(&format!("{author}/{slug}"), now)
        .ok_or_else(ApiError::no_model)?;
    let measures = state
        .statistics
        .of(&snapshot, Subject::Endpoint, now)
        .await?;
    let requests = state.statistics.of(&snapshot, Subject::Model, now).await?;
    let endpoints: Vec<Value> = model
        .endpoints
        .iter()
        .flat_map(|endpoint| {
            by_region(&measures, &endpoint.id).map(move |measure| (endpoint, measure))
        })
        .map(|(endpoint, measure)| endpoint_json(&model, endpoint, measure))
        .collect();
    Ok(open(json!({
        "data": {
            "id": model.id, "name": model.name, "created": model.created, "description": model.description,
            "architecture": architecture(&model), "endpoints": endpoints,
            // The model's own: requests, each once, however many attempts it took.
            "statistics": figures(find(&requests, &model.id)),
        },
        "meta": meta(&snapshot),
    })))
}

/// `GET /api/v1/providers`
pub(crate) async fn providers(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let measures = state
        .statistics
        .of(&snapshot, Subject::Provider, now)
        .await?;
    let data: Vec<Value> = snapshot
        .directory
        .providers(now)
        .iter()
        .map(|provider| {
            json!({
                "name": provider.name, "slug": provider.slug, "headquarters": provider.country,
                "privacy_policy_url": null, "terms_of_service_url": null, "status_page_url": null,
                "endpoints": provider.endpoints.len(),
                "statistics": figures(find(&measures, &provider.slug)),
            })
        })
        .collect();
    Ok(open(json!({"data": data, "meta": meta(&snapshot)})))
}

/// `GET /api/v1/statistics`: for routers. Attempts and answers only, nothing of who asked.
pub(crate) async fn statistics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let measures = state
        .statistics
        .of(&snapshot, Subject::Endpoint, now)
        .await?;
    let whole = |value: Option<f64>| value.map(|value| value.round() as u64);
    let recent = measures.iter().map(|m| {
        json!({
            "endpoint": m.key, "region": m.region,
            "attempts_ok": m.ok_5m, "attempts_failed": m.failed_5m, "rate_limited": m.rate_limited_5m,
            "ttft_p50_us": whole(m.ttft_5m_p50), "throughput_p50_mtps": whole(m.throughput_5m_p50),
        })
    });
    let long = measures.iter().map(|m| {
        json!({
            "endpoint": m.key, "region": m.region, "attempts_ok": m.ok_2h,
            "refused": m.refused_2h, "tool_requests": m.tool_requests_2h, "tool_requests_ok": m.tool_requests_ok_2h,
        })
    });
    let is_silent = |value: &Value| {
        value.as_object().is_none_or(|fields| {
            fields
                .values()
                .all(|field| field.is_null() || field.is_string() || *field == json!(0))
        })
    };
    let spoken = |values: Vec<Value>| {
        values
            .into_iter()
            .filter(|value| !is_silent(value))
            .collect::<Vec<_>>()
    };
    Ok(open(json!({
        "data": {
            "as_of": snapshot.as_of.timestamp(),
            "recent": spoken(recent.collect()),
            "long": spoken(long.collect()),
        },
        "meta": meta(&snapshot),
    })))
}

fn open(body: Value) -> Response {
    let open = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (open, axum::Json(body)).into_response()
}

fn meta(snapshot: &Snapshot) -> Value {
    json!({"as_of": time(snapshot.as_of), "units": UNITS, "min_attempts": tidemark_insight::ENOUGH_ATTEMPTS})
}

/// Measures are in the order of their keys.
pub(crate) fn find<'a>(measures: &'a [Measure], key: &str) -> Option<&'a Measure> {
    by_region(measures, key).next().flatten()
}

/// The regions of one endpoint that were measured; one that has no measure where none was.
pub(crate) fn by_region<'a>(
    measures: &'a [Measure],
    key: &str,
) -> impl Iterator<Item = Option<&'a Measure>> + use<'a> {
    let from = measures.partition_point(|measure| measure.key.as_str() < key);
    let regions = measures[from..].partition_point(|measure| measure.key.as_str() <= key);
    let found = &measures[from..from + regions];
    let none = found.is_empty().then_some(None);
    found.iter().map(Some).chain(none)
}

fn model_json(model: &ModelEntry) -> Map<String, Value> {
    let best = model.endpoints.first();
    let json = json!({
        "id": model.id, "canonical_slug": model.id, "name": model.name, "created": model.created,
        "description": model.description, "context_length": model.context_length,
        "architecture": architecture(model),
        "pricing": best.and_then(|endpoint| endpoint.pricing).map(prices),
        "top_provider": {
            "context_length": best.map_or(model.context_length, |endpoint| endpoint.context_length),
            "max_completion_tokens": model.max_completion_tokens, "is_moderated": false,
        },
        "per_request_limits": null, "supported_parameters": parameters(model), "default_parameters": {},
        "expiration_date": model.expiration_date, "knowledge_cutoff": null, "hugging_face_id": null,
        "successor": model.successor,
        "links": {"details": format!("/api/v1/models/{}/endpoints", model.id)},
    });
    match json {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn endpoint_json(model: &ModelEntry, endpoint: &EndpointEntry, measure: Option<&Measure>) -> Value {
    let region = measure.map_or("", |measure| measure.region.as_str());
    let tag = if region.is_empty() {
        endpoint.provider.clone()
    } else {
        format!("{}/{region}", endpoint.provider)
    };
    let mut json = json!({
        "name": format!("{} | {}", endpoint.provider_name, model.id), "endpoint_id": endpoint.id,
        "model_id": model.id, "model_name": model.name, "context_length": endpoint.context_length,
        "pricing": endpoint.pricing.map(prices), "provider_name": endpoint.provider_name, "tag": tag,
        "region": (!region.is_empty()).then_some(region), "quantization": endpoint.quantization,
        "max_completion_tokens": model.max_completion_tokens, "max_prompt_tokens": null,
        "supported_parameters": parameters(model),
        "supports_implicit_caching": endpoint.pricing.is_some_and(|price| price.cache_read.is_some()),
    });
    if let (Value::Object(all), Value::Object(of)) = (&mut json, figures(measure)) {
        all.extend(of);
    }
    json
}

fn architecture(model: &ModelEntry) -> Value {
    json!({
        "modality": format!("{}->{}", model.input.join("+"), model.output.join("+")),
        "input_modalities": model.input, "output_modalities": model.output,
        "tokenizer": "Other", "instruct_type": null,
    })
}

/// What the catalog knows that a request may use.
fn parameters(model: &ModelEntry) -> Vec<&'static str> {
    let mut parameters = vec!["max_tokens", "temperature", "top_p", "stop"];
    if model.tools {
        parameters.extend(["tools", "tool_choice"]);
    }
    if model.reasoning {
        parameters.extend(["reasoning", "include_reasoning"]);
    }
    parameters
}

/// USD per token and per request, as text: exact, whatever reads it.
fn prices(price: Pricing) -> Value {
    let mut json = json!({
        "prompt": decimal(price.prompt, 15), "completion": decimal(price.completion, 15),
        "request": decimal(price.request, 9), "image": "0", "web_search": "0", "internal_reasoning": "0",
    });
    let of_cache = [
        ("input_cache_read", price.cache_read),
        ("input_cache_write", price.cache_write),
    ];
    for (name, price) in of_cache {
        if let Some(price) = price {
            json[name] = decimal(price, 15).into();
        }
    }
    json
}

/// `number / 10^digits`, without zeros at its end.
fn decimal(number: i64, digits: usize) -> String {
    let text = format!("{:0>width$}", number.max(0), width = digits + 1);
    let (whole, part) = text.split_at(text.len() - digits);
    let part = part.trim_end_matches('0');
    if part.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_decimals() {
        // $2.50 and $0.075 a million tokens, $3 a token's million millions, nothing.
        let written =
            [2_500_000_000, 75_000_000, 1, 0, 3_000_000_000_000_000].map(|n| decimal(n, 15));
        assert_eq!(
            written,
            ["0.0000025", "0.000000075", "0.000000000000001", "0", "3"]
        );
    }
}
