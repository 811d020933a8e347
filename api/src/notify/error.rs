//! Notifications that cannot be kept or sent at all.

use store::StateError;

/// Notifications that cannot be kept or sent at all.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The outbox cannot be read or written.
    #[error("the outbox cannot be kept")]
    State(#[from] StateError),
    /// No such receiver.
    #[error("there is no receiver {name:?}")]
    Receiver {
        /// The name.
        name: String,
    },
    /// No such alert, or none that fires.
    #[error("no alert {fingerprint:?} fires")]
    Alert {
        /// What it was asked for by.
        fingerprint: String,
    },
    /// A link that is not one of ours, or was.
    #[error("{}", if *is_old { "this link is too old" } else { "this link is none of this server's" })]
    Link {
        /// It was good once.
        is_old: bool,
    },
    /// No key can be made for links.
    #[error("the system gives no random numbers")]
    Random,
    /// A text that is too long to be kept.
    #[error("the {what} is longer than {most} bytes")]
    Text {
        /// Which.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// More alerts than may be held.
    #[error("with these more than {count} alerts would be held, which is the most")]
    Full {
        /// How many may be.
        count: usize,
    },
}

impl NotifyError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::State(error) => error.hint(),
            Self::Receiver { .. } => Some("receivers are named in the configuration; GET /api/v1/receivers lists them"),
            Self::Alert { .. } => Some("GET /api/v2/alerts lists those that do, with their fingerprints"),
            Self::Link { .. } => Some("the page of alerts shows what fires now"),
            Self::Random => None,
            Self::Text { .. } => Some("say it shorter"),
            Self::Full { .. } => Some("let alerts end, or aggregate them in their rules"),
        }
    }
}
