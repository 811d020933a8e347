//! Labels rewritten by rules (prometheus.io/docs/prometheus/latest/configuration, `relabel_config`).

use regex::Regex;
use serde::Deserialize;

/// Labels while they are rewritten.
pub(super) type Pairs = Vec<(String, String)>;

/// A rule as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    #[serde(default)]
    source_labels: Vec<String>,
    #[serde(default = "semicolon")]
    separator: String,
    #[serde(default)]
    target_label: String,
    #[serde(default = "anything")]
    regex: String,
    #[serde(default = "first_group")]
    replacement: String,
    #[serde(default)]
    action: Action,
}

fn semicolon() -> String {
    ";".to_owned()
}

fn anything() -> String {
    "(.*)".to_owned()
}

fn first_group() -> String {
    "$1".to_owned()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    Lowercase,
    Uppercase,
    LabelMap,
    LabelDrop,
    LabelKeep,
}

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    text: RuleText,
    regex: Regex,
}

impl Rule {
    pub(super) fn new(text: &RuleText) -> Result<Self, String> {
        // Anchored, and with a dot that takes newlines too, as in Prometheus.
        let regex = Regex::new(&format!("^(?s:{})$", text.regex)).map_err(|error| error.to_string())?;
        let needs_target = matches!(
            text.action,
            Action::Replace | Action::KeepEqual | Action::DropEqual | Action::Lowercase | Action::Uppercase
        );
        if needs_target && text.target_label.is_empty() {
            return Err("a relabelling rule needs a target_label".to_owned());
        }
        Ok(Self {
            text: text.clone(),
            regex,
        })
    }

    /// Rewrites `labels`; false where they are dropped.
    fn apply(&self, labels: &mut Pairs) -> bool {
        let RuleText {
            source_labels,
            separator,
            target_label,
            replacement,
            action,
            ..
        } = &self.text;
        let get = |labels: &Pairs, name: &str| {
            labels
                .iter()
                .find(|(n, _)| n == name)
                .map_or(String::new(), |(_, value)| value.clone())
        };
        let sources: Vec<String> = source_labels.iter().map(|name| get(labels, name)).collect();
        let source = sources.join(separator);
        match action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return get(labels, target_label) == source,
            Action::DropEqual => return get(labels, target_label) != source,
            Action::Lowercase => set(labels, target_label, source.to_lowercase()),
            Action::Uppercase => set(labels, target_label, source.to_uppercase()),
            Action::LabelDrop => labels.retain(|(name, _)| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|(name, _)| self.regex.is_match(name)),
            Action::LabelMap => {
                let mapped: Pairs = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        let found = self.regex.captures(name)?;
                        let mut to = String::new();
                        found.expand(replacement, &mut to);
                        Some((to, value.clone()))
                    })
                    .collect();
                for (name, value) in mapped {
                    set(labels, &name, value);
                }
            }
            Action::Replace => {
                if let Some(found) = self.regex.captures(&source) {
                    let (mut name, mut value) = (String::new(), String::new());
                    found.expand(target_label, &mut name);
                    found.expand(replacement, &mut value);
                    if !name.is_empty() {
                        set(labels, &name, value);
                    }
                }
            }
        }
        true
    }
}

/// Rewrites `labels` by `rules` in order; false where one of them drops the whole.
pub(super) fn apply(rules: &[Rule], labels: &mut Pairs) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// Gives a label a value; an empty one takes the label away.
pub(super) fn set(labels: &mut Pairs, name: &str, value: String) {
    match labels.iter_mut().position(|(n, _)| n == name) {
        Some(at) if value.is_empty() => {
            labels.remove(at);
        }
        Some(at) => labels[at].1 = value,
        None if value.is_empty() => {}
        None => labels.push((name.to_owned(), value)),
    }
}
