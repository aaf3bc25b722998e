//! Sessions in which SQL files are planned.

use crate::InsightError;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
};
use datafusion::dataframe::DataFrame;
use datafusion::error::Result as Done;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// What a file may name with `$`.
pub(crate) type Parameters = [(&'static str, ScalarValue)];

/// Plans one file. It can read, and nothing else.
pub(crate) async fn plan(
    context: &SessionContext,
    file: &str,
    sql: &str,
    parameters: &Parameters,
) -> Result<DataFrame, InsightError> {
    let reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let failed = InsightError::sql(file);
    let frame = context
        .sql_with_options(sql, reads)
        .await
        .map_err(&failed)?;
    frame
        .with_param_values(parameters.to_vec())
        .map_err(&failed)
}

/// A time as a parameter.
pub(crate) fn time(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

/// A text as a parameter.
pub(crate) fn text(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_owned()))
}

/// A session of the same engine, runtime and functions, with no tables: those of the other one are no one else's business.
pub(crate) fn fresh(context: &SessionContext) -> Done<SessionContext> {
    let mut config = context.copied_config();
    // A second pass over a plan changes no answer, and planning is most of a small one's time.
    config.options_mut().optimizer.max_passes = 1;
    let state = SessionStateBuilder::new_from_existing(context.state())
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let names = state.config_options().catalog.clone();
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(&names.default_schema, Arc::new(MemorySchemaProvider::new()))?;
    let fresh = SessionContext::new_with_state(state);
    fresh.register_catalog(names.default_catalog, Arc::new(catalog));
    Ok(fresh)
}
