//! Addresses of mail: the part of RFC 5322 that is in use, in ASCII.

use std::fmt;

/// An address, with the name before it where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) name: String,
    local: String,
    pub(super) domain: String,
}

/// RFC 5321, section 4.5.3.1.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;
const NAME_MAX: usize = 128;

impl Address {
    /// `ops@example.net`, `<ops@example.net>` or `Name <ops@example.net>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<')?,
            None => ("", text),
        };
        let name = name.trim();
        let name = match name.strip_prefix('"') {
            Some(quoted) => unquoted(quoted.strip_suffix('"')?)?,
            None => name.to_owned(),
        };
        let (local, domain) = address.rsplit_once('@')?;
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_literal = literal.is_some_and(|ip| {
            let ip = ip.strip_prefix("IPv6:").unwrap_or(ip);
            ip.parse::<std::net::IpAddr>().is_ok()
        });
        let fits = name.len() <= NAME_MAX
            && !name.chars().any(char::is_control)
            && is_local(local)
            && (is_literal || is_domain(domain));
        fits.then(|| Self {
            name,
            local: local.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

/// As it stands in an envelope.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.local, self.domain)
    }
}

/// Several addresses with commas between them, none of them twice; `None` where one is no address.
pub(super) fn list(text: &str) -> Option<Vec<Address>> {
    let mut found: Vec<Address> = Vec::new();
    for part in parts(text) {
        if part.trim().is_empty() {
            continue;
        }
        let address = Address::parse(part)?;
        if found.iter().all(|known| known.to_string() != address.to_string()) {
            found.push(address);
        }
    }
    Some(found)
}

/// Cut at the commas that do not stand in quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

fn unquoted(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next()?,
            '"' => return None,
            c => c,
        });
    }
    Some(plain)
}

/// RFC 5322's `dot-atom`.
fn is_local(text: &str) -> bool {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.len() <= LOCAL_MAX
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
}

/// Labels of letters, digits, `-` and `_`, with dots between them.
pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= DOMAIN_MAX && text.split('.').all(is_label)
}
