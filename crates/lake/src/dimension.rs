//! Keys as numbers. A held table names some of its keys by one number in every row, and says each combination of them once: a
//! question then counts numbers instead of comparing texts.

use crate::error::LakeError;
use crate::spec::{Merge, TableSpec};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys of a table that its held rows have as one number. It gives the numbers out, in the order in which it meets the
/// combinations, and keeps them for as long as it lives.
#[derive(Debug)]
pub struct Dimension {
    column: String,
    keys: Vec<String>,
    table: Option<String>,
    numbers: Mutex<HashMap<Box<[u8]>, i64>>,
}

impl Dimension {
    /// `keys` become the column `column`. What they were is told to nobody.
    pub fn new(column: &str, keys: &[&str]) -> Self {
        Self {
            column: column.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            table: None,
            numbers: Mutex::default(),
        }
    }

    /// What they were is a table of this name: the number and the keys.
    pub fn with_table(self, name: &str) -> Self {
        Self {
            table: Some(name.to_owned()),
            ..self
        }
    }

    /// The numbers of the keys in `rows`.
    fn number(&self, rows: &RecordBatch) -> Result<ArrayRef, LakeError> {
        let schema = rows.schema();
        let fields = self.fields(&schema)?;
        let columns = fields
            .iter()
            .flat_map(|field| rows.column_by_name(field.name()));
        let columns: Vec<ArrayRef> = columns.map(Arc::clone).collect();
        let keys = converter(&fields)?.convert_columns(&columns)?;
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = keys.iter().map(|key| match numbers.get(key.as_ref()) {
            Some(number) => *number,
            None => {
                let next = numbers.len() as i64;
                numbers.insert(key.as_ref().into(), next);
                next
            }
        });
        Ok(Arc::new(numbers.collect::<Int64Array>()))
    }

    /// Every combination that has a number, by number; `of` has the columns that became it.
    fn rows(&self, of: &Schema) -> Result<RecordBatch, LakeError> {
        let fields = self.fields(of)?;
        let converter = converter(&fields)?;
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut met: Vec<(i64, &[u8])> = numbers
            .iter()
            .map(|(key, number)| (*number, key.as_ref()))
            .collect();
        met.sort_unstable();
        let parser = converter.parser();
        let keys = converter.convert_rows(met.iter().map(|(_, key)| parser.parse(key)))?;
        let numbers: Int64Array = met.iter().map(|(number, _)| *number).collect();
        let columns = std::iter::once(Arc::new(numbers) as ArrayRef).chain(keys);
        let fields: Vec<FieldRef> = std::iter::once(self.field()).chain(fields).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new(schema, columns.collect())?)
    }

    fn fields(&self, of: &Schema) -> Result<Vec<FieldRef>, LakeError> {
        let fields = self
            .keys
            .iter()
            .map(|key| Ok(Arc::new(of.field_with_name(key)?.clone())));
        fields.collect()
    }

    fn field(&self) -> FieldRef {
        Arc::new(Field::new(&self.column, DataType::Int64, false))
    }
}

fn converter(fields: &[FieldRef]) -> Result<RowConverter, LakeError> {
    let fields = fields
        .iter()
        .map(|field| SortField::new(field.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?)
}

/// The table as it is with numbers for keys.
pub(crate) fn numbered(spec: TableSpec, by: &[Arc<Dimension>]) -> TableSpec {
    let Merge::ByKey { keys, values } = &spec.merge else {
        return spec;
    };
    let becomes = |name: &str| {
        by.iter()
            .find(|dimension| dimension.keys.iter().any(|key| key == name))
    };
    let fields = spec
        .schema
        .fields()
        .iter()
        .filter(|field| becomes(field.name()).is_none());
    let fields: Vec<FieldRef> = by
        .iter()
        .map(|dimension| dimension.field())
        .chain(fields.cloned())
        .collect();
    let kept = keys.iter().filter(|key| becomes(key).is_none());
    let keys = by
        .iter()
        .map(|dimension| &dimension.column)
        .chain(kept)
        .cloned()
        .collect();
    let merge = Merge::ByKey {
        keys,
        values: values.clone(),
    };
    TableSpec {
        schema: Arc::new(Schema::new(fields)),
        merge,
        ..spec
    }
}

/// `rows` of the table as they are with numbers for keys: `to` is their schema.
pub(crate) fn number(
    rows: &RecordBatch,
    by: &[Arc<Dimension>],
    to: &SchemaRef,
) -> Result<RecordBatch, LakeError> {
    if by.is_empty() {
        return Ok(rows.clone());
    }
    let columns = to.fields().iter().map(|field| {
        match by
            .iter()
            .find(|dimension| dimension.column == *field.name())
        {
            Some(dimension) => dimension.number(rows),
            None => Ok(Arc::clone(
                rows.column(rows.schema().index_of(field.name())?),
            )),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, LakeError>>()?;
    Ok(RecordBatch::try_new(Arc::clone(to), columns)?)
}

/// The tables that say what the numbers stand for, by name.
pub(crate) fn tables(
    by: &[Arc<Dimension>],
    of: &Schema,
) -> Result<Vec<(String, RecordBatch)>, LakeError> {
    by.iter()
        .filter_map(|dimension| dimension.table.as_ref().map(|name| (name, dimension)))
        .map(|(name, dimension)| Ok((name.clone(), dimension.rows(of)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MergeFn;
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::Int64Type;

    type Done<T = ()> = Result<T, LakeError>;

    fn spec() -> TableSpec {
        let text = |name| Field::new(name, DataType::Utf8, true);
        TableSpec {
            name: "sales".to_owned(),
            schema: Arc::new(Schema::new(vec![
                text("who"),
                text("what"),
                text("where"),
                Field::new("n", DataType::Int64, false),
            ])),
            window: "day".to_owned(),
            merge: Merge::ByKey {
                keys: ["who", "what", "where"].map(str::to_owned).to_vec(),
                values: vec![("n".to_owned(), MergeFn::Sum)],
            },
        }
    }

    fn rows(rows: &[(&str, Option<&str>, &str)]) -> Done<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        ];
        Ok(RecordBatch::try_new(spec().schema, columns)?)
    }

    #[test]
    fn a_number_stands_for_one_combination_in_all_batches() -> Done {
        let goods = Dimension::new("good", &["what", "where"]).with_table("goods");
        let by = [Arc::new(Dimension::new("buyer", &["who"])), Arc::new(goods)];
        let held = numbered(spec(), &by);
        let names: Vec<&str> = held
            .schema
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        assert_eq!(names, ["buyer", "good", "n"]);
        assert!(matches!(&held.merge, Merge::ByKey { keys, .. } if keys == &["buyer", "good"]));

        // "a" and "bc" are not "ab" and "c"; no text is not an empty one.
        let first = [
            ("x", Some("a"), "bc"),
            ("y", Some("ab"), "c"),
            ("x", None, ""),
        ];
        let second = [("z", Some(""), ""), ("y", Some("a"), "bc")];
        let mut numbers = Vec::new();
        for batch in [rows(&first)?, rows(&second)?] {
            let batch = number(&batch, &by, &held.schema)?;
            let of = |at: usize| {
                batch
                    .column(at)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            numbers.push([of(0), of(1)]);
        }
        let first = [vec![0, 1, 0], vec![0, 1, 2]];
        assert_eq!(numbers, [first, [vec![2, 1], vec![3, 0]]]);

        let said = tables(&by, &spec().schema)?;
        assert_eq!(said.len(), 1, "who bought is not told");
        let (name, goods) = &said[0];
        assert_eq!(
            (name.as_str(), goods.num_rows(), goods.num_columns()),
            ("goods", 4, 3)
        );
        let what: Vec<Option<&str>> = goods.column(1).as_string::<i32>().iter().collect();
        assert_eq!(what, [Some("a"), Some("ab"), None, Some("")]);
        Ok(())
    }

    #[test]
    fn nothing_met_is_an_empty_table() -> Done {
        let goods = Dimension::new("good", &["what"]).with_table("goods");
        let said = tables(&[Arc::new(goods)], &spec().schema)?;
        let (rows, columns) = (said[0].1.num_rows(), said[0].1.num_columns());
        assert_eq!((rows, columns), (0, 2));
        Ok(())
    }
}
