//! Letters and hosts' names.

/// Go's `strings.ToUpper`: letter by letter, so that a letter without a large form of its own stays.
pub(super) fn upper(text: &str) -> String {
    text.chars().map(|c| only(c, c.to_uppercase())).collect()
}

/// The other way round.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(|c| only(c, c.to_lowercase())).collect()
}

fn only(c: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// Go's `strings.Title`, as rules have it: the first letter of each word, and no other, is made large.
pub(super) fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !(c.is_alphanumeric() || c == '\'');
            if upper {
                c.to_uppercase().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// As messages have it: the first letter of each word large, the others small. Words are Unicode's (UAX 29): an apostrophe, a
/// point and a colon within one do not end it.
pub(super) fn title_of_messages(text: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let (mut is_within, mut has_letter) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let joins = matches!(c, '\'' | '’' | '.' | ':' | '·') && is_within;
        let goes_on = joins && chars.peek().is_some_and(|next| is_of_word(*next));
        if !is_of_word(c) && !goes_on {
            (is_within, has_letter) = (false, false);
            out.push(c);
            continue;
        }
        is_within = is_of_word(c);
        if !c.is_alphabetic() {
            out.push(c);
        } else if has_letter {
            out.extend(c.to_lowercase());
        } else {
            has_letter = true;
            let mut large = c.to_uppercase();
            out.extend(large.next());
            out.extend(large.flat_map(char::to_lowercase));
        }
    }
    out
}

pub(super) fn strip_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        // More than one colon and no brackets: an address of IPv6 without a port.
        Some((host, _)) if !host.contains(':') => host,
        Some((host, _)) if host.ends_with(']') => host.trim_start_matches('[').trim_end_matches(']'),
        _ => text,
    }
}

pub(super) fn strip_domain(text: &str) -> String {
    let host = strip_port(text);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let port = text.strip_prefix(host).unwrap_or("");
    format!("{}{port}", host.split('.').next().unwrap_or(host))
}
