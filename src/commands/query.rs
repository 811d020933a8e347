//! `foreshock query`: PromQL or SQL, asked of a running server.

use std::io;

use anyhow::{Context, Result};
use serde_json::Value;

use super::client::{Client, ServerArguments};

/// Evaluate a PromQL expression, or SQL with --sql.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For example `topk(5, foreshock_failure_probability)`, or with --sql `SELECT * FROM incidents`.
    expression: String,
    /// The expression is SQL.
    #[arg(long, conflicts_with = "time")]
    sql: bool,
    /// When, as RFC 3339 or seconds since 1970; now by default.
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Most rows of SQL; a table stops at 1000 unless told otherwise, CSV and JSON where the server does.
    #[arg(long, value_name = "ROWS", requires = "sql")]
    limit: Option<usize>,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Rows of a table that nobody asked to be longer.
const TABLE_ROWS: usize = 1000;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let client = arguments.server.client()?;
    let mut out = io::stdout().lock();
    if arguments.sql {
        sql(arguments, &client, &mut out)
    } else {
        promql(arguments, &client, &mut out)
    }
    .or_else(|error| match error.downcast_ref::<io::Error>() {
        // `head` has seen enough.
        Some(io) if io.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

fn sql(arguments: &Arguments, client: &Client, out: &mut impl io::Write) -> Result<()> {
    let limit = match arguments.format {
        Format::Table => Some(arguments.limit.unwrap_or(TABLE_ROWS)),
        Format::Csv | Format::Json => arguments.limit,
    }
    .map(|limit| limit.to_string());
    let mut form = vec![("query", arguments.expression.as_str())];
    form.extend(limit.as_deref().map(|limit| ("limit", limit)));
    match arguments.format {
        Format::Table => {
            form.push(("format", "json"));
            let answer = client.form("/api/v1/sql", &form)?;
            let columns: Vec<&str> = answer["columns"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|column| column["name"].as_str())
                .collect();
            let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
            let cells = rows
                .iter()
                .map(|row| columns.iter().map(|name| cell(&row[*name])).collect());
            table(out, &columns, cells.collect())?;
            if answer["truncated"] == true {
                tracing::warn!(rows = rows.len(), "there are more rows: --limit ROWS, or --format csv");
            }
        }
        Format::Csv => {
            form.push(("format", "csv"));
            client.download("/api/v1/sql", &form, out)?;
        }
        Format::Json => {
            form.push(("format", "json"));
            client.download("/api/v1/sql", &form, out)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// A value of JSON as a cell of a table.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Columns as wide as their widest cell, numbers and text alike to the left, as `column -t` has them.
fn table(out: &mut impl io::Write, columns: &[&str], mut rows: Vec<Vec<String>>) -> Result<()> {
    // A line break within a cell would tear the table.
    rows.iter_mut()
        .flatten()
        .for_each(|cell| *cell = cell.replace('\n', "\\n"));
    let mut widths: Vec<usize> = columns.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let names = columns.iter().map(|name| (*name).to_owned()).collect();
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
    for row in [names, rule].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn promql(arguments: &Arguments, client: &Client, out: &mut impl io::Write) -> Result<()> {
    let mut query = vec![("query", arguments.expression.as_str())];
    query.extend(arguments.time.as_deref().map(|time| ("time", time)));
    let answer = client.get("/api/v1/query", &query)?;
    for kind in ["warnings", "infos"] {
        for text in answer[kind].as_array().into_iter().flatten().filter_map(Value::as_str) {
            tracing::warn!("{text}");
        }
    }
    if arguments.format == Format::Json {
        writeln!(out, "{}", answer["data"])?;
        return Ok(());
    }
    let rows = match &answer["data"]["result"] {
        Value::Array(rows) if rows.first().is_some_and(Value::is_object) => rows
            .iter()
            .map(|row| (labels(&row["metric"]), row["value"][1].as_str().unwrap_or("-")))
            .collect(),
        Value::Array(pair) if pair.len() == 2 => vec![(String::new(), pair[1].as_str().unwrap_or("-"))],
        _ => Vec::new(),
    };
    if rows.is_empty() {
        tracing::info!("no series matches");
    }
    match arguments.format {
        Format::Csv => {
            writeln!(out, "series,value")?;
            for (series, value) in rows {
                writeln!(out, "\"{}\",{value}", series.replace('"', "\"\""))?;
            }
        }
        _ => {
            for (series, value) in rows {
                writeln!(out, "{}", format!("{series} {value}").trim_start())?;
            }
        }
    }
    out.flush().context("cannot write the answer")
}

fn labels(metric: &Value) -> String {
    let pairs = || {
        metric
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
    };
    let name = pairs().find(|(k, _)| *k == "__name__").map_or("", |(_, v)| v);
    let rest: Vec<String> = pairs()
        .filter(|(k, _)| *k != "__name__")
        .map(|(k, v)| format!("{k}={v:?}"))
        .collect();
    format!("{name}{{{}}}", rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let rows = vec![
            vec!["rack4-n17".to_owned(), "1".to_owned()],
            vec!["a\nb".to_owned(), String::new()],
        ];
        let mut out = Vec::new();
        table(&mut out, &["host", "count(*)"], rows).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "host       count(*)\n---------  --------\nrack4-n17  1\na\\nb\n"
        );
    }
}
