//! JSON Schemas of tools, compiled once each. Nothing is ever fetched, and no pattern can take long.

use super::cache::{self, Cache};
use super::cost::Cost;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::sync::Arc;

/// Steps back that one pattern may take. Patterns without look-around take none.
const BACKTRACK: usize = 10_000;
/// Bytes of one compiled pattern.
const PATTERN_SIZE: usize = 1 << 20;

/// Compiled schemas of all requests.
static SCHEMAS: Cache<Schema> = Cache::new(4_096, 16 << 20);

/// A checked schema. Cheap to clone.
#[derive(Clone)]
pub(super) struct Schema(Option<Arc<(Validator, Cost)>>);

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Schema(compiled)"
        } else {
            "Schema(unchecked)"
        })
    }
}

/// Why a schema is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotASchema {
    /// Against the rules of its draft.
    Invalid,
    /// A reference out of the schema, or to nothing in it.
    Reference,
}

impl Schema {
    /// Compiles a schema, or finds it compiled.
    pub(super) fn of(schema: &Value) -> Result<Self, NotASchema> {
        let Some((key, length)) = cache::key(schema) else {
            return Ok(Self(None));
        };
        if let Some(known) = SCHEMAS.get(&key) {
            return Ok(known);
        }
        let new = Self::compile(schema)?;
        SCHEMAS.put(key, new.clone(), length);
        Ok(new)
    }

    fn compile(schema: &Value) -> Result<Self, NotASchema> {
        let Some(cost) = Cost::of(schema) else {
            return Ok(Self(None));
        };
        let mut draft = Draft::Draft7.detect(schema);
        let mut known = std::borrow::Cow::Borrowed(schema);
        if draft == Draft::Unknown {
            // A dialect of its own cannot be looked up: read what it shares with draft 7.
            draft = Draft::Draft7;
            if let Some(fields) = known.to_mut().as_object_mut() {
                fields.remove("$schema");
            }
        }
        let built = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(
                PatternOptions::fancy_regex()
                    .backtrack_limit(BACKTRACK)
                    .size_limit(PATTERN_SIZE),
            )
            .build(&known);
        match built {
            Ok(validator) => Ok(Self(Some(Arc::new((validator, cost))))),
            Err(error) if matches!(error.kind(), ValidationErrorKind::Referencing(_)) => {
                Err(NotASchema::Reference)
            }
            Err(_) => Err(NotASchema::Invalid),
        }
    }

    /// Whether a value is known to fail the schema. What costs too much to know is not.
    pub(super) fn fails(&self, value: &Value) -> bool {
        let Some((validator, cost)) = self.0.as_deref() else {
            return false;
        };
        if !cost.allows(value) || validator.is_valid(value) {
            return false;
        }
        validator.validate(value).err().is_some_and(|error| {
            !matches!(
                error.kind(),
                ValidationErrorKind::BacktrackLimitExceeded { .. }
                    | ValidationErrorKind::RegexEngineFailure { .. }
            )
        })
    }
}
