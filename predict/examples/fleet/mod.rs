//! A simulated fleet as training would find it: its samples, its incidents, and scores over its time.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use foreshock_predict::Incidents;
use foreshock_predict::evaluate::Track;
use foreshock_predict::incident::{Incident, Source};
use foreshock_predict::telemetry::Memory;
use foreshock_predict::train::Predictions;
use simulate::Fleet;
use store::{Labels, METRIC_NAME, Samples};
use wire::metric::Kind;
use wire::otlp::read::{Data, request};
use wire::prometheus_name;

/// Scores of a host: their times, ascending, and the scores.
pub(crate) type Scores = (Vec<i64>, Vec<f64>);

/// The fleet's requests as the endpoint would store them.
pub(crate) fn telemetry(fleet: &Fleet) -> Result<Memory, Box<dyn Error>> {
    let mut series: Vec<(Labels, Samples)> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    // Points of one series stand together, so most of them need no look-up.
    let (mut here, mut last, mut at) = (Vec::new(), Vec::new(), 0);
    let mut scratch = String::new();
    for one in fleet.requests(fleet.span(), 1_000_000) {
        for resource in request(&one.body) {
            let resource = resource?;
            let mut host = String::new();
            for attribute in &resource.resource {
                let (key, value) = attribute?;
                if key == "host.name" {
                    value.text(&mut scratch)?.clone_into(&mut host);
                }
            }
            for scope in resource.scopes() {
                for metric in scope?.metrics() {
                    let metric = metric?;
                    let (points, kind) = match metric.data {
                        Some(Data::Gauge(points)) => (points, Kind::Gauge),
                        Some(Data::Sum {
                            points,
                            monotonic: true,
                            ..
                        }) => (points, Kind::Counter),
                        Some(Data::Sum { points, .. }) => (points, Kind::UpDownCounter),
                        _ => continue,
                    };
                    for point in points.numbers() {
                        let point = point?;
                        here.clear();
                        for part in [host.as_bytes(), metric.name.as_bytes()] {
                            here.extend_from_slice(part);
                            here.push(0);
                        }
                        for raw in point.attributes.raw() {
                            here.extend_from_slice(raw?);
                        }
                        if here != last {
                            at = match known.get(&here) {
                                Some(known) => *known,
                                None => {
                                    let name = prometheus_name(metric.name, metric.unit, kind);
                                    let mut pairs =
                                        vec![(METRIC_NAME.to_owned(), name), ("host_name".to_owned(), host.clone())];
                                    for attribute in &point.attributes {
                                        let (key, value) = attribute?;
                                        pairs.push((key.replace('.', "_"), value.text(&mut scratch)?.to_owned()));
                                    }
                                    let labels =
                                        Labels::from_pairs(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
                                    series.push((labels, Samples::default()));
                                    known.insert(here.clone(), series.len() - 1);
                                    series.len() - 1
                                }
                            };
                            last.clone_from(&here);
                        }
                        if let Some(value) = point.value {
                            series[at].1.push((point.time_unix_nano / 1_000_000) as i64, value);
                        }
                    }
                }
            }
        }
    }
    let mut memory = Memory::default();
    for (labels, samples) in series {
        memory.push(labels, samples);
    }
    Ok(memory)
}

/// Its incidents, as somebody would have declared them.
pub(crate) fn incidents(fleet: &Fleet) -> Vec<Incident> {
    let one = |(i, incident): (usize, &simulate::SimIncident)| Incident {
        device: incident.device.clone(),
        ..Incident::past(
            i.to_string(),
            &incident.host,
            incident.kind.name(),
            incident.start_ms..incident.end_ms,
            Source::Simulated,
        )
    };
    fleet.incidents().iter().enumerate().map(one).collect()
}

/// Those of them that had begun by `at`; what lasted on has no end yet.
pub(crate) fn known(all: &[Incident], at: i64) -> Vec<Incident> {
    let mut known: Vec<Incident> = all.iter().filter(|i| i.start < at).cloned().collect();
    for incident in &mut known {
        incident.end = incident.end.filter(|end| *end <= at);
    }
    known
}

/// Scores by host, in order of time.
pub(crate) fn by_host(predictions: &Predictions) -> BTreeMap<&str, Scores> {
    let mut scores: BTreeMap<&str, Scores> = BTreeMap::new();
    for ((host, at), p) in predictions
        .host
        .iter()
        .zip(&predictions.at)
        .zip(&predictions.probability)
    {
        let (times, ps) = scores.entry(host).or_default();
        times.push(*at);
        ps.push(*p);
    }
    scores
}

/// What is to be judged: each host from its first score up to `to`.
pub(crate) fn tracks<'a>(scores: &'a BTreeMap<&'a str, Scores>, incidents: &'a Incidents, to: i64) -> Vec<Track<'a>> {
    let track = |(host, (at, probability)): (&&'a str, &'a Scores)| Track {
        host,
        from: at.first().copied().unwrap_or(to),
        to,
        incidents: incidents.of(host),
        at,
        probability,
    };
    scores.iter().map(track).collect()
}
