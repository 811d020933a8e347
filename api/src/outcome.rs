//! Alerts that are outcomes: what a rule marks with the label [`LABEL`] becomes an incident of its host while it fires, so that
//! prediction learns to see it coming.

use predict::incident::{Incident, IncidentBook, IncidentError, Source, Verdict};
use store::{Labels, State, host_of};

use crate::notify::Notification;

/// The label by which a rule says that its alerts are incidents; its value is their kind.
pub const LABEL: &str = "foreshock_outcome";

/// Writes down what an alert says about its host: an incident that begins, or one that ends. To say the same twice changes nothing, nor
/// does it change what people said about the incident. Alerts that are no outcomes, or name no host, say nothing.
///
/// # Errors
/// [`IncidentError::State`] when it cannot be written; [`IncidentError::Invalid`] for what can be no incident.
pub fn note(state: &State, alert: &Notification) -> Result<(), IncidentError> {
    let Some(kind) = alert.labels.get(LABEL).filter(|kind| !kind.is_empty()) else {
        return Ok(());
    };
    let Some(mut incident) = incident_of(alert) else {
        return Ok(());
    };
    let book = IncidentBook::open(state)?;
    match alert.ends_ms {
        None => {
            kind.clone_into(&mut incident.kind);
            incident.source = Source::Rule;
            incident.summary = alert.annotations.get("summary").cloned().unwrap_or_default();
            book.declare(&incident, |_| ()).map(drop)
        }
        Some(end) => {
            let closed = book.change(&incident.id, |known| {
                known.end = known.end.or(Some(end.max(known.start)))
            });
            match closed {
                // Somebody took it away.
                Err(IncidentError::Missing { .. }) => Ok(()),
                other => other.map(drop),
            }
        }
    }
}

/// The incident that an alert is about, as people declare it by a verdict on the alert: the same id everywhere.
pub(crate) fn incident_of(alert: &Notification) -> Option<Incident> {
    let labels = Labels::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let host = host_of(&labels)?;
    let name = alert.labels.get("alertname").map_or("alert", String::as_str);
    Some(Incident {
        id: format!("{host}-{name}-{}", alert.starts_ms.div_euclid(1000)),
        host: host.to_owned(),
        device: alert.labels.get("device").cloned(),
        start: alert.starts_ms,
        end: None,
        kind: name.to_owned(),
        source: Source::Declared,
        verdict: Verdict::Real,
        summary: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(labels: &[(&str, &str)], ends_ms: Option<i64>) -> Notification {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let labels = labels.collect();
        Notification {
            fingerprint: crate::rule::fingerprint(&labels),
            labels,
            annotations: [("summary".to_owned(), "the shop burns".to_owned())].into(),
            starts_ms: 5_500,
            ends_ms,
            value: None,
            generator_url: String::new(),
            outlook: None,
            expires_ms: None,
            updated_ms: 5_500,
            since_ms: None,
            trend: None,
        }
    }

    #[test]
    fn what_a_rule_marks_is_an_incident_from_its_beginning_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.sqlite")).unwrap();
        let labels = [
            ("alertname", "ErrorBudgetBurns"),
            ("instance", "db-1:9100"),
            (LABEL, "objective"),
        ];
        let all = || IncidentBook::open(&state).unwrap().all().unwrap();
        // An end without a beginning, an alert that is no outcome, one without a host.
        note(&state, &alert(&labels, Some(9_000))).unwrap();
        note(&state, &alert(&labels[..2], None)).unwrap();
        note(&state, &alert(&[labels[0], labels[2]], None)).unwrap();
        assert_eq!(all(), []);
        for _ in 0..2 {
            note(&state, &alert(&labels, None)).unwrap();
        }
        let open = all();
        let [incident] = open.as_slice() else {
            panic!("{open:?}")
        };
        assert_eq!(
            (
                incident.id.as_str(),
                incident.host.as_str(),
                incident.kind.as_str(),
                incident.source
            ),
            ("db-1-ErrorBudgetBurns-5", "db-1", "objective", Source::Rule)
        );
        assert_eq!(
            (incident.start, incident.end, incident.summary.as_str()),
            (5_500, None, "the shop burns")
        );
        let book = IncidentBook::open(&state).unwrap();
        book.judge(&incident.id, Verdict::Mitigated).unwrap();
        for _ in 0..2 {
            note(&state, &alert(&labels, Some(9_000))).unwrap();
        }
        let closed = &all()[0];
        assert_eq!((closed.end, closed.verdict), (Some(9_000), Verdict::Mitigated));
        // What was taken away stays away.
        book.delete(&closed.id).unwrap();
        note(&state, &alert(&labels, Some(9_000))).unwrap();
        assert_eq!(all(), []);
    }
}
