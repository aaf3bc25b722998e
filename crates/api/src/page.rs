//! `/rankings`: the boards for people, complete without a script.

use crate::error::ApiError;
use crate::json;
use crate::parameters::Asked;
use crate::template::{Html, grouped, short};
use crate::{ApiState, health, parameters};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidemark_insight::{
    By, InsightError, Metric, Period, Policy, Ranking, RankingQuery, Row, Totals,
};

const PAGE: &str = include_str!("../../../dashboards/web/rankings.html");
const BOARD: &str = include_str!("../../../dashboards/web/board.html");
const TABLE: &str = include_str!("../../../dashboards/web/table.html");
const ROW: &str = include_str!("../../../dashboards/web/row.html");
const PROBLEM: &str = include_str!("../../../dashboards/web/problem.html");
const STYLESHEET: &str = include_str!("../../../dashboards/web/tidemark.css");
const SCRIPT: &str = include_str!("../../../dashboards/web/live.js");

/// One board on the page.
struct Shown {
    ranking: &'static str,
    title: &'static str,
    what: &'static str,
    about: &'static str,
    limit: u32,
}

const BOARDS: [Shown; 5] = [
    Shown {
        ranking: "models",
        title: "Models",
        what: "Model",
        about: "Free variants rank apart from paid ones.",
        limit: 20,
    },
    Shown {
        ranking: "trending",
        title: "Trending",
        what: "Model",
        about: "Growth over the mean of the three equal windows before. Today is still running, so growth is understated.",
        limit: 10,
    },
    Shown {
        ranking: "providers",
        title: "Providers",
        what: "Provider",
        about: "Who served the requests.",
        limit: 10,
    },
    Shown {
        ranking: "apps",
        title: "Apps",
        what: "App",
        about: "Who sent them. Requests that name no app are part of Other.",
        limit: 10,
    },
    Shown {
        ranking: "share",
        title: "Share by weights",
        what: "Weights",
        about: "Open weights are those that anyone can download.",
        limit: 10,
    },
];

pub(crate) async fn stylesheet() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        STYLESHEET,
    )
}

pub(crate) async fn script() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        SCRIPT,
    )
}

pub(crate) async fn rankings(
    State(state): State<ApiState>,
    asked: Result<Asked, ApiError>,
) -> Response {
    let written = match asked {
        Ok(asked) => write(&state, &asked).await,
        Err(error) => Err(error),
    };
    match written {
        Ok(page) => html(page).into_response(),
        Err(error) => problem(&error),
    }
}

/// The page that says why there is no other.
pub(crate) fn problem(error: &ApiError) -> Response {
    let (status, message) = error.parts();
    let page = Html::fill(PROBLEM, &[("message", Html::text(message))]);
    (status, html(page)).into_response()
}

pub(crate) fn html(page: Html) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        page.into_string(),
    )
}

async fn write(state: &ApiState, asked: &Asked) -> Result<Html, ApiError> {
    let asked = asked.question("models", parameters::OF_PAGE)?;
    let snapshot = state.snapshot()?;
    let mut boards = Vec::new();
    let mut totals = Totals::default();
    for shown in &BOARDS {
        let shown = match asked.by {
            Some(by) if shown.ranking == "share" => &share_by(by),
            _ => shown,
        };
        let by = asked.by.filter(|_| shown.ranking == "share");
        let query = RankingQuery {
            ranking: shown.ranking.to_owned(),
            limit: shown.limit,
            by,
            ..asked.clone()
        };
        let body = match state.rankings.answer_cached(&snapshot, &query).await {
            Ok(ranking) => {
                if shown.ranking == "models" {
                    totals = ranking.totals;
                }
                table(shown, &ranking)
            }
            // Trending has nothing to compare everything with: the board says so, the page stays.
            Err(InsightError::Parameter { problem, .. }) => empty(Html::text(problem)),
            Err(error) => return Err(error.into()),
        };
        boards.push(Html::fill(
            BOARD,
            &[
                ("id", Html::text(shown.ranking)),
                ("title", Html::markup(shown.title)),
                ("about", Html::markup(shown.about)),
                ("body", body),
            ],
        ));
    }
    boards.push(Html::fill(
        BOARD,
        &[
            ("id", Html::markup("now")),
            ("title", Html::markup("Providers now")),
            ("about", Html::markup("The most tried of the last day. Attempts count for who was tried, so an outage shows here even where requests went on elsewhere.")),
            ("body", health::board(state, &snapshot).await?),
        ],
    ));
    let as_of = snapshot.as_of;
    let policy: &Policy = state.rankings.policy();
    Ok(Html::fill(
        PAGE,
        &[
            (
                "periods",
                Period::ALL
                    .iter()
                    .map(|&period| {
                        link(
                            &RankingQuery {
                                period,
                                ..asked.clone()
                            },
                            period.as_str(),
                            period == asked.period,
                        )
                    })
                    .collect(),
            ),
            (
                "metrics",
                Metric::ALL
                    .iter()
                    .map(|&metric| {
                        link(
                            &RankingQuery {
                                metric,
                                ..asked.clone()
                            },
                            metric.as_str(),
                            metric == asked.metric,
                        )
                    })
                    .collect(),
            ),
            ("notice", notice(&totals)),
            ("tokens", Html::text(short(totals.tokens as f64))),
            ("tokens_exact", Html::text(grouped(totals.tokens))),
            ("requests", Html::text(short(totals.requests as f64))),
            ("requests_exact", Html::text(grouped(totals.requests))),
            ("accounts", Html::text(grouped(totals.accounts))),
            ("as_of", Html::text(json::time(as_of))),
            (
                "as_of_short",
                Html::text(as_of.format("%Y-%m-%d %H:%M:%S UTC")),
            ),
            ("boards", boards.into_iter().collect()),
            ("min_accounts", Html::text(policy.min_accounts)),
            (
                "dominance",
                Html::text(format!("{:.0}%", policy.dominance * 100.0)),
            ),
            ("question", Html::text(question(&asked))),
        ],
    ))
}

/// The board of shares, divided by something else than weights.
fn share_by(by: By) -> Shown {
    let (title, what, about) = match by {
        By::Weights => (
            "Share by weights",
            "Weights",
            "Open weights are those that anyone can download.",
        ),
        By::Author => ("Share by author", "Author", "By who made the model."),
        By::Country => (
            "Share by country",
            "Country",
            "By the country of the model's author.",
        ),
    };
    Shown {
        ranking: "share",
        title,
        what,
        about,
        limit: 10,
    }
}

/// The page's own parameters as a query string. It holds known names only.
fn question(query: &RankingQuery) -> String {
    let mut question = format!(
        "?period={}&metric={}",
        query.period.as_str(),
        query.metric.as_str()
    );
    if let Some(by) = query.by {
        question.push_str("&by=");
        question.push_str(by.as_str());
    }
    question
}

fn link(query: &RankingQuery, name: &str, current: bool) -> Html {
    Html::fill(
        r#"<a href="/rankings{{question}}"{{current}}>{{name}}</a> "#,
        &[
            ("question", Html::text(question(query))),
            (
                "current",
                if current {
                    Html::markup(r#" aria-current="page""#)
                } else {
                    Html::default()
                },
            ),
            ("name", Html::text(capitalised(name))),
        ],
    )
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Simulated traffic is never shown without saying so.
fn notice(totals: &Totals) -> Html {
    if totals.simulated_requests == 0 {
        return Html::default();
    }
    let part = if totals.simulated_requests == totals.requests {
        "All of the traffic shown here".to_owned()
    } else {
        format!(
            "{} of the requests shown here",
            percent(totals.simulated_share)
        )
    };
    Html::fill(
        r#"<p class="notice" role="note"><b>Simulated traffic.</b> {{part}} is simulated or replayed with assigned models: it says nothing about real use.</p>"#,
        &[("part", Html::text(part))],
    )
}

/// A part of 1 in percent; a small part is not written as nothing.
fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "Under 0.1%".to_owned()
    } else {
        format!("{percent:.1}%")
    }
}

pub(crate) fn empty(reason: Html) -> Html {
    Html::fill(r#"<p class="empty">{{reason}}</p>"#, &[("reason", reason)])
}

fn table(shown: &Shown, ranking: &Ranking) -> Html {
    if ranking.rows.is_empty() {
        return empty(Html::markup("Nothing yet in this period."));
    }
    let trending = shown.ranking == "trending";
    let widest = ranking
        .rows
        .iter()
        .map(|row| length(row, trending))
        .fold(0.0, f64::max);
    Html::fill(
        TABLE,
        &[
            ("what", Html::markup(shown.what)),
            (
                "unit",
                Html::text(capitalised(ranking.meta.metric.as_str())),
            ),
            (
                "beside",
                Html::markup(if trending { "Growth" } else { "Share" }),
            ),
            (
                "rows",
                ranking
                    .rows
                    .iter()
                    .map(|row| line(row, ranking.meta.metric, trending, widest))
                    .collect(),
            ),
        ],
    )
}

/// What a row's bar shows.
fn length(row: &Row, trending: bool) -> f64 {
    if trending {
        row.growth.unwrap_or(0.0)
    } else {
        row.share
    }
}

fn line(row: &Row, metric: Metric, trending: bool, widest: f64) -> Html {
    let width = if widest > 0.0 {
        100.0 * length(row, trending) / widest
    } else {
        0.0
    };
    let key = if row.key == row.name || row.rank.is_none() {
        Html::default()
    } else {
        Html::fill(
            r#"<span class="key">{{key}}</span>"#,
            &[("key", Html::text(&row.key))],
        )
    };
    let (value, exact) = value(row, metric);
    let beside = match (trending, row.growth_percent) {
        (false, _) => percent(row.share),
        (true, Some(growth)) => format!("+{growth:.0}%"),
        (true, None) if row.rank.is_some() => "new".to_owned(),
        (true, None) => String::new(),
    };
    Html::fill(
        ROW,
        &[
            (
                "class",
                if row.rank.is_none() {
                    Html::markup(r#" class="other""#)
                } else {
                    Html::default()
                },
            ),
            ("rank", row.rank.map(Html::text).unwrap_or_default()),
            ("name", Html::text(&row.name)),
            ("key", key),
            (
                "width",
                Html::text(format!("{:.2}", width.clamp(0.0, 100.0))),
            ),
            ("value", Html::text(value)),
            ("exact", Html::text(exact)),
            ("beside", Html::text(beside)),
        ],
    )
}

/// What the row is ranked by, for reading and in full.
fn value(row: &Row, metric: Metric) -> (String, String) {
    let counted = |number: i64| (short(number as f64), grouped(number));
    match metric {
        Metric::Tokens => counted(row.tokens),
        Metric::Requests => counted(row.requests),
        Metric::Accounts => counted(row.accounts),
        Metric::Capped => counted(row.capped_tokens),
        Metric::Spend => {
            let dollars = json::dollars(row.spend_nanousd);
            (format!("${}", short(dollars)), format!("${dollars:.2}"))
        }
    }
}
