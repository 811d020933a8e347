//! A page as it is written: where in HTML the writing stands, so that values which are put in can be made harmless for that
//! place, as Go's `html/template` does it.
//!
//! What templates write themselves is taken as it is, but for comments, which are left out. What values hold is text: `<` in a
//! label begins no tag. In an address it can be an address of http, https or mail, or a part of one; in a style a word or a number.
//! Scripts, and names of tags and attributes, take no values at all.

use super::escape;
use super::value::{Safe, Value};

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) out: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Default)]
enum Place {
    #[default]
    Text,
    /// Within `<!--`; the dashes seen last.
    Comment {
        dashes: u8,
    },
    /// Behind `<`, with what was read of the name.
    TagName(String),
    /// In a tag, before an attribute.
    Tag {
        element: String,
    },
    AttributeName {
        element: String,
        name: String,
    },
    /// Behind the equals sign.
    BeforeValue {
        element: String,
        kind: Kind,
    },
    Value {
        element: String,
        kind: Kind,
        /// None where there are no quotes.
        quote: Option<char>,
        /// Of an address: what was written of it.
        written: Written,
    },
    /// In an element that holds text only, with what was read of its end.
    Raw {
        element: String,
        end: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Address,
    Style,
    Script,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Written {
    Nothing,
    /// What may still become a scheme.
    Word,
    Beginning,
    Query,
}

/// What stands where a value was that could do harm.
const HARMFUL: &str = "unsafe";

impl Page {
    /// Writes what stands in the template itself.
    pub(super) fn literal(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
        }
    }

    /// Writes a value.
    pub(super) fn value(&mut self, value: &Value) -> Result<(), String> {
        let text = match value {
            Value::Nothing => String::new(),
            other => other.plain(),
        };
        if let Place::BeforeValue { element, kind } = &self.place {
            self.place = Place::Value {
                element: element.clone(),
                kind: *kind,
                quote: None,
                written: Written::Nothing,
            };
        }
        let nowhere = |place: &str| Err(format!("a value cannot stand in {place} of a page"));
        match &mut self.place {
            Place::Text => match value {
                Value::Safe(Safe::Html, _) => self.literal(&text),
                _ => self.out.push_str(&escape::page(&text)),
            },
            Place::Comment { .. } => {}
            Place::TagName(_) => return nowhere("the name of a tag"),
            Place::Tag { .. } | Place::AttributeName { .. } => return nowhere("the name of an attribute"),
            Place::Raw { element, .. } => match element.as_str() {
                "title" | "textarea" => self.out.push_str(&escape::page(&text)),
                "style" => self
                    .out
                    .push_str(if escape::is_safe_style(&text) { &text } else { HARMFUL }),
                _ => return nowhere("a script"),
            },
            Place::BeforeValue { .. } => return nowhere("a tag"),
            Place::Value {
                kind, quote, written, ..
            } => {
                let text = match kind {
                    Kind::Plain => text,
                    Kind::Style if escape::is_safe_style(&text) => text,
                    Kind::Style => HARMFUL.to_owned(),
                    Kind::Script => return nowhere("a script"),
                    Kind::Address => {
                        let is_safe = match (value, *written) {
                            (Value::Safe(Safe::Address, _), _) | (_, Written::Beginning | Written::Query) => true,
                            (_, Written::Nothing) => escape::is_safe_address(&text),
                            // Two values that are harmless alone may be none together.
                            (_, Written::Word) => !text.split('/').next().unwrap_or_default().contains(':'),
                        };
                        let text = if is_safe {
                            escape::address(&text, *written != Written::Query)
                        } else {
                            format!("#{HARMFUL}")
                        };
                        for c in text.chars() {
                            *written = written.after(c);
                        }
                        text
                    }
                };
                let escaped = match quote {
                    Some(_) if matches!(value, Value::Safe(Safe::Html, _)) => escape::page(&text).replace("&amp;", "&"),
                    Some(_) => escape::page(&text),
                    None if text.is_empty() => HARMFUL.to_owned(),
                    None => escape::unquoted(&text),
                };
                self.out.push_str(&escaped);
            }
        }
        Ok(())
    }

    fn step(&mut self, c: char) {
        let is_space = c.is_ascii_whitespace();
        let place = std::mem::take(&mut self.place);
        let mut is_written = true;
        self.place = match place {
            Place::Text if c == '<' => Place::TagName(String::new()),
            Place::Text => Place::Text,
            Place::Comment { dashes } => {
                is_written = false;
                match c {
                    '-' => Place::Comment {
                        dashes: (dashes + 1).min(2),
                    },
                    '>' if dashes == 2 => Place::Text,
                    _ => Place::Comment { dashes: 0 },
                }
            }
            Place::TagName(name) if name == "!-" && c == '-' => {
                // What was written of it goes as well.
                self.out.truncate(self.out.len() - "<!-".len());
                is_written = false;
                Place::Comment { dashes: 0 }
            }
            Place::TagName(name) => {
                let begins = name.is_empty() && matches!(c, '/' | '!');
                if begins || c.is_ascii_alphanumeric() || (!name.is_empty() && matches!(c, '-' | ':')) {
                    Place::TagName(name + c.to_ascii_lowercase().encode_utf8(&mut [0; 4]))
                } else if name.is_empty() {
                    // A sign that begins no tag.
                    self.out.truncate(self.out.len() - "<".len());
                    self.out.push_str("&lt;");
                    return self.step(c);
                } else if c == '>' {
                    within(name)
                } else {
                    Place::Tag { element: name }
                }
            }
            Place::Tag { element } => match c {
                '>' => within(element),
                _ if is_space || c == '/' => Place::Tag { element },
                _ => Place::AttributeName {
                    element,
                    name: c.to_ascii_lowercase().to_string(),
                },
            },
            Place::AttributeName { element, mut name } => match c {
                '>' => within(element),
                '=' => Place::BeforeValue {
                    element,
                    kind: kind(&name),
                },
                '/' => Place::Tag { element },
                // `name =`: what comes next shows whether it has a value.
                _ if is_space => Place::AttributeName { element, name },
                _ => {
                    if self.out.ends_with(|c: char| c.is_ascii_whitespace()) {
                        name.clear();
                    }
                    name.push(c.to_ascii_lowercase());
                    Place::AttributeName { element, name }
                }
            },
            Place::BeforeValue { element, kind } => match c {
                '>' => within(element),
                _ if is_space => Place::BeforeValue { element, kind },
                _ => Place::Value {
                    element,
                    kind,
                    quote: matches!(c, '"' | '\'').then_some(c),
                    written: if matches!(c, '"' | '\'') {
                        Written::Nothing
                    } else {
                        Written::Nothing.after(c)
                    },
                },
            },
            Place::Value {
                element,
                kind,
                quote,
                written,
            } => match quote {
                Some(quote) if c == quote => Place::Tag { element },
                None if is_space => Place::Tag { element },
                None if c == '>' => within(element),
                _ => Place::Value {
                    element,
                    kind,
                    quote,
                    written: written.after(c),
                },
            },
            Place::Raw { element, mut end } => {
                if c == '<' {
                    end.clear();
                }
                if c == '<' || !end.is_empty() {
                    end.push(c.to_ascii_lowercase());
                }
                let closes = end
                    .strip_prefix("</")
                    .and_then(|end| end.strip_prefix(element.as_str()));
                match closes {
                    Some(">") => Place::Text,
                    Some(after) if !after.is_empty() && (is_space || c == '/') => Place::Tag {
                        element: format!("/{element}"),
                    },
                    Some(after) if !after.is_empty() => Place::Raw {
                        element,
                        end: String::new(),
                    },
                    _ if end.len() > element.len() + 3 => Place::Raw {
                        element,
                        end: String::new(),
                    },
                    _ => Place::Raw { element, end },
                }
            }
        };
        if is_written {
            self.out.push(c);
        }
    }
}

impl Written {
    fn after(self, c: char) -> Self {
        match (self, c) {
            (_, '?' | '#') | (Self::Query, _) => Self::Query,
            (_, '/' | ':') | (Self::Beginning, _) => Self::Beginning,
            _ => Self::Word,
        }
    }
}

/// Where one is behind the `>` of a tag.
fn within(element: String) -> Place {
    match element.as_str() {
        "script" | "style" | "textarea" | "title" => Place::Raw {
            element,
            end: String::new(),
        },
        _ => Place::Text,
    }
}

/// What an attribute holds.
fn kind(name: &str) -> Kind {
    let name = name.strip_prefix("data-").unwrap_or(name);
    let bare = name.rsplit_once(':').map_or(name, |(_, bare)| bare);
    let is_address = matches!(
        bare,
        "href"
            | "src"
            | "action"
            | "background"
            | "cite"
            | "data"
            | "formaction"
            | "icon"
            | "longdesc"
            | "manifest"
            | "poster"
            | "profile"
            | "usemap"
            | "classid"
            | "codebase"
            | "archive"
            | "xmlns"
    );
    if name.starts_with("on") || name == "srcdoc" {
        Kind::Script
    } else if bare == "style" {
        Kind::Style
    } else if is_address || ["src", "uri", "url"].iter().any(|part| name.contains(part)) {
        Kind::Address
    } else {
        Kind::Plain
    }
}
