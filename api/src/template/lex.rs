//! From text to pieces, and from an action to its words.

use super::TemplateError;

/// A stretch of text, or an action between `{{` and `}}`, with the line that it begins in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) line: u32,
    pub(super) kind: PieceKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum PieceKind {
    Text(String),
    Action { words: Vec<Word>, source: String },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Name(String),
    /// `$name`, without the dollar; empty for `$` alone.
    Variable(String),
    /// `.name`, without the point; empty for the point alone. True when nothing stands between it and the word before.
    Field(String, bool),
    Text(String),
    Number(f64),
    Whole(i64),
    Open,
    Close,
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// What `{{-` and `-}}` cut away.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Texts and actions in turn, spaces cut where `{{-` and `-}}` ask for it, comments gone.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = source;
    let mut trim_start = false;
    // Counted on from the last action, so that a long file is gone through once.
    let (mut line, mut counted) = (1_u32, 0_usize);
    let mut line_at = |at: usize| {
        let passed = source[counted..at].bytes().filter(|byte| *byte == b'\n').count();
        line = line.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        counted = at;
        line
    };
    loop {
        let text_line = line_at(source.len() - rest.len());
        let text_piece = |text: &str| Piece {
            line: text_line,
            kind: PieceKind::Text(text.to_owned()),
        };
        let Some(begin) = rest.find("{{") else {
            let text = if trim_start {
                rest.trim_start_matches(SPACES)
            } else {
                rest
            };
            if !text.is_empty() {
                pieces.push(text_piece(text));
            }
            return Ok(pieces);
        };
        let (mut text, action) = rest.split_at(begin);
        let line = line_at(source.len() - action.len());
        let action = &action[2..];
        if trim_start {
            text = text.trim_start_matches(SPACES);
        }
        let trims_before = action.starts_with('-') && action[1..].starts_with(SPACES);
        if trims_before {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            pieces.push(text_piece(text));
        }
        let body = if trims_before { &action[1..] } else { action };
        let failed = |problem: &str| TemplateError {
            problem: problem.to_owned(),
            place: excerpt(&rest[begin..]),
            line,
        };
        let trimmed = body.trim_start();
        if trimmed.starts_with("/*") {
            let end = trimmed.find("*/").ok_or_else(|| failed("a comment does not end"))?;
            let after = trimmed[end + 2..].trim_start();
            let (after, trims) = after.strip_prefix('-').map_or((after, false), |after| (after, true));
            rest = after
                .strip_prefix("}}")
                .ok_or_else(|| failed("a comment must end with */}}"))?;
            trim_start = trims;
            continue;
        }
        let (words, length) = words(body).map_err(|problem| failed(&problem))?;
        let (inside, after) = body.split_at(length);
        trim_start = inside.ends_with('-') && inside[..inside.len() - 1].ends_with(char::is_whitespace);
        rest = &after[2..];
        let source = format!("{{{{{}}}}}", &body[..length]);
        pieces.push(Piece {
            line,
            kind: PieceKind::Action {
                words,
                source: excerpt(&source),
            },
        });
    }
}

/// The beginning of a text, short enough for an error.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The words up to `}}`, and how many bytes stand before it.
fn words(body: &str) -> Result<(Vec<Word>, usize), String> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        let rest = &body[at..];
        let Some(next) = rest.chars().next() else {
            return Err("an action does not end with }}".to_owned());
        };
        if rest.starts_with("}}") {
            return Ok((words, at));
        }
        if rest.starts_with("-}}") && body[..at].ends_with(char::is_whitespace) {
            return Ok((words, at + 1));
        }
        let glued =
            at > 0 && !body[..at].ends_with(|c: char| c.is_whitespace() || matches!(c, '(' | '|' | '=' | ',' | '-'));
        let name_length = |text: &str| {
            text.char_indices()
                .find(|(_, c)| !c.is_alphanumeric() && *c != '_')
                .map_or(text.len(), |(end, _)| end)
        };
        match next {
            _ if next.is_whitespace() => at += next.len_utf8(),
            '(' => (words.push(Word::Open), at += 1).1,
            ')' => (words.push(Word::Close), at += 1).1,
            '|' => (words.push(Word::Pipe), at += 1).1,
            ',' => (words.push(Word::Comma), at += 1).1,
            '=' => (words.push(Word::Assign), at += 1).1,
            ':' if rest.starts_with(":=") => (words.push(Word::Declare), at += 2).1,
            '$' => {
                let length = name_length(&rest[1..]);
                words.push(Word::Variable(rest[1..=length].to_owned()));
                at += 1 + length;
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = name_length(&rest[1..]);
                words.push(Word::Field(rest[1..=length].to_owned(), glued));
                at += 1 + length;
            }
            '"' => {
                let (text, length) = quoted(rest, '"')?;
                words.push(Word::Text(text));
                at += length;
            }
            '\'' => {
                let (text, length) = quoted(rest, '\'')?;
                let mut chars = text.chars();
                let (Some(only), None) = (chars.next(), chars.next()) else {
                    return Err("single quotes hold one character; texts stand in double quotes".to_owned());
                };
                words.push(Word::Whole(i64::from(u32::from(only))));
                at += length;
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("a raw string does not end")?;
                words.push(Word::Text(rest[1..=end].to_owned()));
                at += end + 2;
            }
            _ if next.is_ascii_digit() || matches!(next, '-' | '+' | '.') => {
                let length = rest
                    .char_indices()
                    .skip(1)
                    .find(|(i, c)| {
                        let exponent = matches!(c, '-' | '+') && rest[..*i].ends_with(['e', 'E']);
                        !(c.is_ascii_alphanumeric() || *c == '.' || *c == '_' || exponent)
                    })
                    .map_or(rest.len(), |(end, _)| end);
                words.push(number(&rest[..length])?);
                at += length;
            }
            _ if next.is_alphabetic() || next == '_' => {
                let length = name_length(rest);
                words.push(Word::Name(rest[..length].to_owned()));
                at += length;
            }
            _ => return Err(format!("unexpected character {next:?}")),
        }
    }
}

fn number(text: &str) -> Result<Word, String> {
    let plain = text.replace('_', "");
    if let Ok(whole) = plain.parse::<i64>() {
        return Ok(Word::Whole(whole));
    }
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = plain.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix)
                .map(Word::Whole)
                .map_err(|_| format!("{text:?} is no number"));
        }
    }
    // Rust would read names as well: inf, nan.
    let is_plain = plain
        .bytes()
        .all(|c| c.is_ascii_digit() || matches!(c, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain
        .parse::<f64>()
        .ok()
        .filter(|_| is_plain)
        .map(Word::Number)
        .ok_or_else(|| format!("{text:?} is no number"))
}

/// A string between such quotes with Go's escapes, and how many bytes it takes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, next)) = chars.next() {
        match next {
            _ if next == quote => return Ok((value, at + 1)),
            '\n' => return Err("a string does not end before the line does".to_owned()),
            '\\' => {
                let (_, escape) = chars.next().ok_or("a string does not end")?;
                match escape {
                    'a' => value.push('\u{7}'),
                    'b' => value.push('\u{8}'),
                    'f' => value.push('\u{c}'),
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    'v' => value.push('\u{b}'),
                    '\\' | '"' | '\'' => value.push(escape),
                    'u' | 'U' | 'x' => {
                        let count = match escape {
                            'U' => 8,
                            'u' => 4,
                            _ => 2,
                        };
                        let hex: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        value.push(code.ok_or_else(|| format!("\\{escape}{hex} is no character"))?);
                    }
                    other => return Err(format!("unknown escape \\{other} in a string")),
                }
            }
            other => value.push(other),
        }
    }
    Err("a string does not end".to_owned())
}
