//! The keys of one mapping, taken one by one, so that what is left at the end is what nobody knows.

use serde_yaml_ng::{Mapping, Value};

use crate::params::parse_duration;

#[derive(Debug)]
pub(super) struct Fields {
    place: String,
    left: Mapping,
}

impl Fields {
    /// The keys of `value`, which stands at `place` of the file; nothing at all has no keys.
    pub(super) fn of(value: Value, place: &str) -> Result<Self, String> {
        let left = match value {
            Value::Mapping(left) => left,
            Value::Null => Mapping::new(),
            _ => return Err(format!("{} must have keys and values", shown(place))),
        };
        Ok(Self {
            place: place.to_owned(),
            left,
        })
    }

    /// Where these keys stand.
    pub(super) fn here(&self) -> &str {
        shown(&self.place)
    }

    /// Where `key` stands.
    pub(super) fn place(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place)
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn section(&mut self, key: &str) -> Result<Self, String> {
        let value = self.take(key).unwrap_or(Value::Null);
        Self::of(value, &self.place(key))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        let place = self.place(key);
        self.take(key).map(|value| text_of(value, &place)).transpose()
    }

    /// The text `key`, or what the file named by `key` with `_file` behind it holds.
    pub(super) fn text_or_file(&mut self, key: &str, dir: &std::path::Path) -> Result<Option<String>, String> {
        let (inline, file_key) = (self.text(key)?, format!("{key}_file"));
        let Some(file) = self.text(&file_key)? else {
            return Ok(inline);
        };
        if inline.is_some() {
            return Err(format!("{}: give {key} or {file_key}, not both", self.here()));
        }
        let path = dir.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: cannot read {}: {error}", self.place(&file_key), path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(format!("{} must be true or false", self.place(key))),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<i64>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| format!("{} must be a whole number", self.place(key))),
        }
    }

    /// Milliseconds.
    pub(super) fn duration(&mut self, key: &str) -> Result<Option<i64>, String> {
        let place = self.place(key);
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse_duration(&text)
            .filter(|ms| *ms >= 0)
            .map(Some)
            .ok_or_else(|| format!("{place}: {text:?} is no duration like 30s or 5m"))
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Value>, String> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Sequence(values)) => Ok(values),
            Some(_) => Err(format!("{} must be a list", self.place(key))),
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        Ok(self.maybe_texts(key)?.unwrap_or_default())
    }

    /// A list of texts, or one text; `None` where the key is not there.
    pub(super) fn maybe_texts(&mut self, key: &str) -> Result<Option<Vec<String>>, String> {
        let place = self.place(key);
        match self.take(key) {
            None => Ok(None),
            Some(Value::Sequence(values)) => {
                let texts = values.into_iter().map(|value| text_of(value, &place));
                texts.collect::<Result<_, _>>().map(Some)
            }
            Some(value) => Ok(Some(vec![text_of(value, &place)?])),
        }
    }

    pub(super) fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, String> {
        let place = self.place(key);
        let pair = |(name, value): (Value, Value)| Ok((text_of(name, &place)?, text_of(value, &place)?));
        self.section(key)?.left.into_iter().map(pair).collect()
    }

    /// Warns of what is known and not used, each with the reason, and refuses what is not known.
    pub(super) fn finish(self, unused: &[(&str, &str)], warnings: &mut Vec<String>) -> Result<(), String> {
        for (key, _) in &self.left {
            let key = key.as_str().unwrap_or_default();
            let place = self.place(key);
            let Some((_, why)) = unused.iter().find(|(known, _)| *known == key) else {
                return Err(format!("{place} is not known"));
            };
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            warnings.push(format!("{place} is not used{why}"));
        }
        Ok(())
    }
}

fn shown(place: &str) -> &str {
    if place.is_empty() { "the file" } else { place }
}

/// YAML takes 1 and true for a number and a flag where a text is meant.
pub(super) fn text_of(value: Value, place: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(format!("{place} must be a text")),
    }
}
