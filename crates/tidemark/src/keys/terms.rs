//! The options that say what a key or an account may use.

use anyhow::{Result, bail};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use tidemark_catalog::Catalog;
use tidemark_router::keys::limit::{BadLimit, Limit};
use tidemark_router::keys::{StoredKey, Terms};

/// What an option takes that lifts a restriction.
const ANY: &str = "any";
const NONE: &str = "none";

/// Options of a key alone.
#[derive(Debug, Args)]
pub struct KeyOptions {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Taken until then: a day (its first moment, UTC), a time such as 2027-06-30T18:00:00Z, or `never`.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    expires: Option<Expiry>,
    /// It belongs to another gateway: the events it sends to /v1/events and /v1/traces may state for which of that gateway's
    /// accounts they are. All that other keys send counts as their own.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    gateway: Option<bool>,
}

/// Options of a key and of an account.
#[derive(Debug, Args)]
pub struct TermOptions {
    /// Models that may be asked, as `author/slug` or `author/*`; `any` lifts it.
    #[arg(long, value_name = "M,..", value_delimiter = ',')]
    models: Vec<String>,
    /// Providers that may answer; `any` lifts it.
    #[arg(long, value_name = "P,..", value_delimiter = ',')]
    providers: Vec<String>,
    /// Providers that may not answer; `none` lifts it.
    #[arg(long, value_name = "P,..", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Only endpoints that keep nothing of a request.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    zdr: Option<bool>,
    /// No endpoints that keep requests to learn from them.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_data_collection: Option<bool>,
    /// A sample of prompts may be looked at to tell what they are for.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sampling: Option<bool>,
    /// Refuses requests from here on, such as "10 USD/day", "100 requests/minute", "1.5M tokens/month"; windows are minute,
    /// hour, day, week, month and total. Can be given more than once; `none` lifts all.
    #[arg(long, value_name = "LIMIT", value_parser = limit)]
    limit: Vec<Given>,
    /// Warns from here on, in a header of each answer; written like --limit.
    #[arg(long, value_name = "LIMIT", value_parser = limit)]
    soft_limit: Vec<Given>,
}

/// A limit, or `none`.
#[derive(Debug, Clone, Copy)]
struct Given(Option<Limit>);

fn limit(text: &str) -> Result<Given, BadLimit> {
    if text == NONE {
        return Ok(Given(None));
    }
    text.parse().map(|limit| Given(Some(limit)))
}

/// A time, or never.
#[derive(Debug, Clone, Copy)]
struct Expiry(Option<DateTime<Utc>>);

fn when(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry(None));
    }
    let day = || {
        let day: NaiveDate = text.parse().ok()?;
        Some(day.and_time(NaiveTime::MIN).and_utc())
    };
    let time = text.parse::<DateTime<Utc>>().ok().or_else(day);
    let time = time.ok_or(
        "expected a day such as 2027-06-30, a time such as 2027-06-30T18:00:00Z, or `never`",
    )?;
    if time <= Utc::now() {
        return Err("this time is past: `tidemark keys revoke` ends a key now".to_owned());
    }
    Ok(Expiry(Some(time)))
}

impl KeyOptions {
    /// Changes what was given.
    pub fn apply(&self, key: &mut StoredKey) {
        if let Some(name) = &self.name {
            key.name = Some(name.clone());
        }
        if let Some(Expiry(expires)) = self.expires {
            key.expires = expires;
        }
        if let Some(gateway) = self.gateway {
            key.gateway = gateway;
        }
    }
}

impl TermOptions {
    /// Nothing was given.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.models, &self.providers, &self.ignore];
        let switches = [self.zdr, self.no_data_collection, self.sampling];
        lists.iter().all(|list| list.is_empty())
            && switches.iter().all(Option::is_none)
            && self.limit.is_empty()
            && self.soft_limit.is_empty()
    }

    /// Refuses names that the catalog does not have: a slip would otherwise be found by whoever gets the key.
    pub fn check(&self, catalog: &Catalog) -> Result<()> {
        for model in self.models.iter().filter(|model| *model != ANY) {
            let known = match model.strip_suffix("/*") {
                Some(author) => catalog.author(author).is_some(),
                None => catalog.model(model).is_some(),
            };
            if !known {
                let near = catalog.nearest(model, 3).join(" or ");
                bail!(
                    "--models: the catalog has no `{model}`; did you mean {near}? All models of an author are `author/*`"
                );
            }
        }
        for provider in self.providers.iter().chain(&self.ignore) {
            if provider != ANY && provider != NONE && catalog.provider(provider).is_none() {
                let slugs: Vec<&str> = catalog
                    .providers()
                    .iter()
                    .map(|known| known.slug.as_str())
                    .collect();
                bail!(
                    "the catalog has no provider `{provider}`; it has {}",
                    slugs.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Changes what was given.
    pub fn apply(&self, terms: &mut Terms) {
        let list = |given: &[String], kept: &mut Vec<String>| {
            if !given.is_empty() {
                *kept = given.to_vec();
                kept.retain(|name| name != ANY && name != NONE);
            }
        };
        list(&self.models, &mut terms.policy.models);
        list(&self.providers, &mut terms.policy.providers);
        list(&self.ignore, &mut terms.policy.ignore);
        let switch = |given: Option<bool>, kept: &mut bool| *kept = given.unwrap_or(*kept);
        switch(self.zdr, &mut terms.policy.zdr);
        switch(
            self.no_data_collection,
            &mut terms.policy.deny_data_collection,
        );
        switch(self.sampling, &mut terms.policy.sampling);
        let limits = |given: &[Given], kept: &mut Vec<Limit>| {
            if !given.is_empty() {
                *kept = given.iter().filter_map(|given| given.0).collect();
            }
        };
        limits(&self.limit, &mut terms.limits);
        limits(&self.soft_limit, &mut terms.soft_limits);
    }
}
