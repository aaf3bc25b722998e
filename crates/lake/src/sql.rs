//! The lake as analysts see it: plain names, one row per key, ids as text.

use crate::error::LakeError;
use crate::merge::merged;
use crate::spec::{EVENTS, Merge};
use crate::{Lake, sketch};
use arrow::array::{Array, AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, ident,
};
use std::sync::Arc;

impl Lake {
    /// A context with the view `usage_events`, every rollup merged to one row per key, `dead_letters` and `intake`.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn sql(&self) -> Result<SessionContext, LakeError> {
        let context = SessionContext::new();
        sketch::register(&context);
        let uuid_text = ScalarUDF::from(UuidText {
            signature: Signature::any(1, Volatility::Immutable),
        });
        context.register_udf(uuid_text.clone());
        for table in self.tables() {
            let provider = table.delta().await.table_provider().await?;
            let rows = context.read_table(provider)?;
            let columns = table.spec().schema.fields();
            let view = if table.spec().name == EVENTS {
                let shown = columns.iter().map(|field| match field.name().as_str() {
                    "event_id" => uuid_text.call(vec![ident("event_id")]).alias("event_id"),
                    name => ident(name),
                });
                context.register_table(
                    "usage_events",
                    rows.select(shown.collect::<Vec<_>>())?.into_view(),
                )?;
                continue;
            } else if table.spec().merge == Merge::Keep {
                rows.select(
                    columns
                        .iter()
                        .map(|field| ident(field.name()))
                        .collect::<Vec<_>>(),
                )?
            } else {
                merged(rows, table.spec())?
            };
            context.register_table(table.spec().name.as_str(), view.into_view())?;
        }
        Ok(context)
    }
}

/// `uuid_text(binary)`: the hyphenated form of 16 bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct UuidText {
    signature: Signature,
}

impl ScalarUDFImpl for UuidText {
    fn name(&self) -> &str {
        "uuid_text"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let bytes = arrow::compute::cast(&arrays[0], &DataType::Binary)?;
        let Some(bytes) = bytes.as_binary_opt::<i32>() else {
            return exec_err!("uuid_text takes 16 bytes");
        };
        let mut out = StringBuilder::with_capacity(bytes.len(), bytes.len() * 36);
        for id in bytes {
            out.append_option(
                id.and_then(|id| uuid::Uuid::from_slice(id).ok())
                    .map(|id| id.hyphenated().to_string()),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
