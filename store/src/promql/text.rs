//! The text of a query before the parser sees it: bounded, and rewritten where the grammar of promql-parser falls short.
//!
//! What is rewritten: strings in backticks, whose backslashes the parser takes for escapes, become ordinary strings;
//! zero offsets lose their unit. What is refused here, because the parser would panic on it or read it as zero:
//! durations out of range. Depth is bounded before parsing, and what then recurses does it on a stack that grows ([`super::stack`]).

use super::error::QueryError;

/// Durations end where Go's nanoseconds do.
const DURATION_SECONDS_MAX: f64 = 9.2e9;

/// A text that is safe to parse, with the places of its calls.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) text: String,
    pub(super) places: Places,
}

/// Where the parts of a text stand.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// For each call and aggregation, in the order in which they open: where it starts.
    pub(super) starts: Vec<Place>,
    /// The same: line and column of each argument.
    pub(super) calls: Vec<Vec<Place>>,
    /// For each binary operation, those within it before it: where its left side starts.
    pub(super) operations: Vec<Place>,
}

/// Line and column in the text as it was given, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// Where every text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

pub(super) fn check(query: &str, max_bytes: usize, max_depth: usize) -> Result<Checked, QueryError> {
    if query.len() > max_bytes {
        return Err(QueryError::TooLong {
            bytes: query.len(),
            max: max_bytes,
        });
    }
    let mut scan = Scan {
        rest: query,
        text: String::with_capacity(query.len()),
        line: 1,
        line_start: 0,
        full: query.len(),
        levels: vec![Level::default()],
        depth: 0,
        max_depth,
        places: Places::default(),
        callable: false,
        word_place: Place { line: 1, column: 1 },
        aggregation_place: None,
        labels_next: false,
        after_at: false,
        after_offset: false,
        brackets: false,
        modifier: None,
    };
    while !scan.rest.is_empty() {
        scan.token()?;
    }
    scan.end_operations();
    Ok(Checked {
        text: scan.text,
        places: scan.places,
    })
}

#[derive(Default)]
struct Level {
    operators: usize,
    call: Option<usize>,
    // Starts of operands, and operators between them, that are not put together yet: as in Dijkstra's shunting yard.
    operands: Vec<Place>,
    pending: Vec<Pending>,
    // The last token was an operand, so that an operator that follows has two.
    after_operand: bool,
    // A list of labels, which is no operand.
    labels: bool,
}

/// An operator whose right side is not complete.
struct Pending {
    // How tightly it binds.
    strength: u8,
    // Where it stands, if it has a right side alone.
    sign: Option<Place>,
}

/// How tightly an operator binds; the strongest one groups from the right.
fn strength(operator: &str) -> Option<u8> {
    Some(match operator {
        "or" => 1,
        "and" | "unless" => 2,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 3,
        "+" | "-" => 4,
        "*" | "/" | "%" | "atan2" => 5,
        "^" => 6,
        _ => return None,
    })
}

struct Scan<'a> {
    rest: &'a str,
    text: String,
    line: u32,
    line_start: usize,
    full: usize,
    levels: Vec<Level>,
    depth: usize,
    max_depth: usize,
    places: Places,
    // The last token may be the name of a function or aggregation.
    callable: bool,
    // Where that name stands, also behind a grouping clause.
    word_place: Place,
    aggregation_place: Option<Place>,
    // A list of labels follows, as after `on`.
    labels_next: bool,
    after_at: bool,
    after_offset: bool,
    brackets: bool,
    // A grouping clause between an aggregation and its arguments; the value says whether its parenthesis was seen.
    modifier: Option<bool>,
}

impl Level {
    /// Puts the last operator and its operands together to one operand.
    fn put_together(&mut self, operations: &mut Vec<Place>) {
        let Some(operator) = self.pending.pop() else { return };
        let right = self.operands.pop();
        match (operator.sign, self.operands.last()) {
            (Some(sign), _) => self.operands.push(sign),
            (None, Some(left)) => operations.push(*left),
            // The parser will say what is wrong.
            (None, None) => self.operands.extend(right),
        }
    }
}

impl Scan<'_> {
    fn token(&mut self) -> Result<(), QueryError> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(());
        };
        match first {
            '\n' => {
                self.copy(1);
                self.line += 1;
                self.line_start = self.full - self.rest.len();
            }
            c if c.is_whitespace() => self.copy(c.len_utf8()),
            '#' => {
                let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                self.copy(end);
            }
            '"' | '\'' => {
                self.argument();
                self.quoted(first)?;
            }
            '`' => {
                self.argument();
                self.raw()?;
            }
            '{' => {
                self.argument();
                self.copy(1);
                self.braces()?;
                self.callable = false;
            }
            '(' => self.open()?,
            ')' => self.close(),
            '[' => {
                self.deeper()?;
                self.brackets = true;
                self.copy(1);
            }
            ']' => {
                self.brackets = false;
                self.copy(1);
                self.callable = false;
            }
            ',' => {
                self.end_operations();
                if let Some(level) = self.levels.last_mut() {
                    self.depth -= level.operators;
                    level.operators = 0;
                }
                self.callable = false;
                self.copy(1);
                if let Some(call) = self.levels.last().and_then(|level| level.call) {
                    // The place is filled in when the next token starts.
                    self.places.calls[call].push(Place { line: 0, column: 0 });
                }
            }
            c if c.is_ascii_digit() || c == '.' => {
                self.argument();
                self.number()?;
            }
            c if c.is_ascii_alphabetic() || c == '_' || c == ':' => self.word()?,
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '!' | '<' | '>' => {
                let length = if self.rest[1..].starts_with(['=', '~']) { 2 } else { 1 };
                if !self.after_offset && !self.after_at && !self.brackets {
                    let operator = self.rest[..length].to_owned();
                    self.operator(&operator);
                }
                self.argument_only();
                self.copy(length);
                self.callable = false;
                if !self.after_offset {
                    self.deeper()?;
                }
            }
            '@' => {
                self.copy(1);
                self.callable = false;
                self.after_at = true;
            }
            c => {
                self.argument();
                self.copy(c.len_utf8());
                self.callable = false;
            }
        }
        Ok(())
    }

    fn copy(&mut self, bytes: usize) {
        let (head, tail) = self.rest.split_at(bytes);
        self.text.push_str(head);
        self.rest = tail;
    }

    fn deeper(&mut self) -> Result<(), QueryError> {
        if let Some(level) = self.levels.last_mut() {
            level.operators += 1;
        }
        self.depth += 1;
        if self.depth > self.max_depth {
            Err(QueryError::TooDeep { max: self.max_depth })
        } else {
            Ok(())
        }
    }

    fn place(&self) -> Place {
        let column = self.full - self.rest.len() - self.line_start + 1;
        Place {
            line: self.line,
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// Notes where an operand starts, if one is due.
    fn operand(&mut self) {
        let place = self.place();
        if let Some(level) = self.levels.last_mut().filter(|level| !level.after_operand) {
            level.operands.push(place);
            level.after_operand = true;
        }
    }

    /// Notes an operator, and puts together what binds more tightly before it.
    fn operator(&mut self, operator: &str) {
        let Some(strength) = strength(operator) else { return };
        let place = self.place();
        let Some(level) = self.levels.last_mut() else { return };
        let sign = !level.after_operand;
        if sign {
            // Signs bind like products do.
            level.pending.push(Pending {
                strength: 5,
                sign: Some(place),
            });
            return;
        }
        while let Some(last) = level.pending.last() {
            if last.strength < strength || (last.strength == strength && strength == 6) {
                break;
            }
            level.put_together(&mut self.places.operations);
        }
        level.pending.push(Pending { strength, sign: None });
        level.after_operand = false;
    }

    /// Puts together all operations of the present level.
    fn end_operations(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            while !level.pending.is_empty() {
                level.put_together(&mut self.places.operations);
            }
            level.operands.clear();
            level.after_operand = false;
        }
    }

    /// Notes where an argument or operand starts, if one is due.
    fn argument(&mut self) {
        if !std::mem::take(&mut self.after_at) {
            self.operand();
        }
        self.argument_only();
    }

    /// Notes where an argument starts, if one is due.
    fn argument_only(&mut self) {
        let place = self.place();
        if let Some(last) = self
            .levels
            .last()
            .and_then(|l| l.call)
            .and_then(|call| self.places.calls[call].last_mut())
            && last.line == 0
        {
            *last = place;
        }
    }

    fn open(&mut self) -> Result<(), QueryError> {
        let call = match self.modifier {
            Some(false) => {
                self.modifier = Some(true);
                None
            }
            _ if self.callable => {
                self.modifier = None;
                self.places
                    .starts
                    .push(self.aggregation_place.take().unwrap_or(self.word_place));
                self.places.calls.push(vec![Place { line: 0, column: 0 }]);
                Some(self.places.calls.len() - 1)
            }
            _ if self.labels_next => None,
            _ => {
                self.argument();
                None
            }
        };
        self.copy(1);
        self.callable = false;
        self.levels.push(Level {
            call,
            labels: std::mem::take(&mut self.labels_next),
            ..Level::default()
        });
        self.depth += 1;
        if self.depth > self.max_depth {
            Err(QueryError::TooDeep { max: self.max_depth })
        } else {
            Ok(())
        }
    }

    fn close(&mut self) {
        self.copy(1);
        if self.levels.last().is_some_and(|level| !level.labels) {
            self.end_operations();
        }
        if self.levels.len() > 1
            && let Some(level) = self.levels.pop()
        {
            self.depth -= level.operators + 1;
        }
        // `sum by (a) (x)`: after the grouping clause, the arguments of the aggregation may still follow.
        self.callable = self.modifier == Some(true);
        self.modifier = None;
    }

    fn word(&mut self) -> Result<(), QueryError> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(self.rest.len());
        let word = self.rest[..end].to_ascii_lowercase();
        self.after_offset = false;
        match word.as_str() {
            "and" | "or" | "unless" | "atan2" => {
                self.operator(&word);
                self.copy(end);
                self.callable = false;
                self.deeper()?;
            }
            // After an operand these modify an operator; their parentheses hold labels, and `bool` none at all.
            "by" | "without" => {
                let before_arguments = self.callable;
                if before_arguments {
                    self.aggregation_place = Some(self.word_place);
                }
                self.copy(end);
                self.callable = false;
                self.modifier = before_arguments.then_some(false);
            }
            "on" | "ignoring" | "group_left" | "group_right" | "bool" | "fill" | "fill_left" | "fill_right" => {
                self.copy(end);
                self.callable = false;
                self.labels_next = word != "bool" && self.rest.trim_start().starts_with('(');
            }
            "offset" => {
                self.copy(end);
                self.callable = false;
                self.after_offset = true;
            }
            "inf" | "nan" if self.after_offset_word() => {
                return Err(QueryError::Parse("duration out of range".to_owned()));
            }
            _ => {
                // `@ start()` is no call.
                let called = !self.after_at;
                self.argument();
                self.word_place = self.place();
                self.copy(end);
                self.callable = called;
            }
        }
        Ok(())
    }

    fn after_offset_word(&self) -> bool {
        let before = self.text.trim_end().trim_end_matches(['+', '-']).trim_end();
        before.len() >= 6
            && before.is_char_boundary(before.len() - 6)
            && before[before.len() - 6..].eq_ignore_ascii_case("offset")
    }

    fn number(&mut self) -> Result<(), QueryError> {
        let bytes = self.rest.as_bytes();
        let hexadecimal = self.rest.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
        let mut end = 0;
        while end < bytes.len() {
            let c = bytes[end];
            let exponent_sign =
                !hexadecimal && matches!(c, b'+' | b'-') && end > 0 && bytes[end - 1].eq_ignore_ascii_case(&b'e');
            if !(c.is_ascii_alphanumeric() || c == b'.' || c == b'_' || exponent_sign) {
                break;
            }
            end += 1;
        }
        let duration = self.after_offset || self.brackets;
        self.after_offset = false;
        self.callable = false;
        let token = self.rest[..end].to_owned();
        let seconds = duration_seconds(&token);
        if duration && seconds.is_none_or(|s| !(s.is_finite() && s < DURATION_SECONDS_MAX)) {
            return Err(QueryError::Parse(match seconds {
                Some(_) => "duration out of range".to_owned(),
                None => format!("bad number or duration syntax: {token:?}"),
            }));
        }
        match seconds {
            Some(0.0) if duration && !self.brackets => {
                self.text.push('0');
                self.rest = &self.rest[end..];
            }
            Some(0.0) if duration => return Err(QueryError::Parse("duration must be greater than 0".to_owned())),
            _ => self.copy(end),
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), QueryError> {
        let mut escaped = false;
        let end = self.rest[1..]
            .char_indices()
            .find(|&(_, c)| {
                let ends = c == quote && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })
            .map_or(self.rest.len(), |(i, _)| i + 2);
        let string = self.rest[..end].to_owned();
        self.callable = false;
        match bytes_decoded(&string)? {
            Some(decoded) => {
                self.text.push_str(&decoded);
                self.rest = &self.rest[end..];
            }
            None => self.copy(end),
        }
        Ok(())
    }

    fn raw(&mut self) -> Result<(), QueryError> {
        let Some(length) = self.rest[1..].find('`') else {
            return Err(QueryError::Parse("unterminated raw string".to_owned()));
        };
        let content = &self.rest[1..=length];
        self.text.push('"');
        for c in content.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => {
                    self.text.push_str("\\n");
                    self.line += 1;
                }
                '\r' => self.text.push_str("\\r"),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        if let Some(newline) = content.rfind('\n') {
            self.line_start = self.full - self.rest.len() + 1 + newline + 1;
        }
        self.rest = &self.rest[length + 2..];
        self.callable = false;
        Ok(())
    }

    /// The inside of a selector: only strings matter.
    fn braces(&mut self) -> Result<(), QueryError> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '}' => {
                    self.copy(1);
                    return Ok(());
                }
                '"' | '\'' => self.quoted(c)?,
                '`' => self.raw()?,
                '#' => {
                    let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                    self.copy(end);
                }
                '\n' => {
                    self.copy(1);
                    self.line += 1;
                    self.line_start = self.full - self.rest.len();
                }
                c => self.copy(c.len_utf8()),
            }
        }
        Ok(())
    }
}

/// The string with escaped bytes, which the parser would take for characters, as the text that they encode; `None` where it
/// has none.
fn bytes_decoded(string: &str) -> Result<Option<String>, QueryError> {
    let is_byte = |rest: &str| rest.starts_with('x') || rest.starts_with(|c: char| c.is_digit(8));
    let mut out = String::with_capacity(string.len());
    let mut rest = string;
    let mut any = false;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if !is_byte(&rest[1..]) {
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let mut bytes = Vec::new();
        while let Some(tail) = rest.strip_prefix('\\').filter(|tail| is_byte(tail)) {
            let (digits, radix) = if tail.starts_with('x') {
                (tail.get(1..3), 16)
            } else {
                (tail.get(..3), 8)
            };
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, radix).ok());
            let Some(byte) = byte else {
                return Err(QueryError::Parse("invalid escape sequence in string".to_owned()));
            };
            bytes.push(byte);
            rest = &tail[3..];
        }
        let decoded = std::str::from_utf8(&bytes)
            .map_err(|_| QueryError::Parse(format!("string {string} is not valid UTF-8, as labels have to be")))?;
        any = true;
        for c in decoded.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                c if string.starts_with(c) => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
    }
    out.push_str(rest);
    Ok(any.then_some(out))
}

/// Seconds of a number or duration token, `None` where it is neither.
fn duration_seconds(token: &str) -> Option<f64> {
    if let Some(digits) = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok().map(|n| n as f64);
    }
    if let Ok(number) = token.parse::<f64>() {
        return Some(number);
    }
    let mut rest = token;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number = rest[..digits].parse::<f64>().ok()?;
        // The parser counts units in u32 and reads what does not fit as zero.
        if number > f64::from(u32::MAX) {
            return Some(f64::INFINITY);
        }
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                "w" => 604_800.0,
                "y" => 31_536_000.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(seconds)
}
