//! Matchers as Alertmanager writes them: `severity="page"`, `host=~"db-.*"`, quoted or not, alone or in a list.

use std::collections::BTreeMap;

use store::{MatchOp, Matcher};

/// One matcher.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn parse(text: &str) -> Result<Matcher, String> {
    let wrong = |why: &str| format!("{text:?} is no matcher like severity=\"page\" or host=~\"db-.*\": {why}");
    let trimmed = text.trim();
    let (name, rest) = if trimmed.starts_with('"') {
        let end = quoted_end(trimmed).ok_or_else(|| wrong("a quote does not end"))?;
        (unquoted(&trimmed[..end]).map_err(|why| wrong(&why))?, &trimmed[end..])
    } else {
        let end = trimmed
            .find(['=', '!'])
            .ok_or_else(|| wrong("there is no =, !=, =~ or !~"))?;
        (trimmed[..end].trim().to_owned(), &trimmed[end..])
    };
    if name.is_empty() || (!trimmed.starts_with('"') && !is_name(&name)) {
        return Err(wrong("the name of a label is missing or not valid"));
    }
    let rest = rest.trim_start();
    let (op, value) = [
        ("=~", MatchOp::Re),
        ("!~", MatchOp::Nre),
        ("!=", MatchOp::Ne),
        ("=", MatchOp::Eq),
    ]
    .into_iter()
    .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)))
    .ok_or_else(|| wrong("there is no =, !=, =~ or !~"))?;
    let value = value.trim();
    let value = if value.starts_with('"') {
        if quoted_end(value) != Some(value.len()) {
            return Err(wrong("the value's quotes do not fit"));
        }
        unquoted(value).map_err(|why| wrong(&why))?
    } else if value.contains('"') {
        return Err(wrong("the value's quotes do not fit"));
    } else {
        value.to_owned()
    };
    Matcher::new(op, name, value).map_err(|error| error.to_string())
}

/// Matchers in a list: `{a="b", c=~"d"}`, with or without braces.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Matcher>, String> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(_), Some(_)) => &trimmed[1..trimmed.len() - 1],
        (None, None) => trimmed,
        _ => return Err(format!("{text:?} has one brace, not two")),
    };
    let mut matchers = Vec::new();
    let mut rest = inner;
    while !rest.trim().is_empty() {
        let end = comma(rest);
        matchers.push(parse(&rest[..end])?);
        rest = rest.get(end + 1..).unwrap_or("");
    }
    Ok(matchers)
}

/// Whether all matchers hold for these labels; a label that is missing counts as empty.
pub(crate) fn all_match(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.matches(labels.get(&matcher.name).map_or("", String::as_str)))
}

/// `{a="b",c=~"d"}`.
pub(crate) fn shown(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", texts.join(","))
}

fn is_name(name: &str) -> bool {
    name.bytes()
        .enumerate()
        .all(|(i, c)| c.is_ascii_alphabetic() || c == b'_' || c == b':' || (i > 0 && c.is_ascii_digit()))
}

/// Where the quote that `text` begins with ends, behind its last character.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => value.push('\n'),
            Some('"') => value.push('"'),
            Some('\\') => value.push('\\'),
            // As Alertmanager: a backslash before anything else is one, so that patterns need not double it.
            Some(other) => value.extend(['\\', other]),
            None => return Err("it ends with a backslash".to_owned()),
        }
    }
    Ok(value)
}

/// Where the next comma outside of quotes is, or the end.
fn comma(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
