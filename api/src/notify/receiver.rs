//! Where notifications go.

use std::fmt;
use std::time::Duration;

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

/// A webhook that takes Alertmanager's payload, version 4.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub(super) name: String,
    pub(super) url: Secret,
    /// Scheme, host and port: what may be shown of the address.
    pub(super) place: String,
    pub(super) token: Option<Secret>,
    pub(super) send_resolved: bool,
    pub(super) alerts_max: usize,
    pub(super) timeout: Duration,
}

/// A receiver that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// No name, or one that would not fit into logs and labels.
    #[error("the name of receiver {name:?} must have 1 to 64 letters, digits, points, dashes and underscores")]
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
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(sound) {
            return Err(ReceiverError::Name {
                name: name.chars().take(80).collect(),
            });
        }
        let wrong = || ReceiverError::Url { name: name.to_owned() };
        let parsed = reqwest::Url::parse(url.trim()).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            place: place_of(&parsed),
            url: Secret::new(parsed.as_str()),
            token: None,
            send_resolved: true,
            alerts_max: 100,
            timeout: Duration::from_secs(10),
        })
    }

    /// Sends `Authorization: Bearer` with each message.
    #[must_use]
    pub fn with_token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Whether the ends of alerts are sent too; yes unless told otherwise.
    #[must_use]
    pub fn with_resolved(mut self, send_resolved: bool) -> Self {
        self.send_resolved = send_resolved;
        self
    }

    /// How long an attempt may take; 10 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most alerts in one message, 100 unless told otherwise; the payload says how many were left out.
    #[must_use]
    pub fn with_alerts_max(mut self, alerts_max: usize) -> Self {
        self.alerts_max = alerts_max.max(1);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Scheme, host and port of its address.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

pub(super) fn place_of(url: &reqwest::Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
