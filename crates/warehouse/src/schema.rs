//! What a table of the lake looks like in ClickHouse: derived from the same [`TableSpec`] that the lake's own table is made from.
//!
//! Rollups are kept as partials, in tables that merge by the same functions as the lake does, and read through views that
//! merge the rest, so that a view's row is one key whatever the server has merged so far.

use arrow::datatypes::{DataType, Field};
use std::fmt::Write as _;
use tidemark_lake::{EVENTS, Merge, MergeFn, TableSpec};

/// Inserts that a table remembers the tokens of. The ledger is what says that a file is in; the window covers the moment
/// between a file's rows and its line in the ledger.
pub const WINDOW: u32 = 10_000;

/// Where the files stand that have been loaded.
pub const LEDGER: &str = "lake_files";

/// The table that holds what a table of the lake holds.
pub fn stored(spec: &TableSpec) -> String {
    match spec.merge {
        Merge::Keep => spec.name.clone(),
        Merge::ByKey { .. } => format!("{}_partials", spec.name),
    }
}

/// The name under which it is read.
pub fn shown(spec: &TableSpec) -> &str {
    match spec.name.as_str() {
        EVENTS => "usage_events",
        name => name,
    }
}

/// The columns and their types, in the lake's order.
pub fn columns(spec: &TableSpec) -> Vec<(String, String)> {
    spec.schema
        .fields()
        .iter()
        .map(|field| (field.name().clone(), column_type(field, spec)))
        .collect()
}

/// `CREATE TABLE`.
pub fn table(spec: &TableSpec) -> String {
    let mut sql = format!("CREATE TABLE {}\n(\n", stored(spec));
    let columns = columns(spec);
    for (at, (name, kind)) in columns.iter().enumerate() {
        let comma = if at + 1 < columns.len() { "," } else { "" };
        writeln!(sql, "    {} {kind}{comma}", quoted(name)).ok();
    }
    let (engine, order) = match &spec.merge {
        Merge::Keep => ("MergeTree", quoted(&spec.window)),
        Merge::ByKey { keys, .. } => {
            let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
            ("AggregatingMergeTree", format!("({})", keys.join(", ")))
        }
    };
    // One file of the lake is of one day, so that its insert is one block in one partition: all of it or nothing.
    write!(
        sql,
        ")\nENGINE = {engine}\nPARTITION BY toYYYYMMDD({})\nORDER BY {order}\n\
         SETTINGS non_replicated_deduplication_window = {WINDOW}, allow_nullable_key = 1\n",
        quoted(&spec.window)
    )
    .ok();
    sql
}

/// The view that analysts read: one row per event or key, ids as text. None where the table is read as it is.
pub fn view(spec: &TableSpec) -> Option<String> {
    let mut shown_columns = Vec::new();
    let mut grouped = String::new();
    match &spec.merge {
        Merge::Keep if spec.name == EVENTS => {
            for field in spec.schema.fields() {
                let name = quoted(field.name());
                shown_columns.push(match field.data_type() {
                    DataType::Binary => {
                        format!("UUIDNumToString(toFixedString(t.{name}, 16)) AS {name}")
                    }
                    _ => format!("t.{name} AS {name}"),
                });
            }
        }
        Merge::Keep => return None,
        Merge::ByKey { keys, values } => {
            for field in spec.schema.fields() {
                let name = quoted(field.name());
                let how = values.iter().find(|(value, _)| value == field.name());
                shown_columns.push(match how {
                    None => format!("t.{name} AS {name}"),
                    Some((_, how)) => format!("{} AS {name}", merged(&format!("t.{name}"), *how)),
                });
            }
            let keys: Vec<String> = keys
                .iter()
                .map(|key| format!("t.{}", quoted(key)))
                .collect();
            grouped = format!("\nGROUP BY {}", keys.join(", "));
        }
    }
    Some(format!(
        "CREATE OR REPLACE VIEW {} AS\nSELECT\n    {}\nFROM {} AS t{grouped}\n",
        shown(spec),
        shown_columns.join(",\n    "),
        stored(spec)
    ))
}

/// `CREATE TABLE` of the ledger. A line says that the rows of a file are in the table with this id, for a table that is made anew is
/// empty. A file that only puts rows together anew, of files that are in, is in as well.
pub fn ledger() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {LEDGER}\n(\n    table_id UUID,\n    lake_table LowCardinality(String),\n    day String,\n    \
         path String,\n    version UInt64,\n    loaded_at DateTime DEFAULT now()\n)\nENGINE = MergeTree\nORDER BY (table_id, day, path)\n"
    )
}

/// What SQL over the lake has, and ClickHouse has not: figures of histograms and sketches, by the formulas of `tidemark_lake::sketch`.
pub fn functions() -> [&'static str; 3] {
    [
        "CREATE OR REPLACE FUNCTION histogram_samples AS (histogram) -> arraySum(mapValues(histogram))",
        "CREATE OR REPLACE FUNCTION histogram_quantile AS (histogram, q) -> if(length(histogram) = 0, NULL, arrayMap(\n    \
         bucket -> if(bucket <= 0, 0., 2 * pow(1.01 / 0.99, bucket - 1) / (1.01 / 0.99 + 1)),\n    \
         [mapKeys(histogram)[arrayFirstIndex(seen -> seen >= greatest(ceil(q * arraySum(mapValues(histogram))), 1),\n    \
         arrayCumSum(mapValues(histogram)))]])[1])",
        "CREATE OR REPLACE FUNCTION sketch_distinct AS (sketch, k) -> if(length(sketch) < k, toFloat64(length(sketch)),\n    \
         (k - 1) / ((toFloat64(sketch[k]) + 9223372036854775808.) / 18446744073709551616.))",
    ]
}

/// Who may read and not more: a role, limits for it, and a quota. For an administrator to run once, who then grants the role:
/// `CREATE USER ada IDENTIFIED BY '...' DEFAULT ROLE tidemark_analyst`.
pub fn analyst(database: &str) -> [String; 4] {
    let name = "tidemark_analyst";
    [
        format!("CREATE ROLE IF NOT EXISTS {name}"),
        format!("GRANT SELECT ON {}.* TO {name}", quoted(database)),
        // A query that runs away ends, and says by which limit.
        format!(
            "CREATE SETTINGS PROFILE IF NOT EXISTS {name} SETTINGS\n    readonly = 1,\n    max_execution_time = 60,\n    \
             max_memory_usage = 4000000000,\n    max_result_rows = 1000000,\n    max_result_bytes = 1000000000,\n    \
             result_overflow_mode = 'throw',\n    max_concurrent_queries_for_user = 4\nTO {name}"
        ),
        format!(
            "CREATE QUOTA IF NOT EXISTS {name} KEYED BY user_name FOR INTERVAL 1 hour\n    MAX queries = 2000, execution_time = 3600\nTO {name}"
        ),
    ]
}

fn merged(column: &str, how: MergeFn) -> String {
    match how {
        MergeFn::Sum => format!("sum({column})"),
        MergeFn::Min => format!("min({column})"),
        MergeFn::Max => format!("max({column})"),
        MergeFn::Histogram => format!("sumMap({column})"),
        MergeFn::BottomK(k) => {
            format!("arraySlice(arraySort(groupUniqArrayArray({column})), 1, {k})")
        }
    }
}

fn column_type(field: &Field, spec: &TableSpec) -> String {
    let Merge::ByKey { values, .. } = &spec.merge else {
        return plain(field);
    };
    match values.iter().find(|(name, _)| name == field.name()) {
        None => plain(field),
        Some((_, how)) => {
            let function = match how {
                MergeFn::Sum => "sum",
                MergeFn::Min => "min",
                MergeFn::Max => "max",
                MergeFn::Histogram => "sumMap",
                // The union; a view cuts it at k.
                MergeFn::BottomK(_) => "groupUniqArrayArray",
            };
            format!("SimpleAggregateFunction({function}, {})", plain(field))
        }
    }
}

/// The type of a value. Names repeat, ids do not.
fn plain(field: &Field) -> String {
    let name = field.name();
    let repeats = !name.ends_with("_id") && name != "route";
    let base = match field.data_type() {
        DataType::Utf8 if repeats => {
            return match field.is_nullable() {
                true => "LowCardinality(Nullable(String))".to_owned(),
                false => "LowCardinality(String)".to_owned(),
            };
        }
        DataType::Boolean => "Bool".to_owned(),
        DataType::Int32 => "Int32".to_owned(),
        DataType::Int64 => "Int64".to_owned(),
        DataType::Float64 => "Float64".to_owned(),
        DataType::Timestamp(_, _) => "DateTime64(6, 'UTC')".to_owned(),
        // Neither can be null there: none is empty.
        DataType::List(item) => return format!("Array({})", element(item)),
        DataType::Map(entries, _) => return format!("Map({})", inner(entries.data_type())),
        DataType::Struct(_) => return format!("Tuple({})", inner(field.data_type())),
        _ => "String".to_owned(),
    };
    match field.is_nullable() {
        true => format!("Nullable({base})"),
        false => base,
    }
}

/// The type of a list's items; those of our lists are never null.
fn element(item: &Field) -> String {
    plain(&item.clone().with_nullable(false))
}

/// Names and types of a struct's fields; the types alone for a map's key and value.
fn inner(kind: &DataType) -> String {
    let DataType::Struct(fields) = kind else {
        return String::new();
    };
    let is_map = fields.len() == 2 && fields[0].name() == "key";
    let all: Vec<String> = fields
        .iter()
        .map(|field| match is_map {
            true => element(field),
            false => format!("{} {}", quoted(field.name()), plain(field)),
        })
        .collect();
    all.join(", ")
}

/// A name as ClickHouse takes any.
pub fn quoted(name: &str) -> String {
    format!("`{name}`")
}
