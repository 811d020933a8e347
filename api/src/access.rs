//! Who may do what: tokens with scopes, kept as hashes in a file beside the data.
//!
//! ```text
//! request ─► token? ─► scope of its method and path ─► tenant, host ─► router
//!              └ there is no file of tokens: everybody may do everything, and the server listens on loopback alone
//! ```
//! A token is 256 random bits, so that its SHA-256 says nothing about it and needs no slow hash. What is kept is the hash;
//! the token itself is shown once. A browser sends it as the password of HTTP's Basic scheme, under any name.

mod route;
mod token;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use self::token::Stamp;
pub(crate) use self::token::hex;
pub use self::token::{NewToken, Scope, Token, TokenError, Tokens};
use crate::params::TENANT_HEADER;
use crate::problem::{Kind, Problem};

/// The header that tells the write endpoints which host alone a request may write for. Only this module sets it: what a
/// client sends under this name is taken away.
pub const BOUND_HOST_HEADER: &str = "x-foreshock-bound-host";

/// Longest header that is looked at.
const HEADER_BYTES_MAX: usize = 1024;

/// The tokens as requests are checked against them. Clones share them.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Tokens,
    known: Arc<RwLock<Known>>,
}

/// What the file held when it was last read.
#[derive(Debug)]
struct Known {
    /// By id; `None` while there is no file.
    tokens: Option<HashMap<String, Token>>,
    stamp: Option<Stamp>,
}

/// Why a request does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Nobody knows who asks, rather than that he may not.
    is_unknown: bool,
    reason: &'static str,
    detail: String,
    hint: &'static str,
}

/// How an endpoint that has a form of its own for errors says that a request does not pass: path and headers of the request
/// in, `None` where `application/problem+json` will do.
pub type DeniedForm = fn(&Denied, &str, &HeaderMap) -> Option<Response>;

impl Denied {
    fn forbidden(reason: &'static str, detail: String, hint: &'static str) -> Self {
        Self {
            is_unknown: false,
            reason,
            detail,
            hint,
        }
    }

    /// 401 where nobody knows who asks, 403 where he may not.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// What is wrong.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        self.hint
    }

    fn kind(&self) -> Kind {
        if self.is_unknown {
            Kind::Unauthorized
        } else {
            Kind::Forbidden
        }
    }
}

impl Access {
    /// Reads the tokens of the server whose data lie in `data`.
    ///
    /// # Errors
    /// As [`Tokens::list`].
    pub fn open(data: &Path) -> Result<Self, TokenError> {
        let tokens = Tokens::of(data);
        // Before the file is read: what changes in between is seen at the next look.
        let stamp = tokens.stamp()?;
        let known = Known {
            tokens: tokens.list()?.map(by_id),
            stamp,
        };
        Ok(Self {
            tokens,
            known: Arc::new(RwLock::new(known)),
        })
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.known().tokens.is_some()
    }

    /// Takes the file anew if it changed; true if so. After an error the present tokens stay in force.
    ///
    /// # Errors
    /// As [`Tokens::list`], and when the file vanished while the server runs: that must not open the door.
    pub fn renew(&self) -> Result<bool, TokenError> {
        let stamp = self.tokens.stamp()?;
        if stamp == self.known().stamp {
            return Ok(false);
        }
        let tokens = self.tokens.list()?.map(by_id);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.is_none() && known.tokens.is_some() {
            return Err(TokenError::Gone {
                path: self.tokens.path().to_owned(),
            });
        }
        let changed = known.tokens != tokens;
        *known = Known { tokens, stamp };
        Ok(changed)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request pass, with what its token is bound to written into its headers, or says why not.
    fn check(&self, request: &mut Request) -> Result<(), Denied> {
        // What was checked here does not travel on.
        let shown = request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(BOUND_HOST_HEADER);
        let known = self.known();
        let Some(tokens) = &known.tokens else { return Ok(()) };
        let Some(needed) = route::needed(request.method(), request.uri().path()) else {
            return Ok(());
        };
        let token = find(tokens, shown.as_ref())?;
        if request.uri().path() == route::FLIGHT_HANDSHAKE
            && let Some(shown) = shown.clone()
        {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        bind(token, needed, request)
    }
}

fn by_id(tokens: Vec<Token>) -> HashMap<String, Token> {
    tokens.into_iter().map(|token| (token.id.clone(), token)).collect()
}

/// The token that a request shows.
fn find<'a>(known: &'a HashMap<String, Token>, shown: Option<&HeaderValue>) -> Result<&'a Token, Denied> {
    const HINT: &str = "send `Authorization: Bearer TOKEN`, or the token as the password of HTTP's Basic scheme; \
                        `foreshock token create` on the server's machine makes one";
    let unknown = |reason, detail: &str| Denied {
        is_unknown: true,
        reason,
        detail: detail.to_owned(),
        hint: HINT,
    };
    let Some(shown) = shown else {
        return Err(unknown("no_token", "this server wants a token"));
    };
    let Some(credential) = credential(shown) else {
        return Err(unknown(
            "bad_header",
            "the header Authorization holds neither a bearer token nor a name and a password",
        ));
    };
    let found = credential
        .strip_prefix("fs_")
        .and_then(|rest| known.get(rest.split('_').next()?))
        .filter(|token| same(&token.sha256, &token::sha256(&credential)));
    found.ok_or_else(|| unknown("unknown_token", "the token is not one of this server's, or was revoked"))
}

/// Holds the request against what the token allows, and writes into it what the token is bound to.
fn bind(token: &Token, needed: Scope, request: &mut Request) -> Result<(), Denied> {
    let path = request.uri().path();
    let id = &token.id;
    if !token.scope.allows(needed) {
        return Err(Denied::forbidden(
            "scope",
            format!("token {id} has the scope {}, and this needs {needed}", token.scope),
            "use a token of that scope; `foreshock token create --scope` makes one",
        ));
    }
    if token.host.is_some() && !route::is_telemetry(path) {
        return Err(Denied::forbidden(
            "host",
            format!("token {id} is bound to a host, and may send that host's telemetry alone"),
            "use a token that is bound to no host",
        ));
    }
    if let Some(tenant) = &token.tenant {
        if route::is_of_all_tenants(path) {
            return Err(Denied::forbidden(
                "tenant",
                format!("token {id} is for tenant {tenant} alone, and this is about all of them"),
                "use a token that is bound to no tenant",
            ));
        }
        let asked = request.headers().get(TENANT_HEADER);
        if asked.is_some_and(|asked| asked.as_bytes() != tenant.as_bytes()) {
            return Err(Denied::forbidden(
                "tenant",
                format!("token {id} is for tenant {tenant} alone"),
                "leave X-Scope-OrgID away, or send that tenant's name",
            ));
        }
    }
    let headers = request.headers_mut();
    for (name, value) in [(TENANT_HEADER, &token.tenant), (BOUND_HOST_HEADER, &token.host)] {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value).map_err(|_| {
            Denied::forbidden(
                "token",
                format!("token {id} is bound to a name that HTTP cannot carry"),
                "make another token in its place",
            )
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// Checks every request against `access` before `router` sees it. Endpoints with a form of their own for errors say it in
/// `form`.
pub fn guarded(router: Router, access: Access, form: DeniedForm) -> Router {
    router.layer(axum::middleware::from_fn(move |mut request: Request, next: Next| {
        let access = access.clone();
        async move {
            let path = request.uri().path().to_owned();
            if let Err(denied) = access.check(&mut request) {
                return refuse(&denied, &path, request.headers(), form);
            }
            let shown = (path == route::FLIGHT_HANDSHAKE)
                .then(|| request.headers().get(AUTHORIZATION).and_then(credential))
                .flatten();
            let mut response = next.run(request).await;
            // Clients that log in with a name and a password go on with what the handshake answers.
            if let Some(bearer) = shown.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok()) {
                response.headers_mut().insert(AUTHORIZATION, bearer);
            }
            response
        }
    }))
}

fn refuse(denied: &Denied, path: &str, headers: &HeaderMap, form: DeniedForm) -> Response {
    static DENIED: OnceLock<Counter<u64>> = OnceLock::new();
    DENIED
        .get_or_init(|| {
            opentelemetry::global::meter("foreshock_api")
                .u64_counter("foreshock_api_denied_requests")
                .with_description("Requests refused for want of a token that allows them, by reason")
                .build()
        })
        .add(1, &[KeyValue::new("reason", denied.reason)]);
    tracing::debug!(path, reason = denied.reason, detail = denied.detail, "request denied");
    let mut response = form(denied, path, headers).unwrap_or_else(|| {
        Problem::new(denied.kind(), denied.detail.clone())
            .hint(denied.hint)
            .into_response()
    });
    if response.status() == StatusCode::UNAUTHORIZED {
        // Browsers ask for a password when they see the first; others know the second.
        let asks = HeaderValue::from_static("Basic realm=\"foreshock\", charset=\"UTF-8\", Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, asks);
    }
    response
}

/// The secret of `Authorization`: a bearer token, or the password of the Basic scheme.
fn credential(value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        return Some(pair.split_once(':')?.1.to_owned());
    }
    None
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Writes a file that appears whole or not at all, and survives a power cut once this returns.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
