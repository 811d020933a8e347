//! By which names a server is called that asks nobody for a token.
//!
//! A page of another site may have its own name lead to this server's address after it was loaded (DNS rebinding). For the browser it
//! then speaks to where it came from, and reads and writes what it likes. The name that it calls gives it away.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, HOST, ORIGIN};
use axum::http::uri::Authority;

use super::Denied;

/// The name in a request of a browser that is none of this server's; `names` are those, in lower case. What is no browser may call it
/// as it likes.
pub(super) fn check(names: &[String], request: &Request) -> Result<(), Denied> {
    if !is_of_a_browser(request.headers()) {
        return Ok(());
    }
    let Some(host) = called(request) else {
        return Ok(());
    };
    if is_own(names, &host) {
        return Ok(());
    }
    Err(Denied::forbidden(
        "name",
        format!("a browser calls this server {host:?}, which it does not know as its own name"),
        "name it in the configuration, as external_url = \"http://NAME:9750\"; call it by its address, localhost or this host's \
         name; or have it ask for tokens (`foreshock token create`)",
    ))
}

/// Browsers leave none of these out, and no page can have them do so. Where the address begins with `http://` and is not this machine's
/// own, they say nothing of sites, and nothing of origins where a page reads from where it came from.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site") || headers.contains_key(ORIGIN) || headers.contains_key(ACCEPT_LANGUAGE)
}

/// The name that a request was sent to, without port, in lower case.
fn called(request: &Request) -> Option<String> {
    let header = request
        .headers()
        .get(HOST)
        .map(|host| Authority::try_from(host.as_bytes()));
    let host = match &header {
        Some(Ok(authority)) => authority.host(),
        // Whatever that is, it is no name of this server.
        Some(Err(_)) => "?",
        // HTTP/2 says it elsewhere.
        None => request.uri().host()?,
    };
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    Some(host.to_ascii_lowercase())
}

/// Addresses, names without a dot and those below `localhost` are nobody's to lead elsewhere: the public names all have one.
fn is_own(names: &[String], host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
        || (!host.contains(['.', '?']) && !host.is_empty())
        || host.ends_with(".localhost")
        || names.iter().any(|name| name == host)
}
