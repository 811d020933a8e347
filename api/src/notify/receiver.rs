//! Where notifications go.

use std::fmt;
use std::slice::Chunks;
use std::time::Duration;

use super::channel::{Channel, Hook};
use super::delivery::test_message;
use super::wording::Wording;

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<secret>")
    }
}

/// One place where messages go, with the bounds that hold for it.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) channel: Channel,
    pub(super) send_resolved: bool,
    pub(super) alerts_max: usize,
    pub(super) wants_all: bool,
    pub(super) timeout: Duration,
    pub(super) fallback: Option<String>,
    pub(super) pace: Option<Pace>,
    pub(super) only_escalated: bool,
    pub(super) wording: Option<Wording>,
}

/// How many messages a receiver takes in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So many.
    pub messages: u32,
    /// Within so long.
    pub within_ms: i64,
}

/// A receiver that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// No name, or one that would not fit into logs and labels.
    #[error("the name of receiver {name:?} must have 1 to 128 characters, none of them a control character")]
    Name {
        /// The name.
        name: String,
    },
    /// No address that can be called.
    #[error("receiver {name:?} needs an address that begins with http:// or https://")]
    Url {
        /// The receiver.
        name: String,
    },
}

impl Receiver {
    /// A webhook at `url`, which is treated as a secret: many services put the key into it.
    ///
    /// # Errors
    /// [`ReceiverError`] for a bad name or address.
    pub fn webhook(name: &str, url: &str) -> Result<Self, ReceiverError> {
        let hook = Hook::at(url).ok_or_else(|| ReceiverError::Url { name: name.to_owned() })?;
        Self::new(name, Channel::Webhook(hook))
    }

    /// A receiver that is reached through `channel`.
    ///
    /// # Errors
    /// [`ReceiverError::Name`] for a bad name.
    pub fn new(name: &str, channel: Channel) -> Result<Self, ReceiverError> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(ReceiverError::Name {
                name: name.chars().take(80).collect(),
            });
        }
        Ok(Self {
            id: name.to_owned(),
            name: name.to_owned(),
            alerts_max: channel.alerts_max(),
            wants_all: channel.wants_all(),
            pace: channel.pace(),
            timeout: channel.timeout(),
            channel,
            send_resolved: true,
            fallback: None,
            only_escalated: false,
            wording: None,
        })
    }

    /// Another name for logs and the outbox, where several channels make up one receiver.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Whether the ends of alerts are sent too; yes unless told otherwise.
    #[must_use]
    pub fn with_resolved(mut self, send_resolved: bool) -> Self {
        self.send_resolved = send_resolved;
        self
    }

    /// How long an attempt may take; 10 s unless told otherwise, 60 s for mail.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most alerts that are told at once; the message says how many were left out.
    #[must_use]
    pub fn with_alerts_max(mut self, alerts_max: usize) -> Self {
        self.alerts_max = alerts_max.max(1);
        self.wants_all = false;
        self
    }

    /// What there is to tell, cut into the alerts of one message each; of what a message is about it shows the first
    /// `alerts_max`.
    pub(super) fn shares<'a, T>(&self, alerts: &'a [T]) -> Chunks<'a, T> {
        alerts.chunks(if self.wants_all { self.alerts_max } else { usize::MAX })
    }

    /// The id of the receiver that gets a copy of what this one cannot be told.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Option<String>) -> Self {
        self.fallback = fallback;
        self
    }

    /// Whether it is told only what is passed on to it, and not what every receiver is told.
    #[must_use]
    pub fn with_only_escalated(mut self, only_escalated: bool) -> Self {
        self.only_escalated = only_escalated;
        self
    }

    /// How many messages it takes in a stretch of time, instead of what its platform is known to take.
    #[must_use]
    pub fn with_pace(mut self, pace: Option<Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// What its messages are to read, where they are not to be ours.
    #[must_use]
    pub(super) fn with_wording(mut self, wording: Option<Wording>) -> Self {
        self.wording = wording;
        self
    }

    /// Why its own texts cannot be made of a message that is made up, in a sentence.
    pub(super) fn tried(&self) -> Option<String> {
        /// Some Thursday.
        const SOME_MS: i64 = 1_767_225_600_000;
        let wording = self.wording.as_ref()?;
        let mut message = test_message(&self.name, "http://foreshock.example", SOME_MS);
        let mut ended = message.alerts[0].clone();
        ended.ends_ms = Some(SOME_MS);
        message.alerts.push(ended);
        let failure = wording.say(&message, SOME_MS).err()?;
        Some(format!(
            "{failure}; that was with a message that is made up, and where it happens with another one Foreshock's own words are sent"
        ))
    }

    /// What it is called in logs and in the outbox.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, as routes know it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the receiver that gets a copy of what this one cannot be told.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Whether its configuration has texts for its messages.
    #[must_use]
    pub fn has_own_words(&self) -> bool {
        self.wording.is_some()
    }

    /// What kind of place it is: `webhook`, `slack`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.channel.kind()
    }

    /// Scheme, host and port of its address.
    #[must_use]
    pub fn place(&self) -> &str {
        self.channel.place()
    }
}
