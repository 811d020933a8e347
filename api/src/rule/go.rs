//! Numbers and formats as Go prints them, because rule files were written for it.

use std::fmt::Write as _;

/// A value within a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(f64),
    Whole(i64),
    Bool(bool),
    /// `$labels` itself.
    Labels(Vec<(String, String)>),
}

impl Value {
    /// Go's `%v`.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => general(*number, None),
            Self::Whole(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Labels(labels) => {
                let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("map[{}]", pairs.join(" "))
            }
        }
    }

    /// What `if` and `and` take for true: anything but zero and empty.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0,
            Self::Whole(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::Labels(labels) => !labels.is_empty(),
        }
    }

    /// As a number, which humanize and its like also read from text.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Whole(number) => Some(*number as f64),
            Self::Text(text) => match text.as_str() {
                "+Inf" | "Inf" => Some(f64::INFINITY),
                "-Inf" => Some(f64::NEG_INFINITY),
                _ => text.parse().ok(),
            },
            Self::Bool(_) | Self::Labels(_) => None,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Number(_) => "float64",
            Self::Whole(_) => "int",
            Self::Bool(_) => "bool",
            Self::Labels(_) => "map[string]string",
        }
    }
}

fn unusual(number: f64) -> Option<String> {
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
fn scientific(number: f64, decimals: usize) -> String {
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

/// One `%` directive of `printf`.
#[derive(Debug, Default, Clone)]
struct Directive {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// What `printf` cannot format: the position counts from the format's beginning.
pub(crate) fn check_format(format: &str) -> Result<(), String> {
    let mut chars = format.chars().peekable();
    while let Some(next) = chars.next() {
        if next == '%' {
            let (_, verb) = directive(&mut chars);
            match verb {
                Some('s' | 'v' | 'd' | 'f' | 'F' | 'g' | 'e' | 't' | 'q' | 'x' | 'c' | '%') => {}
                Some(other) => return Err(format!("printf verb %{other} is not supported")),
                None => return Err("the format ends within a verb".to_owned()),
            }
        }
    }
    Ok(())
}

fn directive(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (Directive, Option<char>) {
    let mut found = Directive::default();
    while let Some(flag) = chars.peek().copied() {
        match flag {
            '-' => found.left = true,
            '0' => found.zero = true,
            '+' => found.plus = true,
            ' ' | '#' => {}
            _ => break,
        }
        chars.next();
    }
    // Bounded, so that no rule asks for a gigabyte of spaces.
    let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut n = 0usize;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            n = (n * 10 + digit as usize).min(200);
            chars.next();
        }
        n
    };
    found.width = number(chars);
    if chars.peek() == Some(&'.') {
        chars.next();
        found.precision = Some(number(chars));
    }
    (found, chars.next())
}

/// Go's `fmt.Sprintf`, for the verbs that [`check_format`] lets pass.
pub(crate) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars().peekable();
    let mut arguments_left = arguments.iter();
    while let Some(next) = chars.next() {
        if next != '%' {
            out.push(next);
            continue;
        }
        let (how, verb) = directive(&mut chars);
        let Some(verb) = verb else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments_left.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        pad(&mut out, &how, &formatted(&how, verb, argument));
    }
    let extra: Vec<String> = arguments_left
        .map(|value| format!("{}={}", value.type_name(), value.plain()))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn formatted(how: &Directive, verb: char, argument: &Value) -> String {
    let signed = |text: String, negative: bool| {
        if how.plus && !negative {
            format!("+{text}")
        } else {
            text
        }
    };
    match (verb, argument) {
        ('v', Value::Number(number)) => signed(general(*number, how.precision), *number < 0.0),
        ('v' | 's', Value::Text(text)) => match how.precision {
            Some(limit) => text.chars().take(limit).collect(),
            None => text.clone(),
        },
        ('d' | 'v', Value::Whole(number)) => signed(number.to_string(), *number < 0),
        ('t' | 'v', Value::Bool(value)) => value.to_string(),
        ('f' | 'F', Value::Number(number)) => match unusual(*number) {
            Some(text) => text,
            None => signed(format!("{:.*}", how.precision.unwrap_or(6), number), *number < 0.0),
        },
        ('e', Value::Number(number)) => signed(scientific(*number, how.precision.unwrap_or(6)), *number < 0.0),
        ('g', Value::Number(number)) => signed(general(*number, how.precision), *number < 0.0),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Whole(number)) => format!("{number:x}"),
        ('x', Value::Text(text)) => text.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
            hex
        }),
        ('c', Value::Whole(number)) => u32::try_from(*number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('\u{fffd}')
            .into(),
        ('v', Value::Labels(_)) => argument.plain(),
        _ => format!("%!{verb}({}={})", argument.type_name(), argument.plain()),
    }
}

fn pad(out: &mut String, how: &Directive, text: &str) {
    let missing = how.width.saturating_sub(text.chars().count());
    if how.left {
        out.push_str(text);
        out.push_str(&" ".repeat(missing));
    } else if how.zero && !text.is_empty() {
        let (sign, digits) = if text.starts_with(['-', '+']) {
            text.split_at(1)
        } else {
            ("", text)
        };
        out.push_str(sign);
        out.push_str(&"0".repeat(missing));
        out.push_str(digits);
    } else {
        out.push_str(&" ".repeat(missing));
        out.push_str(text);
    }
}
