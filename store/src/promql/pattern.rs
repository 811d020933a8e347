//! Regular expressions as Go reads them, written so that Rust's crate reads them alike.

use regex::Regex;

/// The pattern in Rust's syntax: ASCII classes, literal braces and brackets where Go takes them literally.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let chars: Vec<char> = pattern.chars().collect();
    let mut class = false;
    let mut class_start = false;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        let opened = std::mem::take(&mut class_start);
        match c {
            '\\' if i + 1 < chars.len() => {
                i += 1;
                match (chars[i], class) {
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[0-9A-Za-z_]"),
                    ('w', true) => out.push_str("0-9A-Za-z_"),
                    ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', false) => out.push_str(r"[\t\n\f\r ]"),
                    ('s', true) => out.push_str(r"\t\n\f\r "),
                    ('S', _) => out.push_str(r"[^\t\n\f\r ]"),
                    ('b', false) => out.push_str(r"(?-u:\b)"),
                    ('B', false) => out.push_str(r"(?-u:\B)"),
                    ('Q', false) => {
                        let mut literal = String::new();
                        i += 1;
                        while i < chars.len() && !(chars[i] == '\\' && chars.get(i + 1) == Some(&'E')) {
                            literal.push(chars[i]);
                            i += 1;
                        }
                        out.push_str(&regex::escape(&literal));
                        i += 1;
                    }
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                        // `\x{41}` and `\p{Greek}`: braces of their own.
                        if matches!(other, 'x' | 'p' | 'P') && chars.get(i + 1) == Some(&'{') {
                            while i + 1 < chars.len() && chars[i] != '}' {
                                i += 1;
                                out.push(chars[i]);
                            }
                        }
                    }
                }
            }
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if chars.get(i + 1) == Some(&'^') {
                    out.push('^');
                    i += 1;
                }
            }
            '[' => {
                if chars.get(i + 1) == Some(&':')
                    && let Some(length) = chars[i..].windows(2).position(|w| w == [':', ']']).filter(|&n| n > 1)
                {
                    out.extend(&chars[i..=i + length + 1]);
                    i += length + 1;
                } else {
                    out.push_str("\\[");
                }
            }
            ']' if class && opened => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '-' if class && chars.get(i + 1) == Some(&'-') && !opened => out.push_str("\\-"),
            '{' if !class && !is_repetition(&chars[i..]) => out.push_str("\\{"),
            '}' if !class && !out_ends_in_repetition(&out) => out.push_str("\\}"),
            c => out.push(c),
        }
        i += 1;
    }
    out
}

/// Compiles a whole-text pattern, `.` matching line feeds, as Prometheus 3 anchors them.
pub(super) fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?s:{})$", translate(pattern)))
}

fn is_repetition(rest: &[char]) -> bool {
    let Some(end) = rest.iter().position(|&c| c == '}') else {
        return false;
    };
    let inner: String = rest[1..end].iter().collect();
    let (low, high) = inner.split_once(',').unwrap_or((&inner, ""));
    !low.is_empty() && low.bytes().all(|b| b.is_ascii_digit()) && high.bytes().all(|b| b.is_ascii_digit())
}

fn out_ends_in_repetition(out: &str) -> bool {
    let tail = out.trim_end_matches(|c: char| c.is_ascii_digit() || c == ',');
    tail.ends_with('{') && !tail.ends_with("\\{")
}
