//! The proxy on the way to the server: one that speaks HTTP and `CONNECT`.

use std::net::IpAddr;

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use crate::transport::{ServerError, is_loopback};

/// The proxy for `url`: the one that was given, else that of the environment, read as most programs read it: the variable of the URL's scheme
/// (`https_proxy`, `HTTPS_PROXY`), then `all_proxy` and `ALL_PROXY`, and none for what `no_proxy` or `NO_PROXY` lists or for this very host.
pub(crate) fn choose(
    given: Option<&str>,
    url: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, ServerError> {
    if let Some(given) = given {
        return read(given).map(Some);
    }
    let either = |name: &str| {
        let upper = name.to_ascii_uppercase();
        [name, &upper].iter().find_map(|name| {
            let value = variable(name)?;
            (!value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    let scheme = url.split(':').next().unwrap_or_default();
    let Some(found) = either(&format!("{scheme}_proxy")).or_else(|| either("all_proxy")) else {
        return Ok(None);
    };
    if is_loopback(url) || either("no_proxy").is_some_and(|list| passes(&list, url)) {
        return Ok(None);
    }
    read(&found).map(Some)
}

fn read(given: &str) -> Result<Proxy, ServerError> {
    let proxy = Proxy::new(given).map_err(|_| ServerError::Proxy { given: hidden(given) })?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err(ServerError::ProxyKind { given: hidden(given) }),
    }
}

/// Whether the address of a proxy holds a user, and so most likely a password.
#[must_use]
pub fn has_user(given: &str) -> bool {
    given.contains('@')
}

/// An address without its user and password, which belong in no log.
pub(crate) fn hidden(given: &str) -> String {
    let Some((before, host)) = given.rsplit_once('@') else {
        return given.to_owned();
    };
    let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
    format!("{scheme}...@{host}")
}

/// Whether a list such as `localhost,.example.com,10.0.0.0/8,db:9750` has the host of a URL on it. A name stands for itself and all below it.
fn passes(list: &str, url: &str) -> bool {
    let Some(uri) = url.parse::<Uri>().ok() else {
        return false;
    };
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let Some(address) = address {
                return within(&entry, address)
                    || entry == format!("{host}:{port}")
                    || entry == format!("[{host}]:{port}");
            }
            let (name, of_port) = match entry.rsplit_once(':') {
                Some((name, digits)) => (name, digits.parse().ok()),
                None => (entry.as_str(), Some(port)),
            };
            let name = name.trim_start_matches('*').trim_start_matches('.');
            let below = host
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            !name.is_empty() && below && of_port == Some(port)
        })
}

/// Whether an address is this one, or in this network (`10.0.0.0/8`).
fn within(entry: &str, address: IpAddr) -> bool {
    let (base, bits) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(base) = base.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return false;
    };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let bits = if bits.is_empty() {
        Some(width)
    } else {
        bits.parse().ok()
    };
    let Some(bits) = bits.filter(|bits| *bits <= width) else {
        return false;
    };
    // A shift by all bits of the type would be none.
    (base ^ address).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests;
