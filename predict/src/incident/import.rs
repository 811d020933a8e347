//! Incidents from CSV and JSON.

use serde::Deserialize;

use super::{Incident, Source, Verdict};

/// A table of incidents could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A column that is needed is not there.
    #[error("the header has no column {column:?}")]
    Column {
        /// Which column.
        column: &'static str,
    },
    /// A line does not fit.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1, the header included.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The JSON does not fit.
    #[error("incidents are no valid JSON")]
    Json(#[from] serde_json::Error),
}

impl ImportError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Column { .. } => {
                "give at least the columns host, start, kind; also incident_id (or id), end, device, verdict, summary"
            }
            Self::Line { .. } => {
                "write times as 2026-01-31T12:00:00Z or 2026-01-31T14:00:00+02:00 (UTC without either), or as milliseconds since 1970"
            }
            Self::Json(_) => {
                "give a list of objects with host, start, kind and, where known, id, end, device, verdict, summary"
            }
        }
    }
}

/// Reads a table with a header line; columns `host, start, kind` and, where there are any, `incident_id` or `id`, `end`,
/// `device` (or `gpu`), `verdict`, `summary`, `censored`. Times are ISO 8601, in UTC where they
/// have no offset, or milliseconds.
///
/// # Errors
/// [`ImportError`] names the line.
pub fn from_csv(text: &str) -> Result<Vec<Incident>, ImportError> {
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let Some((_, header)) = lines.next() else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = fields(header.trim_start_matches('\u{feff}'))
        .into_iter()
        .map(|n| n.trim().to_owned())
        .collect();
    let column = |wanted: &[&str]| names.iter().position(|n| wanted.contains(&n.as_str()));
    let need = |name: &'static str| column(&[name]).ok_or(ImportError::Column { column: name });
    let (host, start, kind) = (need("host")?, need("start")?, need("kind")?);
    let (id, end, device) = (
        column(&["incident_id", "id"]),
        column(&["end"]),
        column(&["device", "gpu"]),
    );
    let (verdict, summary, censored) = (column(&["verdict"]), column(&["summary"]), column(&["censored"]));
    let mut incidents = Vec::new();
    for (i, line) in lines {
        let wrong = |why: String| ImportError::Line { line: i + 1, why };
        let cells = fields(line);
        let cell = |at: usize| cells.get(at).map_or("", |c| c.trim());
        let optional = |at: Option<usize>| at.map(cell).filter(|c| !c.is_empty());
        let time = |at: usize, what: &str| {
            parse_time(cell(at)).ok_or_else(|| wrong(format!("{what} {:?} is no time", cell(at))))
        };
        if cell(host).is_empty() {
            return Err(wrong("the host is empty".to_owned()));
        }
        let start = time(start, "start")?;
        let end = match end.filter(|at| !cell(*at).is_empty()) {
            Some(at) => Some(time(at, "end")?),
            None => None,
        };
        if end.is_some_and(|end| end < start) {
            return Err(wrong("it ends before it starts".to_owned()));
        }
        let open = optional(censored).is_some_and(|c| c == "1" || c == "true");
        incidents.push(Incident {
            id: optional(id).map_or_else(|| format!("{}-{start}", cell(host)), ToOwned::to_owned),
            host: cell(host).to_owned(),
            device: optional(device).map(ToOwned::to_owned),
            start,
            end: if open { None } else { end },
            kind: cell(kind).to_owned(),
            source: Source::Imported,
            verdict: optional(verdict)
                .map_or(Ok(Verdict::Real), str::parse)
                .map_err(|e| wrong(e.to_string()))?,
            summary: optional(summary).unwrap_or_default().to_owned(),
        });
    }
    Ok(incidents)
}

/// Reads a JSON list of incidents; times are ISO 8601, in UTC where they have no offset, or milliseconds.
///
/// # Errors
/// [`ImportError::Json`] or [`ImportError::Line`] with the position in the list.
pub fn from_json(text: &str) -> Result<Vec<Incident>, ImportError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Time {
        Millis(i64),
        Text(String),
    }
    #[derive(Deserialize)]
    struct Item {
        id: Option<String>,
        host: String,
        device: Option<String>,
        start: Time,
        end: Option<Time>,
        kind: String,
        #[serde(default)]
        verdict: Verdict,
        #[serde(default)]
        summary: String,
    }
    let items: Vec<Item> = serde_json::from_str(text)?;
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| {
            let time = |time: Time| match time {
                Time::Millis(t) => Ok(t),
                Time::Text(t) => parse_time(&t).ok_or_else(|| ImportError::Line {
                    line: i + 1,
                    why: format!("{t:?} is no time"),
                }),
            };
            let start = time(item.start)?;
            Ok(Incident {
                id: item.id.unwrap_or_else(|| format!("{}-{start}", item.host)),
                end: item.end.map(time).transpose()?,
                host: item.host,
                device: item.device,
                start,
                kind: item.kind,
                source: Source::Imported,
                verdict: item.verdict,
                summary: item.summary,
            })
        })
        .collect()
}

/// Cells of a line; quotes as in RFC 4180, without line feeds within them.
pub(crate) fn fields(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

/// Milliseconds of an ISO 8601 time, or of plain milliseconds: `2026-01-31T12:00:00.123+02:00`, with a space for the `T` too. What
/// has no offset is UTC, and what has no time of day is midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(millis) = text.parse::<i64>() {
        return Some(millis);
    }
    // An offset that is there is read the first time, and makes the others no times.
    let parsed = ["", "Z", "T00:00:00Z"]
        .iter()
        .find_map(|rest| format!("{text}{rest}").parse().ok());
    parsed.map(jiff::Timestamp::as_millisecond)
}
