//! Tables: every alarm, every incident, and the sums by kind and host.

use maud::{Markup, html};

use super::{Cost, number, percent, sentence, utc};
use crate::evaluate::{Evaluation, IncidentEntry, Ledger};
use crate::train::Compared;
use crate::window::spoken_duration;

/// Lines of a table; what is left out is counted under it.
const LINES_MAX: usize = 1_000;

/// A table of at most [`LINES_MAX`] lines. Columns that end in `#` hold numbers.
fn table(name: &str, columns: &[&str], lines: Vec<Vec<String>>) -> Markup {
    let all = lines.len();
    let is_number = |i: usize| columns.get(i).is_some_and(|c| c.ends_with('#'));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(name) { table {
            caption { (name) @if all > LINES_MAX { ": the first " (LINES_MAX) " of " (all) } }
            thead { tr { @for column in columns {
                th.n[column.ends_with('#')] scope="col" { (column.trim_end_matches('#')) }
            } } }
            tbody { @for line in lines.into_iter().take(LINES_MAX) {
                tr { @for (i, cell) in line.into_iter().enumerate() { td.n[is_number(i)] { (cell) } } }
            } }
        } }
    }
}

/// What acting on every alarm would have cost, and what crashes would have cost without.
pub(super) fn cost(e: &Evaluation, cost: Cost) -> Markup {
    let (crashes, warned, alarms) = (e.incidents as f64, e.warned as f64, e.alarms as f64);
    let without = crashes * cost.crash;
    let with = (crashes - warned) * cost.crash + alarms * cost.drain;
    let line = |name: &str, crashes: f64, drains: f64, sum: f64| {
        vec![name.to_owned(), number(crashes), number(drains), number(sum)]
    };
    html! {
        p { "If a crash costs " (number(cost.crash)) " and acting on an alarm " (number(cost.drain)) ", and a host that is drained in time does not crash: "
            @if with < without { "acting on every alarm would have saved " (number(without - with)) ", " (number((without - with) / without * 100.0)) " % of what crashes cost." }
            @else { "acting on every alarm would not have paid." }
        }
        (table("Cost", &["", "Crashes#", "Drains#", "Cost#"], vec![
            line("acting on no alarm", crashes, 0.0, without),
            line("acting on every alarm", crashes - warned, alarms, with),
        ]))
    }
}

/// Of the scores of each range, how many came true.
pub(super) fn ranges(e: &Evaluation) -> Markup {
    let lines = e
        .ranges
        .iter()
        .map(|r| {
            vec![
                r.words(),
                r.scores.to_string(),
                number(r.foretold),
                r.came_true.to_string(),
                percent(r.share()),
            ]
        })
        .collect();
    html! {
        p { (sentence(&e.kept_promises())) }
        (table("Scores by what they said", &["Said", "Scores#", "Foretold#", "Came true#", "Share#"], lines))
    }
}

pub(super) fn kinds(e: &Evaluation) -> Markup {
    let lines = e
        .by_kind
        .iter()
        .map(|k| {
            vec![
                k.kind.replace('_', " "),
                k.incidents.to_string(),
                k.warned.to_string(),
                k.detected.saturating_sub(k.warned).to_string(),
                k.incidents.saturating_sub(k.detected).to_string(),
                k.median_lead_minutes.map_or_else(String::new, minutes),
                if k.unforeseeable { "no sign above chance" } else { "" }.to_owned(),
            ]
        })
        .collect();
    let columns = [
        "Kind",
        "Incidents#",
        "Warned#",
        "Only detected#",
        "Missed#",
        "Median lead#",
        "",
    ];
    table("Kinds of incident", &columns, lines)
}

pub(super) fn missed(ledger: &Ledger) -> Markup {
    incidents(
        "Incidents without any alert",
        &["Lasted#"],
        ledger.incidents.iter().filter(|i| !i.detected),
        |i| vec![spoken_duration(i.end - i.start)],
    )
}

pub(super) fn met(ledger: &Ledger) -> Markup {
    incidents(
        "Incidents with an alert",
        &["Warned ahead#", "Detected after#"],
        ledger.incidents.iter().filter(|i| i.detected),
        |i| {
            vec![
                i.lead_ms.map_or_else(|| "not warned".to_owned(), spoken_duration),
                match i.delay_ms {
                    Some(0) if i.lead_ms.is_some() => "the warning stood".to_owned(),
                    delay => delay.map_or_else(String::new, spoken_duration),
                },
            ]
        },
    )
}

/// A line for each incident: when, where, what, and `more` of it under the columns `named`.
fn incidents<'a>(
    name: &str,
    named: &[&str],
    some: impl Iterator<Item = &'a IncidentEntry>,
    more: impl Fn(&IncidentEntry) -> Vec<String>,
) -> Markup {
    let lines: Vec<Vec<String>> = some
        .map(|i| {
            let mut line = vec![utc(i.start), i.host.clone(), i.kind.replace('_', " ")];
            line.extend(more(i));
            line
        })
        .collect();
    if lines.is_empty() {
        return html! { p { "None." } };
    }
    table(name, &[&["Start", "Host", "Kind"], named].concat(), lines)
}

pub(super) fn alarms(ledger: &Ledger) -> Markup {
    if ledger.alarms.is_empty() {
        return html! { p { "None." } };
    }
    let lines = ledger
        .alarms
        .iter()
        .map(|a| {
            vec![
                utc(a.at),
                a.host.clone(),
                percent(a.probability),
                if a.good { "true" } else { "false" }.to_owned(),
            ]
        })
        .collect();
    let wrong = ledger.alarms.iter().filter(|a| !a.good).count();
    html! {
        details {
            summary { (ledger.alarms.len()) " alarms, " (wrong) " of them false" }
            (table("Alarms", &["Raised", "Host", "Probability#", "Was"], lines))
        }
    }
}

pub(super) fn hosts(ledger: &Ledger) -> Markup {
    let mut hosts: Vec<_> = ledger.hosts.iter().collect();
    hosts.sort_by(|a, b| b.false_alarms.cmp(&a.false_alarms).then(b.incidents.cmp(&a.incidents)));
    let lines = hosts
        .into_iter()
        .map(|h| {
            vec![
                h.host.clone(),
                number(h.days),
                h.incidents.to_string(),
                h.warned.to_string(),
                h.detected.saturating_sub(h.warned).to_string(),
                h.incidents.saturating_sub(h.detected).to_string(),
                h.false_alarms.to_string(),
                number(h.false_alarms as f64 / h.days.max(1e-9)),
            ]
        })
        .collect();
    let columns = [
        "Host",
        "Days#",
        "Incidents#",
        "Warned#",
        "Only detected#",
        "Missed#",
        "False alarms#",
        "a day#",
    ];
    table("Hosts, those with most false alarms first", &columns, lines)
}

pub(super) fn families(compared: &[Compared]) -> Markup {
    let lines = compared
        .iter()
        .map(|c| {
            vec![
                c.family.name().to_owned(),
                format!("{:.3}", c.pr_auc),
                format!("{:.3} to {:.3}", c.interval.0, c.interval.1),
                c.warned.to_string(),
                if c.leads { "leads" } else { "" }.to_owned(),
            ]
        })
        .collect();
    let columns = ["Family", "PR-AUC#", "90 % interval over events#", "Warned of#", ""];
    table("On the same history, which none of them had seen", &columns, lines)
}

fn minutes(minutes: f64) -> String {
    spoken_duration((minutes * 60_000.0) as i64)
}
