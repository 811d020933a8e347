//! Every alarm and every incident of a judged stretch, one by one: what stands behind the sums.

use std::collections::BTreeMap;

use super::windows::{Protocol, Track, Windows};

/// What alerts from a threshold on were, alarm by alarm and incident by incident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Alarms, by time.
    pub alarms: Vec<AlarmEntry>,
    /// Incidents that were targets, by start.
    pub incidents: Vec<IncidentEntry>,
    /// Hosts, by name.
    pub hosts: Vec<HostEntry>,
}

/// One alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmEntry {
    /// Whose.
    pub host: String,
    /// When it was raised.
    pub at: i64,
    /// The score that raised it.
    pub probability: f64,
    /// Whether an incident followed within the horizon, or was under way.
    pub good: bool,
}

/// One incident.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentEntry {
    /// Whose.
    pub host: String,
    /// What kind.
    pub kind: String,
    /// First instant.
    pub start: i64,
    /// First instant after it, at most the end of the stretch.
    pub end: i64,
    /// From the first alert before it to its start; none where none came.
    pub lead_ms: Option<i64>,
    /// Whether an alert came before or during it.
    pub detected: bool,
    /// From its start to the first alert during it, 0 where the warning still stood.
    pub delay_ms: Option<i64>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostEntry {
    /// Its name.
    pub host: String,
    /// Days outside incidents.
    pub days: f64,
    /// Alarms.
    pub alarms: usize,
    /// Alarms that no incident followed.
    pub false_alarms: usize,
    /// Incidents.
    pub incidents: usize,
    /// Incidents warned of.
    pub warned: usize,
    /// Incidents warned of or detected.
    pub detected: usize,
}

impl Ledger {
    /// What `tracks` did at `threshold`. `kinds` are the names that the incidents' kinds point to.
    #[must_use]
    pub fn new(tracks: &[Track<'_>], threshold: f64, protocol: Protocol, kinds: &[String]) -> Self {
        let windows = Windows::new(tracks, protocol);
        let alert: Vec<bool> = windows.p.iter().map(|p| *p >= threshold).collect();
        let mut hosts: BTreeMap<&str, HostEntry> = BTreeMap::new();
        for (i, name) in windows.hosts.iter().enumerate() {
            hosts.entry(name).or_default().days += windows.days_of(i);
        }
        let mut alarms = Vec::new();
        for alarm in windows.alarms(&alert) {
            let name = &windows.hosts[alarm.host as usize];
            let host = hosts.entry(name).or_default();
            host.alarms += 1;
            host.false_alarms += usize::from(!alarm.good);
            alarms.push(AlarmEntry {
                host: name.clone(),
                at: alarm.at,
                probability: windows.score_at(alarm.host, alarm.at),
                good: alarm.good,
            });
        }
        let mut incidents = Vec::new();
        for (target, met) in windows.targets.iter().zip(windows.met(&alert, None)) {
            let name = &windows.hosts[target.host];
            let host = hosts.entry(name).or_default();
            host.incidents += 1;
            host.warned += usize::from(met.lead_ms.is_some());
            host.detected += usize::from(met.detected);
            incidents.push(IncidentEntry {
                host: name.clone(),
                kind: kinds.get(target.kind as usize).cloned().unwrap_or_default(),
                start: target.start,
                end: target.end,
                lead_ms: met.lead_ms,
                detected: met.detected,
                delay_ms: met.delay_ms,
            });
        }
        let hosts = hosts
            .into_iter()
            .map(|(name, host)| HostEntry {
                host: name.to_owned(),
                ..host
            })
            .collect();
        alarms.sort_by(|a, b| (a.at, &a.host).cmp(&(b.at, &b.host)));
        incidents.sort_by(|a, b| (a.start, &a.host).cmp(&(b.start, &b.host)));
        Self {
            alarms,
            incidents,
            hosts,
        }
    }
}
