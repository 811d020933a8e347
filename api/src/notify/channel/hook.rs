//! An address over HTTP, with what it takes to be let in.

use reqwest::Url;

use super::{Body, Post};
use crate::notify::receiver::Secret;

/// An address, which is treated as a secret: many services put the key into it.
#[derive(Debug, Clone)]
pub struct Hook {
    url: Secret,
    place: String,
    auth: Option<Auth>,
}

/// What a request is let in by.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// The user.
        user: String,
        /// His password.
        password: Secret,
    },
}

impl Hook {
    /// The hook at `url`; `None` where that is no address over http or https.
    #[must_use]
    pub fn at(url: &str) -> Option<Self> {
        let parsed = Url::parse(url.trim()).ok()?;
        let can_be_called = matches!(parsed.scheme(), "http" | "https") && parsed.host_str().is_some();
        can_be_called.then(|| Self {
            place: place_of(&parsed),
            url: Secret::new(parsed.as_str()),
            auth: None,
        })
    }

    /// Lets requests in by `auth`.
    #[must_use]
    pub fn with_auth(mut self, auth: Option<Auth>) -> Self {
        self.auth = auth;
        self
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn post(&self, body: Body) -> Post {
        Post {
            url: self.url.clone(),
            auth: self.auth.clone(),
            body,
        }
    }
}

/// Scheme, host and port.
pub(in crate::notify) fn place_of(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
