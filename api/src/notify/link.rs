//! Links in messages, by which whoever got the message may answer it without a token: acknowledge, silence, say what it was. A link
//! is signed with a key that never leaves the tenant's state, speaks of one group of alerts, and is good for three days.
//!
//! Links to charts are signed alike. They hold what is drawn, so that nothing else can be asked by them, and allow nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac};
use store::State;

use super::chart;
use super::error::NotifyError;
use super::ledger;
use super::message::Message;
use super::notification::Notification;
use super::outbox::Outbox;
use super::receiver::Receiver;
use crate::page::layout::{encoded, href};
use crate::rule::Trend;

/// What a link allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The receiver that it was sent to.
    pub receiver: String,
    /// Until when it is good, milliseconds UTC.
    pub until_ms: i64,
    subject: Subject,
}

/// The beginning of the hash of a group's key, which itself may be long and tell much.
type Subject = [u8; 16];

const GOOD_MS: i64 = 3 * 86_400_000;
const UNTIL_BYTES: usize = 8;
const MAC_BYTES: usize = 32;
/// Longer texts are no links of ours.
const TEXT_MAX: usize = 512;

fn subject(key: &str) -> Subject {
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    let mut subject = Subject::default();
    subject.copy_from_slice(&hash.as_ref()[..size_of::<Subject>()]);
    subject
}

/// What stands for a single alert in place of a group's key.
pub(super) fn alert_key(fingerprint: &str) -> String {
    format!("alert:{fingerprint}")
}

/// What signatures of charts begin with, so that none of them is one of an answer.
const CHART: &[u8] = b"chart\0";
/// Longer texts are no charts of ours: 49 values and what belongs to them.
const CHART_TEXT_MAX: usize = 3000;

fn hmac_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

/// Time, signature, values.
fn signed_chart(key: &[u8], until_ms: i64, trend: &Trend) -> String {
    let (until, values) = (until_ms.to_be_bytes(), ledger::json(trend));
    let mac = hmac::sign(&hmac_key(key), &[CHART, &until, values.as_bytes()].concat());
    URL_SAFE_NO_PAD.encode([&until, mac.as_ref(), values.as_bytes()].concat())
}

fn read_chart(key: &[u8], text: &str) -> Option<(i64, Trend)> {
    if text.len() > CHART_TEXT_MAX {
        return None;
    }
    let token = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (until, rest) = token.split_first_chunk::<UNTIL_BYTES>()?;
    let (mac, values) = rest.split_first_chunk::<MAC_BYTES>()?;
    hmac::verify(&hmac_key(key), &[CHART, until, values].concat(), mac).ok()?;
    Some((i64::from_be_bytes(*until), serde_json::from_slice(values).ok()?))
}

/// Whether platforms can be expected to fetch something from there: an encrypted address with a name that others know.
fn is_public(base: &str) -> bool {
    let Some(url) = base
        .strip_prefix("https://")
        .and_then(|_| reqwest::Url::parse(base).ok())
    else {
        return false;
    };
    let name = url.domain().unwrap_or_default().trim_end_matches('.');
    let inner = [".local", ".localhost", ".internal", ".lan", ".home.arpa"];
    name.contains('.') && !inner.iter().any(|ending| name.ends_with(ending))
}

/// Time, subject, receiver; the signature is over them, and stands before the receiver.
fn signed(key: &[u8], grant: &Grant) -> String {
    let until = grant.until_ms.to_be_bytes();
    let content = [&until[..], &grant.subject, grant.receiver.as_bytes()].concat();
    let mac = hmac::sign(&hmac_key(key), &content);
    let token = [&until[..], &grant.subject, mac.as_ref(), grant.receiver.as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(token)
}

fn read(key: &[u8], text: &str) -> Option<Grant> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let token = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (until, rest) = token.split_first_chunk::<UNTIL_BYTES>()?;
    let (subject, rest) = rest.split_first_chunk::<{ size_of::<Subject>() }>()?;
    let (mac, receiver) = rest.split_first_chunk::<MAC_BYTES>()?;
    let content = [&until[..], subject, receiver].concat();
    hmac::verify(&hmac_key(key), &content, mac).ok()?;
    Some(Grant {
        receiver: std::str::from_utf8(receiver).ok()?.to_owned(),
        until_ms: i64::from_be_bytes(*until),
        subject: *subject,
    })
}

impl Outbox {
    /// Where a message can be answered: the same address for each attempt. None where nothing of it fires, and where this server has
    /// no address.
    pub(super) fn answer_url(
        &self,
        state: &State,
        receiver: &Receiver,
        message: &Message,
        created_ms: i64,
    ) -> Result<Option<String>, NotifyError> {
        let base = &self.settings.external_url;
        let (Some(about), false) = (&message.about, message.is_resolved() || base.is_empty()) else {
            return Ok(None);
        };
        let grant = Grant {
            receiver: receiver.id().to_owned(),
            until_ms: created_ms + GOOD_MS,
            subject: subject(about),
        };
        Ok(Some(self.address("/answer", &signed(&key(state)?, &grant))))
    }

    /// Where the chart of a message can be fetched, for platforms that do; the same address for each attempt.
    pub(super) fn chart_url(
        &self,
        state: &State,
        receiver: &Receiver,
        message: &Message,
        created_ms: i64,
    ) -> Result<Option<String>, NotifyError> {
        let base = &self.settings.external_url;
        let is_wanted = self.settings.chart_links && receiver.channel.fetches_pictures() && is_public(base);
        let Some(trend) = message.trend().filter(|_| is_wanted) else {
            return Ok(None);
        };
        let token = signed_chart(&key(state)?, created_ms + GOOD_MS, trend);
        Ok(Some(self.address(crate::chart::PATH, &token)))
    }

    /// Where this server answers to a token.
    fn address(&self, path: &str, token: &str) -> String {
        let path = href(&format!("{path}?t={}", encoded(token)), &self.tenant);
        format!("{}{path}", self.settings.external_url)
    }

    /// The chart that a link holds, as a PNG.
    ///
    /// # Errors
    /// [`NotifyError::Link`] for one that is not ours or no longer good; [`NotifyError::State`].
    pub fn chart(&self, state: &State, now_ms: i64, text: &str) -> Result<Vec<u8>, NotifyError> {
        let (until_ms, trend) = read_chart(&key(state)?, text).ok_or(NotifyError::Link { is_old: false })?;
        if until_ms <= now_ms {
            return Err(NotifyError::Link { is_old: true });
        }
        chart::picture(&trend).ok_or(NotifyError::Link { is_old: false })
    }

    /// What a link allows, and the alerts that it speaks of and that fire.
    ///
    /// # Errors
    /// [`NotifyError::Link`] for one that is not ours or no longer good; [`NotifyError::State`].
    pub fn granted(&self, state: &State, now_ms: i64, text: &str) -> Result<(Grant, Vec<Notification>), NotifyError> {
        let grant = read(&key(state)?, text).ok_or(NotifyError::Link { is_old: false })?;
        if grant.until_ms <= now_ms {
            return Err(NotifyError::Link { is_old: true });
        }
        let mut alerts = state.with(|connection| {
            let groups = ledger::groups(connection, i64::MAX)?;
            match groups.iter().find(|group| subject(&group.key) == grant.subject) {
                Some(group) => ledger::alerts_of(connection, &group.key, now_ms),
                None => {
                    let mut alerts = ledger::all_alerts(connection, now_ms)?;
                    alerts.retain(|alert| subject(&alert_key(&alert.fingerprint)) == grant.subject);
                    Ok(alerts)
                }
            }
        })?;
        alerts.retain(|alert| !alert.is_resolved());
        Ok((grant, alerts))
    }
}

/// The tenant's key; made when it is first asked for.
fn key(state: &State) -> Result<Vec<u8>, NotifyError> {
    if let Some(key) = state.with(|connection| ledger::key(connection))? {
        return Ok(key);
    }
    let mut fresh = [0; 32];
    ring::rand::SystemRandom::new()
        .fill(&mut fresh)
        .map_err(|_| NotifyError::Random)?;
    Ok(state.with(|connection| {
        let transaction = connection.transaction()?;
        let key = ledger::keep_key(&transaction, &fresh)?;
        transaction.commit()?;
        Ok(key)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_was_changed_anywhere_or_signed_by_another_is_none_of_ours() {
        let grant = Grant {
            receiver: "oncall".to_owned(),
            until_ms: 1_800_000_000_000,
            subject: subject("{}:{host=\"a\"}"),
        };
        let text = signed(&[7; 32], &grant);
        assert_eq!(read(&[7; 32], &text), Some(grant));
        assert_eq!(read(&[8; 32], &text), None);
        assert_eq!(read(&[7; 32], &text[..text.len() - 4]), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(read(&[7; 32], &URL_SAFE_NO_PAD.encode(bytes)), None, "byte {at}");
        }
        for text in ["", "AAAA", "not base64!", &"A".repeat(100_000)] {
            assert_eq!(read(&[7; 32], text), None);
        }
    }

    #[test]
    fn a_chart_s_link_holds_what_is_drawn_and_is_none_to_answer_by() {
        let trend = Trend {
            start_ms: 1_800_000_000_000,
            step_ms: 450_000,
            values: (0..49).map(|step| Some(f64::from(step) - 1234.0)).collect(),
            threshold: Some(0.1),
            unit: "1".to_owned(),
        };
        let longest = Trend {
            values: vec![Some(-1.234e-300); 49],
            threshold: Some(-1.234e-300),
            ..trend.clone()
        };
        let longest = signed_chart(&[7; 32], i64::MAX, &longest);
        assert!(longest.len() < CHART_TEXT_MAX / 2, "{} characters", longest.len());
        let text = signed_chart(&[7; 32], 5, &trend);
        assert_eq!(read_chart(&[7; 32], &text), Some((5, trend)));
        assert_eq!(read_chart(&[8; 32], &text), None);
        assert_eq!(read(&[7; 32], &text), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(read_chart(&[7; 32], &URL_SAFE_NO_PAD.encode(bytes)), None, "byte {at}");
        }
        // The same bytes in the order of an answer, signature and all.
        let (until, rest) = bytes.split_at(UNTIL_BYTES);
        let (mac, values) = rest.split_at(MAC_BYTES);
        let (about, receiver) = values.split_at(size_of::<Subject>());
        let forged = URL_SAFE_NO_PAD.encode([until, about, mac, receiver].concat());
        assert_eq!(read(&[7; 32], &forged), None);
        let grant = Grant {
            receiver: "oncall".to_owned(),
            until_ms: 5,
            subject: subject("{}:{host=\"a\"}"),
        };
        assert_eq!(read_chart(&[7; 32], &signed(&[7; 32], &grant)), None);
    }

    #[test]
    fn charts_are_offered_where_others_can_fetch_them() {
        for (base, expected) in [
            ("https://foreshock.example.net", true),
            ("https://foreshock.example.net:8443/below", true),
            ("http://foreshock.example.net", false),
            ("https://foreshock", false),
            ("https://foreshock.local", false),
            ("https://10.0.0.7", false),
            ("https://[::1]:9750", false),
            ("", false),
        ] {
            assert_eq!(is_public(base), expected, "{base}");
        }
    }
}
