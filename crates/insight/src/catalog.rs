//! The catalog as tables, for joins by name, weights and country.

use crate::InsightError;
use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_catalog::{Catalog, STEALTH, is_alias};

/// The name of whoever is hidden.
pub(crate) const UNDISCLOSED: &str = "Stealth";

/// A row of `catalog_models`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// `author/slug`, as in events.
    pub model: String,
    /// The author's slug.
    pub author: String,
    /// For people.
    pub name: String,
    /// Whether the weights are public; none if unknown.
    pub open_weights: Option<bool>,
    /// The author's country; empty if unknown.
    pub country: String,
}

/// A row of `catalog_authors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorRow {
    /// Slug.
    pub author: String,
    /// For people.
    pub name: String,
    /// Country; empty if unknown.
    pub country: String,
}

/// A row of `catalog_providers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// Slug, as in events.
    pub provider: String,
    /// For people.
    pub name: String,
    /// Country; empty if unknown.
    pub country: String,
}

/// Registers the catalog as the tables `catalog_models`, `catalog_authors` and `catalog_providers`. Aliases that are a secret at
/// `now` are models of an author that nothing is known of.
///
/// # Errors
/// A table of that name cannot be registered.
pub(crate) fn register_catalog(
    context: &SessionContext,
    catalog: &Catalog,
    now: DateTime<Utc>,
) -> Result<(), InsightError> {
    let models = catalog.named_models(now).map(|model| ModelRow {
        model: model.id.clone(),
        author: model.author.clone(),
        name: model.name.clone(),
        open_weights: (!is_alias(&model.id)).then_some(model.open_weights),
        country: catalog
            .author(&model.author)
            .map(|author| author.country.clone())
            .unwrap_or_default(),
    });
    let authors = catalog.named_authors(now).map(|author| AuthorRow {
        author: author.slug.clone(),
        name: author.name.clone(),
        country: author.country.clone(),
    });
    let authors = authors.chain([AuthorRow {
        author: STEALTH.to_owned(),
        name: UNDISCLOSED.to_owned(),
        country: String::new(),
    }]);
    let providers = catalog.named_providers(now).map(|provider| ProviderRow {
        provider: provider.slug.clone(),
        name: provider.name.clone(),
        country: provider.country.clone(),
    });
    let providers = providers.chain([ProviderRow {
        provider: STEALTH.to_owned(),
        name: UNDISCLOSED.to_owned(),
        country: String::new(),
    }]);
    register_catalog_rows(context, models, authors, providers)
}

/// Registers the three tables out of given rows. Of rows with one
/// key the first counts: a board joins them to its events, and a second match would count those twice.
///
/// # Errors
/// A table of that name cannot be registered.
pub fn register_catalog_rows(
    context: &SessionContext,
    models: impl IntoIterator<Item = ModelRow>,
    authors: impl IntoIterator<Item = AuthorRow>,
    providers: impl IntoIterator<Item = ProviderRow>,
) -> Result<(), InsightError> {
    let models = first_of_each(models, |row: &ModelRow| row.model.clone());
    let authors = first_of_each(authors, |row: &AuthorRow| row.author.clone());
    let providers = first_of_each(providers, |row: &ProviderRow| row.provider.clone());
    let open: BooleanArray = models.iter().map(|row| row.open_weights).collect();
    table(
        context,
        "catalog_models",
        vec![
            ("model", texts(&models, |row| &row.model)),
            ("author", texts(&models, |row| &row.author)),
            ("name", texts(&models, |row| &row.name)),
            ("open_weights", Arc::new(open)),
            ("country", texts(&models, |row| &row.country)),
        ],
    )?;
    table(
        context,
        "catalog_authors",
        vec![
            ("author", texts(&authors, |row| &row.author)),
            ("name", texts(&authors, |row| &row.name)),
            ("country", texts(&authors, |row| &row.country)),
        ],
    )?;
    table(
        context,
        "catalog_providers",
        vec![
            ("provider", texts(&providers, |row| &row.provider)),
            ("name", texts(&providers, |row| &row.name)),
            ("country", texts(&providers, |row| &row.country)),
        ],
    )
}

fn first_of_each<T>(rows: impl IntoIterator<Item = T>, key: impl Fn(&T) -> String) -> Vec<T> {
    let mut by_key = BTreeMap::new();
    for row in rows {
        by_key.entry(key(&row)).or_insert(row);
    }
    by_key.into_values().collect()
}

fn texts<'a, T>(rows: &'a [T], text: impl Fn(&'a T) -> &'a String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
}

fn table(
    context: &SessionContext,
    name: &str,
    columns: Vec<(&str, ArrayRef)>,
) -> Result<(), InsightError> {
    let failed = |source: DataFusionError| InsightError::Catalog(Box::new(source));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| {
            Field::new(
                *name,
                values.data_type().clone(),
                *values.data_type() == DataType::Boolean,
            )
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let values = columns.into_iter().map(|(_, values)| values).collect();
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), values).map_err(|error| failed(error.into()))?;
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(failed)?;
    context
        .register_table(name, Arc::new(table))
        .map(|_| ())
        .map_err(failed)
}
