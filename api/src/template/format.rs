//! `printf`, as Go's `fmt` has it.

use std::fmt::Write as _;

use super::number::{general, scientific, unusual};
use super::value::Value;

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
                Some(
                    's' | 'v' | 'd' | 'f' | 'F' | 'g' | 'G' | 'e' | 'E' | 't' | 'q' | 'x' | 'X' | 'o' | 'b' | 'c' | 'U'
                    | 'T' | '%',
                ) => {}
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
    let short = |text: &str| match how.precision {
        Some(limit) => text.chars().take(limit).collect(),
        None => text.to_owned(),
    };
    let radix = |number: i64, digits: String| format!("{}{digits}", if number < 0 { "-" } else { "" });
    match (verb, argument) {
        ('T', _) => argument.type_name().to_owned(),
        ('v', Value::Nothing) => "<nil>".to_owned(),
        ('v', Value::Number(number)) => signed(general(*number, how.precision), *number < 0.0),
        ('v' | 's', Value::Text(text) | Value::Safe(_, text)) => short(text),
        ('d' | 'v', Value::Whole(number)) => signed(number.to_string(), *number < 0),
        ('d', Value::Span(nanos)) => signed(nanos.to_string(), *nanos < 0),
        ('t' | 'v', Value::Bool(value)) => value.to_string(),
        ('f' | 'F', Value::Number(number)) => match unusual(*number) {
            Some(text) => text,
            None => signed(format!("{:.*}", how.precision.unwrap_or(6), number), *number < 0.0),
        },
        ('e', Value::Number(number)) => signed(scientific(*number, how.precision.unwrap_or(6)), *number < 0.0),
        ('g', Value::Number(number)) => signed(general(*number, how.precision), *number < 0.0),
        ('E', Value::Number(_)) => formatted(how, 'e', argument).to_uppercase(),
        ('G', Value::Number(_)) => formatted(how, 'g', argument).to_uppercase(),
        ('q', Value::Text(text) | Value::Safe(_, text)) => quoted(&short(text)),
        ('x', Value::Whole(number)) => radix(*number, format!("{:x}", number.unsigned_abs())),
        ('X', Value::Whole(number)) => radix(*number, format!("{:X}", number.unsigned_abs())),
        ('o', Value::Whole(number)) => radix(*number, format!("{:o}", number.unsigned_abs())),
        ('b', Value::Whole(number)) => radix(*number, format!("{:b}", number.unsigned_abs())),
        ('U', Value::Whole(number)) => format!("U+{number:04X}"),
        ('x', Value::Text(text) | Value::Safe(_, text)) => hexadecimal(text),
        ('X', Value::Text(text) | Value::Safe(_, text)) => hexadecimal(text).to_uppercase(),
        ('c', Value::Whole(number)) => u32::try_from(*number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('\u{fffd}')
            .into(),
        ('v' | 's', Value::Map(..) | Value::List(..) | Value::Record(_) | Value::Time(_) | Value::Span(_)) => {
            short(&argument.plain())
        }
        (_, Value::Nothing) => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", argument.type_name(), argument.plain()),
    }
}

fn hexadecimal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    })
}

/// Go's `strconv.Quote`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
