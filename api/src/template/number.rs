//! Numbers as Go prints them, because rule files and templates were written for it.

pub(super) fn unusual(number: f64) -> Option<String> {
    if number.is_nan() {
        Some("NaN".to_owned())
    } else if number.is_infinite() {
        Some(if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
    } else {
        None
    }
}

/// `%g` with `digits` significant digits, or as many as tell the number apart from its neighbours.
pub(crate) fn general(number: f64, digits: Option<usize>) -> String {
    if let Some(text) = unusual(number) {
        return text;
    }
    let scientific = match digits {
        Some(digits) => format!("{:.*e}", digits.max(1) - 1, number),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let mut significant: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    while significant.len() > 1 && significant.ends_with('0') {
        significant.pop();
    }
    let count = significant.len() as i32;
    // The rule of strconv: the shortest form counts as six digits; fewer digits than asked for do not widen the range.
    let mut threshold = digits.map_or(6, |digits| digits.max(1) as i32);
    if digits.is_some() && threshold > count && count > exponent {
        threshold = count;
    }
    if exponent < -4 || exponent >= threshold {
        let (head, tail) = significant.split_at(1);
        let point = if tail.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{head}{point}{tail}e{direction}{:02}", exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{significant}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if significant.len() <= whole {
        return format!("{sign}{significant}{}", "0".repeat(whole - significant.len()));
    }
    format!("{sign}{}.{}", &significant[..whole], &significant[whole..])
}

/// `%e`.
pub(super) fn scientific(number: f64, decimals: usize) -> String {
    if let Some(text) = unusual(number) {
        return text;
    }
    let text = format!("{number:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!(
        "{mantissa}e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

/// `humanize`: metric prefixes, four digits.
pub(crate) fn humanize(number: f64) -> String {
    let mut v = number;
    let mut prefix = "";
    if v != 0.0 && v.is_finite() {
        if v.abs() >= 1.0 {
            for next in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
                if v.abs() < 1000.0 {
                    break;
                }
                prefix = next;
                v /= 1000.0;
            }
        } else {
            (v, prefix) = small(v);
        }
    }
    format!("{}{prefix}", general(v, Some(4)))
}

fn small(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    (v, prefix)
}

/// `humanize1024`: binary prefixes.
pub(crate) fn humanize_1024(number: f64) -> String {
    let mut v = number;
    let mut prefix = "";
    if v.is_finite() && v.abs() > 1.0 {
        for next in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if v.abs() < 1024.0 {
                break;
            }
            prefix = next;
            v /= 1024.0;
        }
    }
    format!("{}{prefix}", general(v, Some(4)))
}

/// `humanizeDuration`: days to seconds, or a fraction of a second.
pub(crate) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return general(seconds, Some(4));
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        let (v, prefix) = small(seconds);
        return format!("{}{prefix}s", general(v, Some(4)));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let v = seconds.abs();
    let total = v as i64;
    let (s, m, h, d) = (total % 60, total / 60 % 60, total / 3600 % 24, total / 86_400);
    if d != 0 {
        format!("{sign}{d}d {h}h {m}m {s}s")
    } else if h != 0 {
        format!("{sign}{h}h {m}m {s}s")
    } else if m != 0 {
        format!("{sign}{m}m {s}s")
    } else {
        format!("{sign}{}s", general(v, Some(4)))
    }
}
