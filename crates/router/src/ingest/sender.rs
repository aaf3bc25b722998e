//! Whose events these are, and what that makes of them.
//!
//! Nothing a sender states can touch another account: accounts, sessions and event ids are keyed hashes over the account of
//! the key and what was stated. Accounts are believed of a gateway's key only: whoever could make them up would pass for many.
//!
//! **Identity.** An event is known by its `event_id` if the sender states one, else by its `request_id`, else by all it says.
//! Together with the key's account and the event's millisecond that makes the id it is stored under, so the same event is
//! counted once however often, in whatever order and over whichever protocol it comes.

use super::names::{Names, plain};
use crate::keys::{Account, Keys};
use crate::meter::charge;
use chrono::Utc;
use tidemark_catalog::{Catalog, Endpoint, Tokens};
use tidemark_event::encode::AvroEncode;
use tidemark_event::{EventId, UsageEvent};

/// The account of a key, as the source of events.
pub(super) struct Sender<'a> {
    keys: &'a Keys,
    account: &'a Account,
    /// The app that the request named, for events that name none.
    app: &'a str,
    names: Names<'a>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        keys: &'a Keys,
        account: &'a Account,
        app: &'a str,
        catalog: &'a Catalog,
    ) -> Self {
        Self {
            keys,
            account,
            app,
            names: Names::new(catalog),
        }
    }

    /// Makes an event as stated an event of this sender.
    pub(super) fn adopt(&self, event: &mut UsageEvent, costs_stated: bool) {
        // First of all: what follows changes what the event says.
        event.event_id = self.id(event);
        event.account_id = match &*event.account_id {
            stated if self.account.gateway && !stated.is_empty() => self.own("account", stated),
            _ => self.account.id.to_string(),
        };
        if !event.session_id.is_empty() {
            event.session_id = self.own("session", &event.session_id);
        }
        if event.app.is_empty() {
            self.app.clone_into(&mut event.app);
        }
        event.router_id.clear();
        event.router_version.clear();
        event.overhead_us = 0;
        let endpoint = self.name(event);
        if costs_stated {
            complete_costs(event);
        } else if let Some(endpoint) = endpoint {
            price(event, endpoint);
        }
    }

    fn id(&self, event: &UsageEvent) -> EventId {
        let mut content = Vec::new();
        let (kind, identity) = if event.event_id != EventId::default() {
            ("id", &event.event_id.0[..])
        } else if !event.request_id.is_empty() {
            ("request", event.request_id.as_bytes())
        } else {
            event.encode(&mut content);
            ("content", &content[..])
        };
        let hash = self
            .keys
            .keyed_hash(&[kind.as_bytes(), self.account.id.as_bytes(), identity]);
        EventId::at(event.ts, hash.first_chunk().copied().unwrap_or_default())
    }

    /// What stands for a name that only this sender gives.
    fn own(&self, kind: &str, stated: &str) -> String {
        let parts = [
            kind.as_bytes(),
            self.account.id.as_bytes(),
            stated.as_bytes(),
        ];
        let hash = self.keys.keyed_hash(&parts);
        hash[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Puts the catalog's names, or plain ones, in the place of what was stated; the endpoint, where the catalog knows it.
    fn name(&self, event: &mut UsageEvent) -> Option<&'a Endpoint> {
        for name in [&mut event.model, &mut event.model_requested] {
            if let Some(id) = name.strip_suffix(":free") {
                *name = id.to_owned();
                "free".clone_into(&mut event.variant);
            }
        }
        let slug = self.names.provider(&event.provider);
        event.provider = slug
            .or(plain(&event.provider))
            .unwrap_or_default()
            .to_owned();
        let asked = self.names.model(slug, &event.model_requested);
        let served = if event.model.is_empty() {
            asked
        } else {
            self.names.model(slug, &event.model)
        };
        let stated = if event.model.is_empty() {
            &event.model_requested
        } else {
            &event.model
        };
        event.model = served
            .map(|model| model.id.as_str())
            .or(plain(stated))
            .unwrap_or_default()
            .to_owned();
        // As in the router's own events: only what names a model of the catalog is kept.
        if asked.is_none() {
            event.model_requested.clear();
        }
        let endpoint = self.names.endpoint(slug?, &served?.id)?;
        if event.endpoint.is_empty() {
            endpoint.id.clone_into(&mut event.endpoint);
        }
        Some(endpoint)
    }
}

/// A total without its parts is the cost of something else.
fn complete_costs(event: &mut UsageEvent) {
    let parts = [
        event.cost_prompt_nanousd,
        event.cost_cached_nanousd,
        event.cost_cache_write_nanousd,
        event.cost_completion_nanousd,
        event.cost_request_nanousd,
        event.cost_other_nanousd,
    ];
    let rest = parts
        .into_iter()
        .fold(event.cost_nanousd, i64::saturating_sub);
    if rest > 0 {
        event.cost_other_nanousd = event.cost_other_nanousd.saturating_add(rest);
    }
}

/// The price in force at the event's time, for what was answered.
fn price(event: &mut UsageEvent, endpoint: &Endpoint) {
    let count = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
    let tokens = Tokens {
        prompt: count(event.prompt_tokens),
        cached: count(event.cached_tokens),
        cache_write: count(event.cache_write_tokens),
        completion: count(event.completion_tokens),
    };
    if event.outcome == "rejected" || tokens.prompt + tokens.completion == 0 {
        return;
    }
    let at = event.ts.to_datetime().unwrap_or_else(Utc::now);
    if let Some(price) = endpoint.price_at(at) {
        charge(event, &price.cost(&tokens));
    }
}
