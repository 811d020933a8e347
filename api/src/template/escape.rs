//! Texts made harmless, in the way that Go's `text/template` and `html/template` do it.

use std::fmt::Write as _;

/// The function `html`.
pub(super) fn html(text: &str) -> String {
    replaced(text, |c| match c {
        '"' => Some("&#34;"),
        '\'' => Some("&#39;"),
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\0' => Some("\u{fffd}"),
        _ => None,
    })
}

/// For texts of a page and for attributes in quotes: with the plus, which once led into another character set.
pub(super) fn page(text: &str) -> String {
    replaced(text, |c| match c {
        '"' => Some("&#34;"),
        '\'' => Some("&#39;"),
        '&' => Some("&amp;"),
        '+' => Some("&#43;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\0' => Some("\u{fffd}"),
        _ => None,
    })
}

/// For attributes without quotes, which a space would end.
pub(super) fn unquoted(text: &str) -> String {
    replaced(text, |c| match c {
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\u{b}' => Some("&#11;"),
        '\u{c}' => Some("&#12;"),
        '\r' => Some("&#13;"),
        ' ' => Some("&#32;"),
        '"' => Some("&#34;"),
        '\'' => Some("&#39;"),
        '&' => Some("&amp;"),
        '+' => Some("&#43;"),
        '<' => Some("&lt;"),
        '=' => Some("&#61;"),
        '>' => Some("&gt;"),
        '`' => Some("&#96;"),
        '\0' => Some("&#xfffd;"),
        _ => None,
    })
}

fn replaced(text: &str, by: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match by(c) {
            Some(other) => out.push_str(other),
            None => out.push(c),
        }
    }
    out
}

/// The function `js`.
pub(super) fn script(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => put(&mut out, format_args!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => put(&mut out, format_args!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to a string cannot fail");
}

/// The function `urlquery`: a part of an address behind its question mark.
pub(super) fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if is_plain(byte) => out.push(char::from(byte)),
            byte => put(&mut out, format_args!("%{byte:02X}")),
        }
    }
    out
}

/// The other way round.
pub(super) fn unescaped_query(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let code = digit()
                    .zip(digit())
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                code.ok_or_else(|| format!("urlUnescape: {text:?} holds a % without two digits"))?
            }
            byte => byte,
        });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A part of an address in a page, with what addresses may hold left as it is unless it stands behind a question mark.
pub(super) fn address(text: &str, is_whole: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (at, byte) in bytes.iter().enumerate() {
        let is_left = is_plain(*byte)
            || (is_whole
                && match byte {
                    b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'['
                    | b']' => true,
                    b'%' => bytes
                        .get(at + 1..at + 3)
                        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
                    _ => false,
                });
        if is_left {
            out.push(char::from(*byte));
        } else {
            put(&mut out, format_args!("%{byte:02x}"));
        }
    }
    out
}

/// Whether an address begins in a way that runs nothing.
pub(super) fn is_safe_address(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':').filter(|(scheme, _)| !scheme.contains('/')) else {
        return true;
    };
    ["http", "https", "mailto"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Whether a value of a style is one, and not the beginning of something else.
pub(super) fn is_safe_style(text: &str) -> bool {
    const NOT: [char; 17] = [
        '\0', '"', '\'', '(', ')', '/', ';', '@', '[', '\\', ']', '`', '{', '}', '<', '>', '&',
    ];
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    !text.contains(NOT) && !text.contains("--") && !letters.contains("expression") && !letters.contains("mozbinding")
}
