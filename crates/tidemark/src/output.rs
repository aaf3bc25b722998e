//! What commands print: tables for eyes, CSV and JSON for pipes, Parquet for other engines.

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes.
    Table,
    /// With a header line.
    Csv,
    /// One object a line.
    Json,
    /// A Parquet file on standard output.
    Parquet,
}

/// Writes a line to standard output; a closed pipe ends the command quietly.
pub fn line(text: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A progress bar for work that goes over the lake day by day.
pub fn days_bar() -> Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:40} day {pos} of {len}")?);
    Ok(bar)
}

/// What moves it: days done, and all days.
pub fn by_day(bar: &ProgressBar) -> impl FnMut(usize, usize) {
    |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }
}

/// Writes rows in `format`.
pub fn rows(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<()> {
    let out = std::io::BufWriter::new(std::io::stdout());
    match format {
        Format::Table => {
            drop(out);
            line(table(schema, batches)?);
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new()
                .with_header(true)
                .build(out);
            if batches.is_empty() {
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
            }
            batches
                .iter()
                .try_for_each(|batch| writer.write(batch))
                .context("this result holds nested columns: use --format json")?;
        }
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(out);
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
        }
        Format::Parquet => {
            if std::io::stdout().is_terminal() {
                bail!(
                    "Parquet is not for a terminal: send it to a file, as in `tidemark sql ... --format parquet > result.parquet`"
                );
            }
            let mut writer = parquet::arrow::ArrowWriter::try_new(out, schema.clone(), None)?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.close()?;
        }
    }
    Ok(())
}

fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Table> {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(schema.fields().iter().map(|field| field.name().clone()));
    for (index, field) in schema.fields().iter().enumerate() {
        let numeric = matches!(
            field.data_type(),
            DataType::Int64 | DataType::Int32 | DataType::UInt64 | DataType::Float64
        );
        if let (true, Some(column)) = (numeric, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let options = arrow::util::display::FormatOptions::default().with_null("");
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            table.add_row(columns.iter().map(|column| column.value(row).to_string()));
        }
    }
    Ok(table)
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
