//! What may be shown of the held tables: the same rows, in which nothing tells who is behind an alias.
//!
//! Boards, statistics and pages read these and nothing else, so none of them can forget to hide. A row of an alias that is
//! still a secret keeps the alias as its model and endpoint and has no other provider than `stealth`, and no region. That does not
//! depend on the list of aliases being at hand: ids under `stealth/` are hidden unless the catalog says that they are revealed.
//! From then on the row is one of the real model, at its real endpoint: history joins it, with nothing written anew.

use crate::InsightError;
use crate::catalog::register_catalog;
use crate::session::fresh;
use chrono::{DateTime, Utc};
use datafusion::error::Result as Done;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, ident, lit, when};
use tidemark_catalog::{Catalog, STEALTH};
use tidemark_lake::sketch;

/// A session over `held` in which every table is as anyone may see it at `now`, with the catalog's tables beside.
///
/// # Errors
/// A table cannot be read or registered.
pub async fn publish(
    held: &SessionContext,
    catalog: &Catalog,
    now: DateTime<Utc>,
) -> Result<SessionContext, InsightError> {
    let failed = |source| InsightError::Catalog(Box::new(source));
    let public = fresh(held).map_err(failed)?;
    sketch::register(&public);
    let revealed: Vec<(&str, &str)> = catalog
        .aliases()
        .iter()
        .filter(|alias| alias.is_revealed(now))
        .map(|alias| (alias.face.id.as_str(), alias.of.as_str()))
        .collect();
    for name in names(held) {
        let rows = held.table(name.as_str()).await.map_err(failed)?;
        let columns: Vec<String> = rows
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let is_hideable = columns.iter().any(|column| column == "model");
        let rows = if is_hideable {
            let shown = columns
                .iter()
                .map(|column| Ok(shown(column, &revealed)?.alias(column)))
                .collect::<Done<Vec<_>>>()
                .map_err(failed)?;
            rows.select(shown).map_err(failed)?
        } else {
            rows
        };
        public
            .register_table(name.as_str(), rows.into_view())
            .map_err(failed)?;
    }
    register_catalog(&public, catalog, now)?;
    Ok(public)
}

fn names(context: &SessionContext) -> Vec<String> {
    let options = context.copied_config();
    let names = &options.options().catalog;
    context
        .catalog(&names.default_catalog)
        .and_then(|catalog| catalog.schema(&names.default_schema))
        .map(|schema| schema.table_names())
        .unwrap_or_default()
}

/// A column as anyone may see it.
fn shown(column: &str, revealed: &[(&str, &str)]) -> Done<Expr> {
    let model = || ident("model");
    let mut secret = model().like(lit(format!("{STEALTH}/%")));
    if !revealed.is_empty() {
        let aliases = revealed.iter().map(|(alias, _)| lit(*alias)).collect();
        secret = secret.and(model().in_list(aliases, true));
    }
    match column {
        "model" if revealed.is_empty() => Ok(model()),
        "model" => {
            let cases = revealed
                .iter()
                .map(|(alias, of)| (Box::new(lit(*alias)), Box::new(lit(*of))))
                .collect();
            let of = Case::new(Some(Box::new(model())), cases, Some(Box::new(model())));
            Ok(Expr::Case(of))
        }
        // Requests that reached nobody say so.
        "provider" => when(secret.and(ident("provider").not_eq(lit(""))), lit(STEALTH))
            .otherwise(ident("provider")),
        "endpoint" => when(secret, model()).otherwise(ident("endpoint")),
        "region" => when(secret, lit("")).otherwise(ident("region")),
        other => Ok(ident(other)),
    }
}
