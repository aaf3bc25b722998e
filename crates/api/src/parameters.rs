//! Query strings, read strictly: an unknown name or value is an error that lists the known ones.

use crate::error::ApiError;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use std::collections::BTreeMap;
use std::str::FromStr;
use tidemark_insight::{InsightError, MAX_LIMIT, RankingQuery};

/// The parameters of a ranking.
pub(crate) const OF_RANKINGS: &[&str] = &["period", "metric", "limit", "by"];
/// The parameters of the page.
pub(crate) const OF_PAGE: &[&str] = &["period", "metric", "by"];

/// The query string, each name at most once.
#[derive(Debug)]
pub(crate) struct Asked(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::query_string())?;
        let mut asked = BTreeMap::new();
        for (name, value) in pairs {
            if asked.insert(name.clone(), value).is_some() {
                return Err(ApiError::parameter(
                    &name,
                    "the parameter is given twice",
                    Vec::new(),
                ));
            }
        }
        Ok(Self(asked))
    }
}

impl Asked {
    /// The question to the board `ranking`, asked with no other parameters than `names`.
    pub(crate) fn question(&self, ranking: &str, names: &[&str]) -> Result<RankingQuery, ApiError> {
        if let Some(unknown) = self.0.keys().find(|name| !names.contains(&name.as_str())) {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            return Err(ApiError::parameter(
                unknown,
                "unknown query parameter",
                names,
            ));
        }
        let all = RankingQuery::of(ranking);
        Ok(RankingQuery {
            period: self.choice("period")?.unwrap_or(all.period),
            metric: self.choice("metric")?.unwrap_or(all.metric),
            by: self.choice("by")?,
            limit: match self.0.get("limit") {
                None => all.limit,
                Some(limit) => limit
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                    .ok_or_else(|| {
                        ApiError::parameter(
                            "limit",
                            "limit is not a number in range",
                            vec![format!("1 to {MAX_LIMIT}")],
                        )
                    })?,
            },
            ..all
        })
    }

    fn choice<T: FromStr<Err = InsightError>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.0
            .get(name)
            .map(|value| value.parse())
            .transpose()
            .map_err(ApiError::from)
    }
}
