//! Somebody has an alert in hand: it is not repeated and climbs no further until it ends.

use rusqlite::Transaction;
use store::State;

use super::error::NotifyError;
use super::ledger;
use super::notification::Notification;
use super::outbox::Outbox;

/// Who has an alert in hand, since when. It is about one episode, and over with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The alert.
    pub fingerprint: String,
    /// Since when that alert fired, milliseconds UTC.
    pub starts_ms: i64,
    /// When it was acknowledged, milliseconds UTC.
    pub at_ms: i64,
    /// By whom, as far as anyone said.
    pub who: String,
    /// What else was said.
    pub comment: String,
}

/// Bytes of a name, and of a comment.
const WHO_MAX: usize = 200;
const COMMENT_MAX: usize = 2000;

impl Acknowledgement {
    /// Whether it is about this episode. An episode's beginning may be found to be earlier than was thought, never later.
    pub(super) fn is_of(&self, alert: &Notification) -> bool {
        !alert.is_resolved() && self.fingerprint == alert.fingerprint && self.starts_ms >= alert.starts_ms
    }
}

impl Outbox {
    /// Notes, durably, that somebody has these alerts in hand. One who says it again changes nothing; another one takes over.
    /// Answers who has each of them.
    ///
    /// # Errors
    /// [`NotifyError::Alert`] where one of them does not fire, and then nothing has changed; [`NotifyError::Text`] for names and
    /// comments that are too long; [`NotifyError::State`].
    pub fn acknowledge(
        &self,
        state: &State,
        now_ms: i64,
        fingerprints: &[String],
        who: &str,
        comment: &str,
    ) -> Result<Vec<Acknowledgement>, NotifyError> {
        check(who, comment)?;
        self.change(state, now_ms, fingerprints, |transaction, alert| {
            let known = ledger::acknowledgement(transaction, &alert.fingerprint)?;
            if let Some(known) =
                known.filter(|known| known.is_of(alert) && known.who == who && known.comment == comment)
            {
                return Ok(known);
            }
            let new = Acknowledgement {
                fingerprint: alert.fingerprint.clone(),
                starts_ms: alert.starts_ms,
                at_ms: now_ms,
                who: who.to_owned(),
                comment: comment.to_owned(),
            };
            ledger::put_acknowledgement(transaction, &new)?;
            ledger::acknowledge_episode(transaction, &new)?;
            ledger::stop_climb(transaction, &alert.fingerprint)?;
            tracing::info!(alert = alert.title(), who, "an alert was acknowledged");
            Ok(new)
        })
    }

    /// Takes acknowledgements back: from now on the alerts are repeated again. They climb no further by themselves.
    ///
    /// # Errors
    /// As [`Outbox::acknowledge`].
    pub fn take_back(&self, state: &State, now_ms: i64, fingerprints: &[String]) -> Result<(), NotifyError> {
        self.change(state, now_ms, fingerprints, |transaction, alert| {
            ledger::drop_acknowledgement(transaction, &alert.fingerprint)
        })?;
        Ok(())
    }

    /// Does the same to each of these alerts that fire, to all or to none.
    fn change<T>(
        &self,
        state: &State,
        now_ms: i64,
        fingerprints: &[String],
        change: impl Fn(&Transaction<'_>, &Notification) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<T>, NotifyError> {
        let changed = state.with(|connection| {
            let transaction = connection.transaction()?;
            let mut changed = Vec::new();
            for fingerprint in fingerprints {
                let alert = ledger::alert(&transaction, fingerprint)?.map(|alert| alert.at(now_ms));
                let Some(alert) = alert.filter(|alert| !alert.is_resolved()) else {
                    return Ok(Err(fingerprint.clone()));
                };
                changed.push(change(&transaction, &alert)?);
            }
            transaction.commit()?;
            Ok(Ok(changed))
        })?;
        changed.map_err(|fingerprint| NotifyError::Alert { fingerprint })
    }
}

fn check(who: &str, comment: &str) -> Result<(), NotifyError> {
    for (what, text, most) in [("name", who, WHO_MAX), ("comment", comment, COMMENT_MAX)] {
        if text.len() > most {
            return Err(NotifyError::Text { what, most });
        }
    }
    Ok(())
}
