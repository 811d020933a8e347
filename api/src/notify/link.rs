//! Links in messages, by which whoever got the message may answer it without a token: acknowledge, silence, say what it was. A link
//! is signed with a key that never leaves the tenant's state, speaks of one group of alerts, and is good for three days.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac};
use store::State;

use super::ledger;
use super::message::Message;
use super::notification::Notification;
use super::outbox::{NotifyError, Outbox};
use super::receiver::Receiver;
use crate::page::layout::{encoded, href};

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

/// Time, subject, receiver; the signature is over them, and stands before the receiver.
fn signed(key: &[u8], grant: &Grant) -> String {
    let until = grant.until_ms.to_be_bytes();
    let content = [&until[..], &grant.subject, grant.receiver.as_bytes()].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &content);
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
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &content, mac).ok()?;
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
        let token = signed(&key(state)?, &grant);
        let path = href(&format!("/answer?t={}", encoded(&token)), &self.tenant);
        Ok(Some(format!("{base}{path}")))
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
}
