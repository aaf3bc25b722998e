//! `/models/{author}/{slug}`, `/providers/{slug}` and the board of providers: how who serves does now, for people.

use crate::ApiState;
use crate::error::ApiError;
use crate::listings::{by_region, find};
use crate::page::{empty, html, problem};
use crate::template::{Html, grouped, short};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use tidemark_insight::{ENOUGH_ATTEMPTS, Measure, Snapshot, Subject};

const PAGE: &str = include_str!("../../../dashboards/web/health.html");
const TABLE: &str = include_str!("../../../dashboards/web/health_table.html");
const ROW: &str = include_str!("../../../dashboards/web/health_row.html");
const NOW_TABLE: &str = include_str!("../../../dashboards/web/now_table.html");
const NOW_ROW: &str = include_str!("../../../dashboards/web/now_row.html");

/// Providers on the board.
const SHOWN: usize = 12;

pub(crate) async fn model(
    State(state): State<ApiState>,
    Path((author, slug)): Path<(String, String)>,
) -> Response {
    answer(of_model(&state, &format!("{author}/{slug}")).await)
}

pub(crate) async fn provider(State(state): State<ApiState>, Path(slug): Path<String>) -> Response {
    answer(of_provider(&state, &slug).await)
}

fn answer(page: Result<Html, ApiError>) -> Response {
    match page {
        Ok(page) => html(page).into_response(),
        Err(error) => problem(&error),
    }
}

async fn of_model(state: &ApiState, id: &str) -> Result<Html, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let model = snapshot
        .directory
        .model(id, now)
        .ok_or_else(ApiError::no_model)?;
    let requests = state.statistics.of(&snapshot, Subject::Model, now).await?;
    let attempts = state
        .statistics
        .of(&snapshot, Subject::Endpoint, now)
        .await?;
    let own = find(&requests, &model.id);
    let rows = model
        .endpoints
        .iter()
        .flat_map(|endpoint| {
            by_region(&attempts, &endpoint.id).map(move |measure| (endpoint, measure))
        })
        .map(|(endpoint, measure)| {
            let name = Html::fill(
                r#"<a href="/providers/{{slug}}">{{name}}</a>"#,
                &[
                    ("slug", Html::text(&endpoint.provider)),
                    ("name", Html::text(&endpoint.provider_name)),
                ],
            );
            row(ROW, name, place(measure, ""), measure)
        });
    Ok(Html::fill(
        PAGE,
        &[
            ("name", Html::text(&model.name)),
            ("key", Html::text(&model.id)),
            ("lead", Html::text(&model.description)),
            ("notice", notice(own)),
            ("itself", Html::markup("The model")),
            (
                "itself_about",
                Html::markup(
                    "Every request counts once, by how it ended, however many attempts it took.",
                ),
            ),
            (
                "own",
                table(
                    "Model",
                    [row(ROW, Html::text(&model.name), String::new(), own)],
                ),
            ),
            ("others", Html::markup("Who serves it")),
            ("endpoints", table("Provider", rows)),
            ("enough", Html::text(ENOUGH_ATTEMPTS)),
            (
                "json",
                Html::text(format!("/api/v1/models/{}/endpoints", model.id)),
            ),
        ],
    ))
}

async fn of_provider(state: &ApiState, slug: &str) -> Result<Html, ApiError> {
    let (snapshot, now) = (state.snapshot()?, Utc::now());
    let provider = snapshot
        .directory
        .provider(slug, now)
        .ok_or_else(ApiError::no_provider)?;
    let providers = state
        .statistics
        .of(&snapshot, Subject::Provider, now)
        .await?;
    let attempts = state
        .statistics
        .of(&snapshot, Subject::Endpoint, now)
        .await?;
    let own = find(&providers, slug);
    let mut measured: Vec<&Measure> = provider
        .endpoints
        .iter()
        .flat_map(|id| by_region(&attempts, id).flatten())
        .collect();
    measured.sort_by_key(|measure| std::cmp::Reverse(measure.attempts_1d));
    let rows = measured.into_iter().map(|measure| {
        let slug = measure.key.split_once('/').map_or("", |(_, slug)| slug);
        row(
            ROW,
            Html::text(slug),
            place(Some(measure), &measure.key),
            Some(measure),
        )
    });
    Ok(Html::fill(
        PAGE,
        &[
            ("name", Html::text(&provider.name)),
            ("key", Html::text(&provider.slug)),
            (
                "lead",
                Html::text(format!("{} models", provider.endpoints.len())),
            ),
            ("notice", notice(own)),
            ("itself", Html::markup("The provider")),
            (
                "itself_about",
                Html::markup("All of its endpoints together."),
            ),
            (
                "own",
                table(
                    "Provider",
                    [row(ROW, Html::text(&provider.name), String::new(), own)],
                ),
            ),
            ("others", Html::markup("What it serves")),
            ("endpoints", table("Model", rows)),
            ("enough", Html::text(ENOUGH_ATTEMPTS)),
            ("json", Html::markup("/api/v1/providers")),
        ],
    ))
}

/// The board of the rankings page: the providers that are tried most.
pub(crate) async fn board(state: &ApiState, snapshot: &Snapshot) -> Result<Html, ApiError> {
    let now = Utc::now();
    let measures = state
        .statistics
        .of(snapshot, Subject::Provider, now)
        .await?;
    let mut busiest: Vec<&Measure> = measures.iter().collect();
    busiest.sort_by_key(|measure| std::cmp::Reverse(measure.attempts_1d));
    let rows: Html = busiest
        .into_iter()
        .take(SHOWN)
        .map(|measure| {
            let name = match snapshot.directory.provider(&measure.key, now) {
                Some(provider) => Html::fill(
                    r#"<a href="/providers/{{slug}}">{{name}}</a>"#,
                    &[
                        ("slug", Html::text(&provider.slug)),
                        ("name", Html::text(&provider.name)),
                    ],
                ),
                None => Html::text(&measure.key),
            };
            row(NOW_ROW, name, String::new(), Some(measure))
        })
        .collect();
    if measures.is_empty() {
        return Ok(empty(Html::markup("Nothing in the last day.")));
    }
    Ok(Html::fill(NOW_TABLE, &[("rows", rows)]))
}

fn place(measure: Option<&Measure>, endpoint: &str) -> String {
    let region = measure.map_or("", |measure| measure.region.as_str());
    match (endpoint, region) {
        ("", region) => region.to_owned(),
        (endpoint, "") => endpoint.to_owned(),
        (endpoint, region) => format!("{endpoint} in {region}"),
    }
}

fn table(what: &'static str, rows: impl IntoIterator<Item = Html>) -> Html {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return empty(Html::markup("Nothing in the last day."));
    }
    Html::fill(
        TABLE,
        &[("what", Html::markup(what)), ("rows", rows.collect())],
    )
}

fn row(template: &str, name: Html, key: String, measure: Option<&Measure>) -> Html {
    let nobody = Measure::default();
    let m = measure.unwrap_or(&nobody);
    let degraded = if m.status < 0 {
        Html::markup(r#" class="degraded""#)
    } else {
        Html::default()
    };
    let part = |part: Option<f64>| part.map(|part| format!("{:.1}%", part * 100.0));
    let pair = |typical: Option<f64>, nine_tenths: Option<f64>| {
        Some(format!(
            "{} / {}",
            short((typical? / 1000.0).round()),
            short((nine_tenths? / 1000.0).round())
        ))
    };
    Html::fill(
        template,
        &[
            ("class", degraded),
            ("name", name),
            ("key", Html::text(key)),
            ("uptime_5m", cell(part(m.uptime_5m), m.ok_5m + m.failed_5m)),
            (
                "uptime_30m",
                cell(part(m.uptime_30m), m.ok_30m + m.failed_30m),
            ),
            ("uptime_1d", cell(part(m.uptime_1d), m.ok_1d + m.failed_1d)),
            (
                "ttft",
                cell(pair(m.ttft_30m_p50, m.ttft_30m_p90), m.ttft_30m_samples),
            ),
            (
                "throughput",
                cell(
                    pair(m.throughput_30m_p50, m.throughput_30m_p90),
                    m.throughput_30m_samples,
                ),
            ),
            (
                "rate_limited",
                cell(part(m.rate_limited_share_30m), m.attempts_30m),
            ),
            ("refused", cell(part(m.refusal_rate_1d), m.answered_1d)),
            ("tools", cell(part(m.tool_success_1d), m.tool_requests_1d)),
        ],
    )
}

/// A figure and its sample size.
fn cell(figure: Option<String>, sample: i64) -> Html {
    Html::fill(
        r#"<span>{{figure}}</span><span class="sample">{{sample}}</span>"#,
        &[
            (
                "figure",
                figure.map_or_else(
                    || {
                        Html::markup(if sample > 0 {
                            "insufficient data"
                        } else {
                            "no data"
                        })
                    },
                    Html::text,
                ),
            ),
            ("sample", Html::text(grouped(sample))),
        ],
    )
}

/// Simulated traffic is never shown without saying so.
fn notice(measure: Option<&Measure>) -> Html {
    let Some(measure) = measure.filter(|measure| measure.simulated_1d > 0) else {
        return Html::default();
    };
    let part = if measure.simulated_1d == measure.attempts_1d {
        "All of the traffic shown here".to_owned()
    } else {
        format!(
            "{:.1}% of the traffic of the last day",
            100.0 * measure.simulated_1d as f64 / measure.attempts_1d as f64
        )
    };
    Html::fill(
        r#"<p class="notice" role="note"><b>Simulated traffic.</b> {{part}} is simulated or replayed with assigned models: it says nothing about real use.</p>"#,
        &[("part", Html::text(part))],
    )
}
