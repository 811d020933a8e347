//! `foreshock query`: a PromQL expression, asked of a running server.

use anyhow::Result;

use super::client::ServerArguments;

/// Evaluate a PromQL expression.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For example `topk(5, foreshock_failure_probability)`.
    expression: String,
    /// When, as RFC 3339 or seconds since 1970; now by default.
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    #[command(flatten)]
    server: ServerArguments,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut query = vec![("query", arguments.expression.as_str())];
    query.extend(arguments.time.as_deref().map(|time| ("time", time)));
    let answer = arguments.server.client().get("/api/v1/query", &query)?;
    for kind in ["warnings", "infos"] {
        for text in answer[kind]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
        {
            tracing::warn!("{text}");
        }
    }
    match &answer["data"]["result"] {
        serde_json::Value::Array(rows) if rows.first().is_some_and(serde_json::Value::is_object) => {
            for row in rows {
                println!("{} {}", labels(&row["metric"]), row["value"][1].as_str().unwrap_or("-"));
            }
        }
        serde_json::Value::Array(pair) if pair.len() == 2 => println!("{}", pair[1].as_str().unwrap_or("-")),
        _ => tracing::info!("no series matches"),
    }
    Ok(())
}

fn labels(metric: &serde_json::Value) -> String {
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
