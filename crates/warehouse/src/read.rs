//! Rows back from ClickHouse, as the lake has them.

use crate::schema::{self, quoted};
use crate::server::ANSWER;
use crate::{Server, WarehouseError};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use std::io::Cursor;
use tidemark_lake::{LakeError, TableSpec, conform};

/// How Arrow comes: text as text, nothing packed.
const ARROW: &[(&str, &str)] = &[
    ("output_format_arrow_string_as_string", "1"),
    ("output_format_arrow_low_cardinality_as_dictionary", "0"),
    ("output_format_arrow_compression_method", "none"),
];

impl Server {
    /// The rows of a rollup, one per key, of one UTC day or of all, in the lake's types. `spec` may have fewer values than the table.
    ///
    /// # Errors
    /// When the server does not answer, or with something else.
    pub async fn read(
        &self,
        spec: &TableSpec,
        day: Option<&str>,
    ) -> Result<Vec<RecordBatch>, WarehouseError> {
        let name = schema::shown(spec);
        let columns: Vec<String> = spec
            .schema
            .fields()
            .iter()
            .map(|field| quoted(field.name()))
            .collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(name));
        if let Some(day) = day {
            let day: String = day.chars().filter(char::is_ascii_digit).collect();
            sql.push_str(&format!(
                " WHERE toYYYYMMDD({}) = {day}",
                quoted(&spec.window)
            ));
        }
        let mut client = self.here();
        for (setting, value) in ARROW {
            client = client.with_setting(*setting, *value);
        }
        let answer = async {
            client
                .query(&sql)
                .fetch_bytes("ArrowStream")?
                .collect()
                .await
        };
        let bytes = self.in_time(name, ANSWER, answer).await?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let odd = |cause: String| WarehouseError::Answer {
            what: name.to_owned(),
            cause,
        };
        StreamReader::try_new(Cursor::new(bytes), None)
            .map_err(|error| odd(error.to_string()))?
            .map(|batch| {
                let batch = batch.map_err(|error| odd(error.to_string()))?;
                conform(&batch, &spec.schema).map_err(|error: LakeError| odd(error.to_string()))
            })
            .collect()
    }
}
