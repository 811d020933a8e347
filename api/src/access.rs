//! Who may do what: tokens with scopes, kept as hashes in a file beside the data.
//!
//! ```text
//! request ─► token? ─► scope of its method and path ─► tenant, host ─► router
//!              ├ none, and the certificate of a host that has joined ─► its telemetry alone
//!              └ there is no file of tokens: everybody may do everything, and the server listens on loopback alone; browsers
//!                call it by a name of its own
//! ```
//! A token is 256 random bits, so that its SHA-256 says nothing about it and needs no slow hash. What is kept is the hash;
//! the token itself is shown once. A browser sends it as the password of HTTP's Basic scheme, under any name.

mod agents;
mod enrol;
mod name;
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
use store::{Clock, StateError};
use thiserror::Error;

pub(crate) use self::agents::Peer;
pub use self::agents::{Agents, AgentsError, Joined};
pub use self::enrol::Enrolment;
use self::enrol::ShownHost;
pub(crate) use self::enrol::ShownToken;
use self::token::Stamp;
pub(crate) use self::token::hex;
pub use self::token::{JoinTerms, NewToken, Scope, Token, TokenError, Tokens};
use crate::params::TENANT_HEADER;
use crate::problem::{Kind, Problem};
use crate::work::blocking;

/// The header that tells the write endpoints which host alone a request may write for. Only this module sets it: what a
/// client sends under this name is taken away.
pub const BOUND_HOST_HEADER: &str = "x-foreshock-bound-host";

/// Why a token is refused that is not in the file as it was last read.
const UNKNOWN_TOKEN: &str = "unknown_token";

/// What is about hosts that have joined.
const AGENTS_PATH: &str = "/api/v1/agents";

/// Where a host that is new gets its certificate.
const JOIN_PATH: &str = "/api/v1/agents/join";

/// Where a certificate that ends soon is made anew.
const RENEW_PATH: &str = "/api/v1/agents/renew";

/// Longest header that is looked at.
const HEADER_BYTES_MAX: usize = 1024;

/// The tokens, and the hosts that have joined, as requests are checked against them. Clones share them.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Tokens,
    known: Arc<RwLock<Known>>,
    agents: Agents,
    /// What this server is called, in lower case.
    names: Arc<[String]>,
    clock: Clock,
}

/// Why it cannot be told who may do what.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The tokens.
    #[error("cannot tell who may use the server")]
    Tokens(#[from] TokenError),
    /// The hosts that have joined.
    #[error("cannot tell which hosts have joined")]
    Agents(#[from] StateError),
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

    /// Whether the answer may be another one once the file of tokens is read again.
    fn may_be_new(&self) -> bool {
        self.reason == UNKNOWN_TOKEN
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
    /// Reads the tokens of the server whose data lie in `data`, and which hosts have joined it. `clock` says when a certificate
    /// has ended.
    ///
    /// # Errors
    /// As [`Tokens::list`] and [`Agents::open`].
    pub fn open(data: &Path, clock: Clock) -> Result<Self, AccessError> {
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
            agents: Agents::open(data)?,
            names: [].into(),
            clock,
        })
    }

    /// The same, called by these names. While no request needs a token, browsers may call it by no others that somebody else could
    /// lead here.
    #[must_use]
    pub fn known_as(mut self, names: &[String]) -> Self {
        self.names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self
    }

    /// The hosts that have joined.
    #[must_use]
    pub fn agents(&self) -> &Agents {
        &self.agents
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

    /// Whether the file has changed since it was last read: a token that nobody knows may have been made a moment ago.
    async fn look_again(&self) -> bool {
        let access = self.clone();
        // What cannot be read is said by the look that comes every two seconds.
        let looked = blocking(move || Ok(access.renew().unwrap_or(false))).await;
        looked.unwrap_or(false)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request pass, with what its token is bound to written into its headers, or says why not.
    fn check(&self, request: &mut Request) -> Result<(), Denied> {
        // What was checked here does not travel on.
        let shown = request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(BOUND_HOST_HEADER);
        let needed = route::needed(request.method(), request.uri().path());
        if shown.is_none()
            && let Some(needed) = needed
            && let Some(peer) = request.extensions().get::<Arc<Peer>>()
        {
            let host = self.agents.admit(peer, self.clock.now_ms())?;
            if request.uri().path() != RENEW_PATH {
                return bind(&host.grant(), needed, request);
            }
            request.extensions_mut().insert(ShownHost(host));
            return Ok(());
        }
        let known = self.known();
        let Some(tokens) = &known.tokens else {
            return name::check(&self.names, request);
        };
        let Some(needed) = needed else {
            return Ok(());
        };
        let token = find(tokens, shown.as_ref())?;
        if needed == Scope::Admin || route::is_below(request.uri().path(), AGENTS_PATH) {
            request.extensions_mut().insert(ShownToken(token.clone()));
        }
        if request.uri().path() == route::FLIGHT_HANDSHAKE
            && let Some(shown) = shown.clone()
        {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        bind(&token.grant(), needed, request)
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
        .strip_prefix(token::PREFIX)
        .or_else(|| credential.strip_prefix(token::JOIN_PREFIX))
        .and_then(|rest| known.get(rest.split('_').next()?))
        .filter(|token| same(&token.sha256, &token::sha256(&credential)));
    found.ok_or_else(|| unknown(UNKNOWN_TOKEN, "the token is not one of this server's, or was revoked"))
}

/// What somebody may do.
struct Grant<'a> {
    /// Who, as refusals say it.
    who: String,
    scope: Scope,
    tenant: Option<&'a str>,
    host: Option<&'a str>,
}

impl Token {
    fn grant(&self) -> Grant<'_> {
        Grant {
            who: format!("token {}", self.id),
            scope: self.scope,
            tenant: self.tenant.as_deref(),
            host: self.host.as_deref(),
        }
    }
}

/// Holds the request against what is granted, and writes into it what that is bound to.
fn bind(grant: &Grant<'_>, needed: Scope, request: &mut Request) -> Result<(), Denied> {
    let path = request.uri().path();
    let who = &grant.who;
    if !grant.scope.allows(needed) {
        let hint = if needed == Scope::Join {
            "hosts join with a join token; `foreshock token create NAME --scope join` makes one"
        } else {
            "use a token of that scope; `foreshock token create --scope` makes one"
        };
        return Err(Denied::forbidden(
            "scope",
            format!("{who} has the scope {}, and this needs {needed}", grant.scope),
            hint,
        ));
    }
    if needed == Scope::Join {
        // For which host is asked where its name is known.
        return Ok(());
    }
    if grant.host.is_some() && !route::is_telemetry(path) {
        return Err(Denied::forbidden(
            "host",
            format!("{who} is bound to a host, and may send that host's telemetry alone"),
            "use a token that is bound to no host",
        ));
    }
    if let Some(tenant) = grant.tenant {
        if route::is_of_all_tenants(path) {
            return Err(Denied::forbidden(
                "tenant",
                format!("{who} is for tenant {tenant} alone, and this is about all of them"),
                "use a token that is bound to no tenant",
            ));
        }
        let asked = request.headers().get(TENANT_HEADER);
        if asked.is_some_and(|asked| asked.as_bytes() != tenant.as_bytes()) {
            return Err(Denied::forbidden(
                "tenant",
                format!("{who} is for tenant {tenant} alone"),
                "leave X-Scope-OrgID away, or send that tenant's name",
            ));
        }
    }
    let headers = request.headers_mut();
    for (name, value) in [(TENANT_HEADER, grant.tenant), (BOUND_HOST_HEADER, grant.host)] {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value).map_err(|_| {
            Denied::forbidden(
                "token",
                format!("{who} is bound to a name that HTTP cannot carry"),
                "make another one in its place",
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
            let token = request.headers().get(AUTHORIZATION).cloned();
            let mut checked = access.check(&mut request);
            if checked.as_ref().is_err_and(Denied::may_be_new)
                && let Some(token) = token
                && access.look_again().await
            {
                request.headers_mut().insert(AUTHORIZATION, token);
                checked = access.check(&mut request);
            }
            if let Err(denied) = checked {
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

/// Writes a file that appears whole or not at all, and survives a power cut once this returns. Nobody whom `mode` leaves out can
/// read it at any time, whatever a crash left behind.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Behind the whole name: a key and its certificate differ in their extensions alone.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // A file of its own: the mode counts for what is made, and what a crash left may be another's to read, or open there already.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
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
