//! `foreshock rules replay`: what rules would have done, here.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use api::rule::{Group, Replay, Shelf, default_groups, load_file, parse_duration, replay};
use serde_json::{Value, json};
use store::promql::{Deadline, Engine};

use crate::clock::now_ms;
use crate::commands::client::Client;
use crate::commands::store::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Beginning: RFC 3339, seconds since 1970, or how long ago, as 7d.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    from: String,
    /// End, said in the same ways.
    #[arg(long, value_name = "TIME", default_value = "now")]
    to: String,
    /// Only rules of this name; what they read of others' records is then what is stored.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only groups of this name.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Alerts of each rule that are listed.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    list: usize,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// A rule file; without it the rules that are evaluated there: of a data directory the built-in ones and those of the API.
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let now = now_ms();
    let (from_ms, to_ms) = (moment(&arguments.from, now)?, moment(&arguments.to, now)?);
    let report = match arguments.place.client()? {
        Some(client) => asked(arguments, &client, from_ms, to_ms)?,
        None => replayed(arguments, from_ms, to_ms)?,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{report}")?;
    } else {
        print(&report, arguments.list, &mut out)?;
    }
    Ok(())
}

/// By a running server.
fn asked(arguments: &Arguments, client: &Client, from_ms: i64, to_ms: i64) -> Result<Value> {
    let mut body = json!({ "from": from_ms as f64 / 1000.0, "to": to_ms as f64 / 1000.0 });
    if let Some(file) = &arguments.file {
        // Checked here first, so that mistakes are told with the file's name.
        load_file(file)?;
        body["rules"] = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .into();
    }
    for (name, value) in [("rule", &arguments.rule), ("group", &arguments.group)] {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    client.post("/api/v1/rules/replay", &body)
}

/// On a data directory.
fn replayed(arguments: &Arguments, from_ms: i64, to_ms: i64) -> Result<Value> {
    let opened = arguments.place.open(false)?;
    let mut groups: Vec<Group> = match &arguments.file {
        Some(file) => load_file(file)?,
        None => {
            let mut groups = default_groups();
            groups.extend(Shelf::open(opened.store.state())?.groups()?);
            groups
        }
    };
    groups.retain(|group| arguments.group.as_ref().is_none_or(|name| *name == group.name));
    for group in &mut groups {
        group
            .rules
            .retain(|rule| arguments.rule.as_ref().is_none_or(|name| *name == rule.name));
    }
    let asked = Replay {
        groups: &groups,
        from_ms,
        to_ms,
        time_max: Duration::MAX,
        deadline: Deadline::default(),
    };
    let report = replay(&asked, &Engine::default(), &opened.store.snapshot(), "").map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        anyhow::Error::new(error).context(hint)
    })?;
    opened.close()?;
    Ok(api::replay_json(&report))
}

fn moment(text: &str, now: i64) -> Result<i64> {
    let ago = || parse_duration(text).filter(|_| text != "0").map(|ms| now - ms);
    let seconds = || {
        text.parse::<f64>()
            .ok()
            .filter(|s| s.abs() < 1e12)
            .map(|s| (s * 1000.0) as i64)
    };
    let written = || {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_millisecond)
    };
    let now = (text == "now").then_some(now);
    now.or_else(ago)
        .or_else(seconds)
        .or_else(written)
        .with_context(|| format!("{text:?} is no time: give RFC 3339, seconds since 1970, now, or how long ago, as 7d"))
}

fn print(report: &Value, list: usize, out: &mut impl Write) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    writeln!(
        out,
        "{} to {}, {} evaluations",
        text(&report["from"]),
        text(&report["to"]),
        report["evaluations"]
    )?;
    if let Some(why) = report["stopped"].as_str() {
        writeln!(out, "stopped before the end: {why}; replay less time or fewer rules")?;
    }
    let rules = || report["rules"].as_array().into_iter().flatten();
    let mut silent = Vec::new();
    for rule in rules() {
        if rule["error"].is_string() {
            let (name, failed) = (text(&rule["name"]), &rule["failedEvaluations"]);
            writeln!(out, "{name}: {failed} evaluations failed: {}", text(&rule["error"]))?;
        }
        if rule["type"] != "alerting" {
            continue;
        }
        let episodes = rule["episodes"].as_array().map_or(&[][..], Vec::as_slice);
        if episodes.is_empty() {
            silent.push(text(&rule["name"]));
            continue;
        }
        let (fired, passed) = (number(&rule["fired"]), number(&rule["passed"]));
        let firing = span(rule["firingSeconds"].as_f64().unwrap_or(0.0));
        let most = number(&rule["seriesMost"]);
        writeln!(
            out,
            "{}: would have fired {fired} times, {firing} in all, at most {most} at once; {passed} times it held too short",
            text(&rule["name"])
        )?;
        for episode in episodes.iter().take(list) {
            let end = episode["resolvedAt"].as_str().unwrap_or("the end");
            let what = match episode["annotations"]["summary"].as_str() {
                Some(summary) => summary.to_owned(),
                None => episode["labels"].to_string(),
            };
            writeln!(out, "  {} to {end}  {what}", text(&episode["firedAt"]))?;
        }
        if episodes.len() > list {
            writeln!(out, "  and {} more (--list COUNT, --json)", episodes.len() - list)?;
        }
    }
    if !silent.is_empty() {
        writeln!(out, "never: {}", silent.join(", "))?;
    }
    out.flush().context("cannot write the answer")
}

/// Seconds as `3h 20m`.
fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_several_ways() {
        let now = 1_767_225_600_000;
        let check = |text: &str, expected: Option<i64>| assert_eq!(moment(text, now).ok(), expected, "{text}");
        check("now", Some(now));
        check("7d", Some(now - 7 * 86_400_000));
        check("1h30m", Some(now - 5_400_000));
        check("1767225600.5", Some(now + 500));
        check("2026-01-01T00:00:01Z", Some(now + 1000));
        check("0", Some(0));
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn a_report_is_told_rule_by_rule() {
        let episode =
            |fired: &str| json!({"firedAt": fired, "resolvedAt": null, "annotations": {"summary": "a is hot"}});
        let rule = |name: &str, episodes: Vec<Value>| {
            json!({"name": name, "type": "alerting", "fired": episodes.len(), "passed": 1, "firingSeconds": 4000,
                "seriesMost": 1, "failedEvaluations": 0, "error": null, "episodes": episodes})
        };
        let report = json!({"from": "A", "to": "B", "stopped": null, "evaluations": 7,
            "rules": [rule("Hot", vec![episode("1"), episode("2")]), rule("Cold", vec![]), rule("Wet", vec![])]});
        let mut out = Vec::new();
        print(&report, 1, &mut out).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "A to B, 7 evaluations\n\
             Hot: would have fired 2 times, 1h 6m in all, at most 1 at once; 1 times it held too short\n  \
             1 to the end  a is hot\n  and 1 more (--list COUNT, --json)\nnever: Cold, Wet\n"
        );
    }
}
