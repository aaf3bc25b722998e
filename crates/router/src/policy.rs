//! What an account's key may use, and under which conditions. A request can narrow it, never widen it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The conditions of a key. The default allows everything and keeps nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Model ids that may be asked, `author/slug` or `author/*`; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Provider slugs that may answer; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Provider slugs that may not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Only endpoints that keep nothing of a request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub zdr: bool,
    /// No endpoints that keep requests to learn from them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deny_data_collection: bool,
    /// A sample of prompts may be looked at to tell their category.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sampling: bool,
    /// The policy of the account, where this is a key's: what that one forbids, this one cannot allow.
    #[serde(skip)]
    pub within: Option<Arc<Policy>>,
}

impl Policy {
    /// The policy of a key of an account: both hold. Sampling is opted into by either.
    ///
    /// Two lists of what is allowed are not merged into one: where they have nothing in common the result would be empty, and
    /// an empty list allows all.
    #[must_use]
    pub fn of_key(key: &Self, account: &Self) -> Self {
        Self {
            zdr: key.zdr || account.zdr,
            deny_data_collection: key.deny_data_collection || account.deny_data_collection,
            sampling: key.sampling || account.sampling,
            within: (*account != Self::default()).then(|| Arc::new(account.clone())),
            ..key.clone()
        }
    }

    /// Whether a model may be asked.
    pub fn allows_model(&self, id: &str) -> bool {
        let own = self.models.is_empty()
            || self.models.iter().any(|allowed| {
                allowed == id
                    || allowed
                        .strip_suffix('*')
                        .is_some_and(|author| author.ends_with('/') && id.starts_with(author))
            });
        own && self
            .within
            .as_ref()
            .is_none_or(|account| account.allows_model(id))
    }

    /// Whether a provider may answer.
    pub fn allows_provider(&self, slug: &str) -> bool {
        (self.providers.is_empty() || self.providers.iter().any(|allowed| allowed == slug))
            && !self.ignore.iter().any(|ignored| ignored == slug)
            && self
                .within
                .as_ref()
                .is_none_or(|account| account.allows_provider(slug))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(models: &[&str], providers: &[&str], ignore: &[&str]) -> Policy {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Policy {
            models: list(models),
            providers: list(providers),
            ignore: list(ignore),
            ..Policy::default()
        }
    }

    #[test]
    fn a_pattern_means_one_model_or_one_author() {
        let policy = policy(&["openai/*", "meta/llama", "*"], &[], &[]);
        assert!(policy.allows_model("openai/gpt-4o") && policy.allows_model("meta/llama"));
        // A bare star is no pattern: whoever means all models leaves the list empty.
        assert!(!policy.allows_model("meta/llama-2") && !policy.allows_model("openaix/gpt-4o"));
        assert!(Policy::default().allows_model("anyone/anything"));
    }

    #[test]
    fn a_key_never_gets_past_its_account() {
        let account = Policy {
            zdr: true,
            ..policy(&["openai/*"], &["azure", "openai"], &["openai"])
        };
        let key = Policy::of_key(&policy(&["anthropic/*"], &["openai"], &[]), &account);
        assert!(!key.allows_model("openai/gpt-4o") && !key.allows_model("anthropic/claude"));
        assert!(!key.allows_provider("openai") && !key.allows_provider("azure"));
        assert!(key.zdr && !key.sampling);
        let key = Policy::of_key(&Policy::default(), &account);
        assert!(key.allows_model("openai/gpt-4o") && key.allows_provider("azure"));
        assert!(!key.allows_model("anthropic/claude") && !key.allows_provider("openai"));
    }
}
