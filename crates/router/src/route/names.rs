//! Names of models: the one that is asked for, and those to fall back on.

use super::lanes::Routes;
use crate::answer::error::Refusal;
use crate::ask::{Ask, Operation};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::HashMap;
use tidemark_catalog::{Catalog, Modality, Model, Status};

/// Models a request may name, the first one included.
pub const MOST_MODELS: usize = 16;

/// A named model.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The model.
    pub model: &'a Model,
    /// free, nitro, floor or empty.
    pub variant: &'static str,
}

/// Models by their slug alone. A slug that two authors use names neither.
pub(super) fn by_slug(catalog: &Catalog) -> HashMap<String, Option<String>> {
    let mut by_slug: HashMap<String, Option<String>> = HashMap::new();
    for model in catalog.models() {
        by_slug
            .entry(model.slug().to_owned())
            .and_modify(|id| *id = None)
            .or_insert_with(|| Some(model.id.clone()));
    }
    by_slug
}

impl Routes {
    /// The model of a name, served or not, and the variant asked for: `author/slug`, or a slug that only one author uses, with
    /// or without a variant.
    ///
    /// # Errors
    /// 404 with near matches.
    pub fn named(&self, name: &str) -> Result<Named<'_>, Refusal> {
        let (id, variant) = variant(name);
        let by_slug = || self.catalog.model(self.by_slug.get(id)?.as_deref()?);
        if let Some(model) = self.catalog.model(id).or_else(by_slug) {
            return Ok(Named { model, variant });
        }
        let near = self.catalog.nearest(id, 3);
        let hint = if near.is_empty() {
            "GET /v1/models lists the models".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Err(Refusal {
            param: Some("model".into()),
            ..Refusal::new(
                404,
                "model_not_found",
                format!("there is no such model; {hint}"),
            )
        }
        .with(
            "suggestions",
            near.iter().map(|id| Value::from(*id)).collect::<Vec<_>>(),
        ))
    }

    /// The model of a name that can be asked now.
    ///
    /// # Errors
    /// As [`Routes::named`] and [`Routes::in_service`].
    pub fn model(&self, name: &str, now: DateTime<Utc>) -> Result<Named<'_>, Refusal> {
        let named = self.named(name)?;
        self.in_service(named.model, now)?;
        Ok(named)
    }

    /// Whether a model can be asked now.
    ///
    /// # Errors
    /// 410 with the successor.
    pub fn in_service(&self, model: &Model, now: DateTime<Utc>) -> Result<(), Refusal> {
        let ended = model.deprecated.is_some_and(|day| day < now.date_naive());
        if model.status == Status::Retired || (ended && !self.is_reachable(model)) {
            let successor = model.successor.as_deref();
            let hint = successor.map_or_else(
                || "GET /v1/models lists what is served".to_owned(),
                |to| format!("its successor is {to}"),
            );
            return Err(Refusal {
                param: Some("model".into()),
                ..Refusal::new(
                    410,
                    "model_deprecated",
                    format!("{} is no longer served; {hint}", model.id),
                )
            }
            .with("model", model.id.as_str())
            .with("successor", successor.map_or(Value::Null, Value::from))
            .with(
                "sunset",
                model
                    .deprecated
                    .map_or(Value::Null, |day| Value::from(day.to_string())),
            ));
        }
        Ok(())
    }

    /// The models of a request, the one named first and then those of its `models`, without those whose time is over.
    ///
    /// # Errors
    /// For a model that does not exist or answers in another way, wherever it stands; and when none is in service.
    pub fn models<'a>(
        &'a self,
        ask: &Ask,
        first: Named<'a>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Named<'a>>, Refusal> {
        let mut models = Vec::with_capacity(1);
        let over = self.in_service(first.model, now).err();
        right_kind(first.model, ask.operation, "model")?;
        if over.is_none() {
            models.push(first);
        }
        for (n, name) in fallbacks(ask)?.into_iter().enumerate() {
            let param = format!("models[{n}]");
            let named = self.named(name).map_err(|refusal| Refusal {
                param: Some(param.clone()),
                ..refusal
            })?;
            right_kind(named.model, ask.operation, &param)?;
            let is_new = models.iter().all(|known| known.model.id != named.model.id);
            if is_new && self.in_service(named.model, now).is_ok() {
                models.push(named);
            }
        }
        match over {
            Some(refusal) if models.is_empty() => Err(refusal),
            _ => Ok(models),
        }
    }

    /// Models that can be called now.
    pub fn callable(&self) -> impl Iterator<Item = &Model> {
        self.catalog
            .models()
            .iter()
            .filter(|model| model.status != Status::Retired && self.is_reachable(model))
    }
}

/// The names in `models`.
fn fallbacks(ask: &Ask) -> Result<Vec<&str>, Refusal> {
    let wrong = |message: &str| Refusal {
        param: Some("models".into()),
        ..Refusal::new(400, "invalid_request", message)
    };
    match ask.field("models") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(names)) if names.len() < MOST_MODELS => names
            .iter()
            .map(|name| name.as_str().filter(|name| name.len() <= 256))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("`models` is a list of ids of models")),
        Some(Value::Array(_)) => Err(wrong("`models` names at most 15 models to fall back on")),
        Some(_) => Err(wrong("`models` is a list of ids of models")),
    }
}

/// Whether a model answers in the way that is asked for.
fn right_kind(model: &Model, operation: Operation, param: &str) -> Result<(), Refusal> {
    let embeds = model.output.contains(&Modality::Embeddings);
    let message = match (embeds, operation == Operation::Embeddings) {
        (true, true) | (false, false) => return Ok(()),
        (false, true) => "this model gives no embeddings",
        (true, false) => "this model only gives embeddings: POST /v1/embeddings",
    };
    Err(Refusal {
        param: Some(param.to_owned()),
        ..Refusal::new(400, "wrong_model", message)
    })
}

/// A name without its variant, and the variant.
fn variant(name: &str) -> (&str, &'static str) {
    match name.rsplit_once(':') {
        Some((id, "free")) => (id, "free"),
        Some((id, "nitro")) => (id, "nitro"),
        Some((id, "floor")) => (id, "floor"),
        _ => (name, ""),
    }
}
