//! What an account's key may use, and under which conditions. A request can narrow it, never widen it.

use serde::{Deserialize, Serialize};

/// The conditions of a key. The default allows everything and keeps nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Model ids that may be asked, `author/slug` or `author/*`; none: all.
    pub models: Vec<String>,
    /// Provider slugs that may answer; none: all.
    pub providers: Vec<String>,
    /// Provider slugs that may not answer.
    pub ignore: Vec<String>,
    /// Only endpoints that keep nothing of a request.
    pub zdr: bool,
    /// No endpoints that keep requests to learn from them.
    pub deny_data_collection: bool,
    /// A sample of prompts may be looked at to tell their category.
    pub sampling: bool,
}

impl Policy {
    /// Whether a model may be asked.
    pub fn allows_model(&self, id: &str) -> bool {
        self.models.is_empty()
            || self.models.iter().any(|allowed| {
                allowed == id
                    || allowed
                        .strip_suffix('*')
                        .is_some_and(|author| author.ends_with('/') && id.starts_with(author))
            })
    }

    /// Whether a provider may answer.
    pub fn allows_provider(&self, slug: &str) -> bool {
        (self.providers.is_empty() || self.providers.iter().any(|allowed| allowed == slug))
            && !self.ignore.iter().any(|ignored| ignored == slug)
    }
}
