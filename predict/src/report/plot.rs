//! Plots as SVG. What they show stands in a table as well.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::{horizon, percent};
use crate::evaluate::{Evaluation, Ledger};
use crate::window::spoken_duration;

/// Hosts on the timeline: more cannot be told apart.
const HOSTS_MAX: usize = 60;
const DAY_MS: i64 = 86_400_000;
/// Where the time axis begins and ends, and the height of a host's line.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 1_000.0;
const LINE: f64 = 18.0;
/// Bars of the histogram of leads.
const BARS: usize = 6;

/// Incidents and alarms of the hosts that had any, over time.
pub(super) fn timeline(e: &Evaluation, ledger: &Ledger) -> Markup {
    let mut busy: BTreeMap<&str, usize> = BTreeMap::new();
    for host in ledger
        .alarms
        .iter()
        .map(|a| &a.host)
        .chain(ledger.incidents.iter().map(|i| &i.host))
    {
        *busy.entry(host).or_default() += 1;
    }
    let with_any = busy.len();
    let mut shown: Vec<(&str, usize)> = busy.into_iter().collect();
    shown.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    shown.truncate(HOSTS_MAX);
    let mut hosts: Vec<&str> = shown.into_iter().map(|(host, _)| host).collect();
    hosts.sort_unstable();
    if hosts.is_empty() {
        return html! { p { "There was neither an incident nor an alarm." } };
    }

    let span = (e.to - e.from).max(1) as f64;
    let x = |at: i64| LEFT + (at - e.from) as f64 / span * (RIGHT - LEFT - 10.0);
    let bottom = 10.0 + LINE * hosts.len() as f64;
    let line = |host: &str| hosts.binary_search(&host).ok().map(|i| 10.0 + LINE * (i as f64 + 0.5));
    let incidents: Vec<Markup> = ledger
        .incidents
        .iter()
        .filter_map(|i| Some((i, line(&i.host)?)))
        .map(|(i, y)| {
            let width = (x(i.end) - x(i.start)).max(2.0);
            let fate = i.lead_ms.map_or_else(
                || if i.detected { "only detected" } else { "missed" }.to_owned(),
                |lead| format!("warned {} ahead", spoken_duration(lead)),
            );
            html! {
                rect.incident x=(one(x(i.start))) y=(one(y - 6.0)) width=(one(width)) height="12" {
                    title { (i.host) ": " (i.kind.replace('_', " ")) ", " (fate) }
                }
            }
        })
        .collect();
    let alarms: Vec<Markup> = ledger
        .alarms
        .iter()
        .filter_map(|a| Some((a, line(&a.host)?)))
        .map(|(a, y)| {
            let x = x(a.at);
            let title = format!(
                "{}: alarm at {}, {}",
                a.host,
                percent(a.probability),
                if a.good { "true" } else { "false" }
            );
            if a.good {
                html! { circle.hit cx=(one(x)) cy=(one(y)) r="4" { title { (title) } } }
            } else {
                let corners = [(x, y - 5.0), (x + 5.0, y + 4.0), (x - 5.0, y + 4.0)];
                let points: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                html! { polygon.wrong points=(points.join(" ")) { title { (title) } } }
            }
        })
        .collect();
    html! {
        p.small {
            svg.key viewBox="0 0 16 16" aria-hidden="true" { rect.incident x="2" y="2" width="12" height="12" {} } " incident  "
            svg.key viewBox="0 0 16 16" aria-hidden="true" { circle.hit cx="8" cy="8" r="5" {} } " true alarm  "
            svg.key viewBox="0 0 16 16" aria-hidden="true" { polygon.wrong points="8,2 14,13 2,13" {} } " false alarm"
            @if with_any > hosts.len() { ". The " (hosts.len()) " of " (with_any) " hosts with most of them." }
        }
        div.scroll tabindex="0" role="region" aria-label="Timeline" {
            svg.wide viewBox={ "0 0 " (RIGHT) " " (one(bottom + 24.0)) } role="img"
                aria-label="Incidents and alarms of each host over time; the tables below say the same" {
                @for (at, label) in ticks(e.from, e.to) {
                    line.grid x1=(one(x(at))) x2=(one(x(at))) y1="10" y2=(one(bottom)) {}
                    text x=(one(x(at))) y=(one(bottom + 16.0)) text-anchor="middle" { (label) }
                }
                @for (i, host) in hosts.iter().enumerate() {
                    @let y = 10.0 + LINE * (i as f64 + 0.5);
                    line.grid x1=(LEFT) x2=(RIGHT - 10.0) y1=(one(y)) y2=(one(y)) {}
                    text x=(LEFT - 8.0) y=(one(y + 4.0)) text-anchor="end" { (shortened(host)) }
                }
                @for incident in incidents { (incident) }
                @for alarm in alarms { (alarm) }
            }
        }
    }
}

/// Midnights, at most nine of them, as day and month.
fn ticks(from: i64, to: i64) -> Vec<(i64, String)> {
    let days = ((to - from) / DAY_MS).max(1);
    let step = [1, 2, 5, 10, 20, 50, 100]
        .into_iter()
        .find(|step| days / step <= 8)
        .unwrap_or(days / 8)
        * DAY_MS;
    let first = -(-from).div_euclid(step) * step;
    (0..)
        .map(|i| first + i * step)
        .take_while(|at| *at < to)
        .filter_map(|at| {
            let moment = Timestamp::from_millisecond(at).ok()?;
            Some((at, moment.strftime("%-d %b").to_string()))
        })
        .collect()
}

/// The end of a long name tells hosts apart.
fn shortened(host: &str) -> String {
    let n = host.chars().count();
    if n <= 18 {
        host.to_owned()
    } else {
        format!("…{}", host.chars().skip(n - 17).collect::<String>())
    }
}

/// How often it happened against how probable it was said to be, for each range of scores: on the diagonal the probabilities
/// are true. Models from before the ranges have bins of equal mass.
pub fn reliability(e: &Evaluation) -> Markup {
    let mut dots: Vec<(f64, f64, usize)> = e.ranges.iter().map(|r| (r.said(), r.share(), r.scores)).collect();
    if dots.is_empty() {
        dots = e.reliability.iter().map(|b| (b.mean, b.observed, b.rows)).collect();
    }
    if dots.len() < 2 {
        return html! { p { "Too few scores to say." } };
    }
    let highest = dots.iter().map(|(said, share, _)| said.max(*share)).fold(0.0, f64::max);
    // The finest even scale that holds everything.
    let top = [0.02, 0.05, 0.1, 0.2, 0.5]
        .into_iter()
        .find(|t| *t >= highest)
        .unwrap_or(1.0);
    let x = |p: f64| 60.0 + p / top * 300.0;
    let y = |p: f64| 250.0 - p / top * 238.0;
    let points: Vec<String> = dots
        .iter()
        .map(|(said, share, _)| format!("{:.1},{:.1}", x(*said), y(*share)))
        .collect();
    html! {
        svg.reliability viewBox="0 0 380 292" role="img" aria-label="Share of scores that an incident followed, against the probability given" {
            @for share in 0..=5 {
                @let tick = f64::from(share) / 5.0 * top;
                line.grid x1="60" x2="360" y1=(one(y(tick))) y2=(one(y(tick))) {}
                text x="54" y=(one(y(tick) + 4.0)) text-anchor="end" { (short_percent(tick)) }
                text x=(one(x(tick))) y="266" text-anchor="middle" { (short_percent(tick)) }
            }
            line.ideal x1=(x(0.0)) y1=(y(0.0)) x2=(x(top)) y2=(y(top)) {}
            polyline.curve points=(points.join(" ")) {}
            @for (said, share, scores) in &dots {
                circle.dot cx=(one(x(*said))) cy=(one(y(*share))) r=(radius(*scores)) {
                    title { "said " (percent(*said)) ", happened " (percent(*share)) ", " (scores) " scores" }
                }
            }
            text x="210" y="286" text-anchor="middle" { "probability given" }
            text x="-131" y="11" text-anchor="middle" transform="rotate(-90)" { "share that came true" }
        }
    }
}

/// Grows with the number of scores, slowly.
fn radius(scores: usize) -> String {
    one((scores as f64).max(1.0).log10().clamp(1.0, 6.0) + 1.0)
}

/// How many incidents were warned of how long ahead.
pub(super) fn leads(e: &Evaluation) -> Markup {
    if e.leads_minutes.is_empty() {
        return html! { p { "Nothing was warned of ahead." } };
    }
    let horizon_minutes = e.horizon_ms as f64 / 60_000.0;
    let mut bars = [0_usize; BARS];
    for lead in &e.leads_minutes {
        // A lead of exactly a bar's width belongs to it and not to the next.
        let bar = (lead / horizon_minutes * BARS as f64).ceil() as usize;
        bars[bar.clamp(1, BARS) - 1] += 1;
    }
    let most = bars.iter().copied().max().unwrap_or(1).max(1) as f64;
    let upto = |i: usize| spoken_duration(e.horizon_ms * i as i64 / BARS as i64);
    html! {
        svg viewBox="0 0 370 290" role="img" aria-label={ "Incidents by lead time, up to the horizon of " (horizon(e.horizon_ms)) } {
            line.grid x1="20" x2="350" y1="250" y2="250" {}
            @for (i, count) in bars.iter().enumerate() {
                @let height = *count as f64 / most * 215.0;
                @let left = 24.0 + 54.0 * i as f64;
                rect.bar x=(one(left)) y=(one(250.0 - height)) width="46" height=(one(height)) { title { (count) " incidents, up to " (upto(i + 1)) " ahead" } }
                text x=(one(left + 23.0)) y=(one(244.0 - height)) text-anchor="middle" { (count) }
                text x=(one(left + 23.0)) y="266" text-anchor="middle" { (upto(i + 1)) }
            }
            text x="185" y="284" text-anchor="middle" { "warned up to so long ahead" }
        }
    }
}

fn short_percent(p: f64) -> String {
    let text = format!("{:.1}", p * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A coordinate.
fn one(value: f64) -> String {
    format!("{value:.1}")
}
