//! The columns of a stored table: made with it, and widened when a later version has more to say of an event.

use crate::error::LakeError;
use crate::spec::{INTAKE, Merge, TableSpec};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use deltalake::DeltaTable;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use std::sync::Arc;

/// The partition column, which no row carries.
const DATE: &str = "date";

/// Makes the table.
pub async fn create(delta: DeltaTable, spec: &TableSpec) -> Result<DeltaTable, LakeError> {
    let date = Arc::new(Field::new(DATE, DataType::Date32, true));
    let fields = spec.schema.fields().iter().cloned().chain([date]);
    let configuration = [
        ("delta.checkpointInterval", "100"),
        ("delta.enableExpiredLogCleanup", "false"),
        ("delta.dataSkippingNumIndexedCols", "0"),
    ];
    delta
        .create()
        .with_table_name(&spec.name)
        .with_columns(kernel(fields)?.fields().cloned())
        .with_partition_columns([DATE])
        .with_configuration(
            configuration.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))),
        )
        .await
        .map_err(|source| LakeError::delta(&spec.name, source))
}

/// Gives a table that an earlier version made the columns that are new since, and `spec` the nullability that is stored.
///
/// A row from before has null in a new column: it was not recorded then. Only tables whose rows are facts of their own
/// can be widened; a rollup's new column would have to be computed from the raw events.
pub async fn widen(delta: DeltaTable, spec: &mut TableSpec) -> Result<DeltaTable, LakeError> {
    let fail = |source| LakeError::delta(&spec.name, source);
    let stored = delta.snapshot().map_err(fail)?.snapshot().arrow_schema();
    let facts = spec.merge == Merge::Keep;
    let differs = |column: &str, how: &str| {
        let (table, detail) = (spec.name.clone(), format!("column {column} is {how}"));
        // The ledger is neither: it merges by key, but nothing could fill it again.
        match facts || table == INTAKE {
            true => LakeError::OtherVersion { table, detail },
            false => LakeError::OtherRollup { table, detail },
        }
    };
    let unknown = |field: &&FieldRef| {
        field.name() != DATE && spec.schema.column_with_name(field.name()).is_none()
    };
    if let Some(field) = stored.fields().iter().find(unknown) {
        return Err(differs(field.name(), "in the lake only"));
    }
    let new: Vec<FieldRef> = spec
        .schema
        .fields()
        .iter()
        .filter(|field| stored.column_with_name(field.name()).is_none())
        .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)))
        .collect();
    let widened = match new.first() {
        None => delta,
        Some(field) if !facts => return Err(differs(field.name(), "missing in the lake")),
        Some(_) => {
            let names: Vec<&String> = new.iter().map(|field| field.name()).collect();
            tracing::info!(table = spec.name, columns = ?names, "adding columns that are new in this version");
            let fields = kernel(new.iter().cloned())?;
            let fields: Vec<_> = fields.fields().cloned().collect();
            delta
                .add_columns()
                .with_fields(fields)
                .await
                .map_err(fail)?
        }
    };
    let optional = |field: &FieldRef| {
        let stored = stored.column_with_name(field.name());
        stored.is_none_or(|(_, stored)| stored.is_nullable())
    };
    let fields = spec.schema.fields().iter().map(|field| {
        let nullable = field.is_nullable() || optional(field);
        Arc::new(field.as_ref().clone().with_nullable(nullable))
    });
    spec.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(widened)
}

fn kernel(fields: impl Iterator<Item = FieldRef>) -> Result<StructType, LakeError> {
    Ok((&Schema::new(fields.collect::<Vec<_>>())).try_into_kernel()?)
}
