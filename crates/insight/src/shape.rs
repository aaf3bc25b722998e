//! Which columns each SQL file hands to the next step.

use crate::InsightError;
use arrow::datatypes::{DataType, Schema};

/// What kinds of column the steps hand on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Real,
    Truth,
}

impl Kind {
    fn takes(self, data_type: &DataType) -> bool {
        match self {
            Self::Text => matches!(
                data_type,
                DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
            ),
            Self::Integer => data_type.is_integer(),
            Self::Real => data_type.is_floating(),
            Self::Truth => *data_type == DataType::Boolean,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Real => "a floating-point number",
            Self::Truth => "a boolean",
        }
    }
}

pub(crate) type Expected = &'static [(&'static str, Kind)];

/// What every board gives.
pub(crate) const BOARD: Expected = &[
    ("flow", Kind::Integer),
    ("key", Kind::Text),
    ("name", Kind::Text),
    ("earlier_windows", Kind::Integer),
];
/// What `_cells.sql` gives.
pub(crate) const CELLS: Expected = &[
    ("flow", Kind::Integer),
    ("cell", Kind::Integer),
    ("key", Kind::Text),
    ("name", Kind::Text),
    ("earlier_windows", Kind::Integer),
    ("simulated", Kind::Truth),
];
/// What `_accounts.sql` gives.
pub(crate) const VOLUMES: Expected = &[
    ("cell", Kind::Integer),
    ("account", Kind::Integer),
    ("windows_ago", Kind::Integer),
    ("tokens", Kind::Integer),
    ("requests", Kind::Integer),
    ("spend_nanousd", Kind::Integer),
    ("simulated_requests", Kind::Integer),
    ("capped_tokens", Kind::Integer),
    ("counted", Kind::Integer),
];
/// What `_places.sql` gives.
pub(crate) const PLACED: Expected = &[
    ("place", Kind::Integer),
    ("cell", Kind::Integer),
    ("key", Kind::Text),
    ("name", Kind::Text),
    ("earlier_windows", Kind::Integer),
    ("counted", Kind::Integer),
    ("counted_before", Kind::Integer),
    ("score", Kind::Integer),
    ("tokens", Kind::Integer),
    ("requests", Kind::Integer),
    ("spend_nanousd", Kind::Integer),
    ("capped_tokens", Kind::Integer),
    ("simulated_requests", Kind::Integer),
    ("accounts", Kind::Integer),
];
/// What `_fold.sql` gives.
pub(crate) const ROWS: Expected = &[
    ("place", Kind::Integer),
    ("key", Kind::Text),
    ("name", Kind::Text),
    ("tokens", Kind::Integer),
    ("requests", Kind::Integer),
    ("spend_nanousd", Kind::Integer),
    ("accounts", Kind::Integer),
    ("capped_tokens", Kind::Integer),
    ("simulated_requests", Kind::Integer),
    ("share", Kind::Real),
    ("growth", Kind::Real),
    ("growth_percent", Kind::Real),
];
/// What `_totals.sql` gives.
pub(crate) const IN_ALL: Expected = &[
    ("tokens", Kind::Integer),
    ("requests", Kind::Integer),
    ("spend_nanousd", Kind::Integer),
    ("accounts", Kind::Integer),
    ("capped_tokens", Kind::Integer),
    ("simulated_requests", Kind::Integer),
    ("simulated_share", Kind::Real),
];

/// Says which column of a file's output is missing or of the wrong type.
pub(crate) fn expect_columns(
    file: &str,
    found: &Schema,
    expected: Expected,
) -> Result<(), InsightError> {
    for (name, kind) in expected {
        let problem = match found.field_with_name(name) {
            Err(_) => format!("the column {name} is missing"),
            Ok(field) if !kind.takes(field.data_type()) => {
                format!(
                    "the column {name} must be {}, not {}",
                    kind.name(),
                    field.data_type()
                )
            }
            Ok(_) => continue,
        };
        return Err(InsightError::Shape {
            file: format!("{file}.sql"),
            problem,
        });
    }
    Ok(())
}
