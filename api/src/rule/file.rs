//! Prometheus rule files, read as they are and checked before anything is evaluated.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::duration;
use super::state::Hold;
use super::template::{Facts, Template, TemplateError};

/// Rules that are evaluated one after the other, all with the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Unique within its file.
    pub name: String,
    /// The file that it comes from, as it was named to [`load`].
    pub file: String,
    /// Time between evaluations.
    pub interval_ms: i64,
    /// How far the time of evaluation lies before the time of looking.
    pub query_offset_ms: i64,
    /// The most alerts, or recorded series, that one rule may make; 0 for no limit.
    pub limit: usize,
    /// In order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Name of the alert, or of the recorded metric.
    pub name: String,
    /// PromQL.
    pub expr: String,
    /// Labels that are added, or taken away where the text is empty.
    pub labels: Vec<(String, Template)>,
    /// What it does.
    pub kind: RuleKind,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// Raises an alert for each series of the result.
    Alert {
        /// `for` and `keep_firing_for`.
        hold: Hold,
        /// Texts for people.
        annotations: Vec<(String, Template)>,
    },
    /// Writes each series of the result under the rule's name.
    Record,
}

/// A rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read rule file {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML of the form that rule files have.
    #[error("rule file {file} is not valid")]
    Yaml {
        /// The file.
        file: String,
        /// What the parser says, with line and column.
        source: serde_yaml_ng::Error,
    },
    /// A group is wrong.
    #[error("{file}, group {group:?}: {problem}")]
    Group {
        /// The file.
        file: String,
        /// The group.
        group: String,
        /// What is wrong.
        problem: String,
    },
    /// A rule is wrong.
    #[error("{file}, group {group:?}, rule {number} {rule:?}: {problem}")]
    Rule {
        /// The file.
        file: String,
        /// The group.
        group: String,
        /// The rule's place within it, from 1.
        number: usize,
        /// Its name.
        rule: String,
        /// What is wrong.
        problem: String,
    },
}

impl LoadError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("check the path and that foreshock may read it"),
            Self::Yaml { .. } => Some("rule files have the form of Prometheus': groups, each with name and rules"),
            Self::Group { .. } | Self::Rule { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    groups: Vec<GroupText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    name: String,
    interval: Option<String>,
    query_offset: Option<String>,
    #[serde(default)]
    limit: usize,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    alert: Option<String>,
    record: Option<String>,
    expr: Expr,
    #[serde(rename = "for")]
    hold: Option<String>,
    keep_firing_for: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `expr: 1` is a number for YAML and an expression for us.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expr {
    Text(String),
    Whole(i64),
    Number(f64),
}

/// Prometheus' default `evaluation_interval`.
const INTERVAL_MS: i64 = 60_000;

/// Rules in all files together are many; in one file this many are a mistake or an attack.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Reads a rule file.
///
/// # Errors
/// [`LoadError`], with file, group and rule.
pub fn load_file(path: &Path) -> Result<Vec<Group>, LoadError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
        file: file.clone(),
        source,
    })?;
    load(&text, &file)
}

/// Reads the text of a rule file; `file` names it in errors.
///
/// # Errors
/// [`LoadError`], with file, group and rule.
pub fn load(text: &str, file: &str) -> Result<Vec<Group>, LoadError> {
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("the file has {} bytes; the most is {FILE_BYTES_MAX}", text.len());
        return Err(LoadError::Group {
            file: file.to_owned(),
            group: String::new(),
            problem,
        });
    }
    let parsed: Option<FileText> = serde_yaml_ng::from_str(text).map_err(|source| LoadError::Yaml {
        file: file.to_owned(),
        source,
    })?;
    let mut groups: Vec<Group> = Vec::new();
    for group in parsed.map(|file| file.groups).unwrap_or_default() {
        let read = read_group(group, file)?;
        if groups.iter().any(|other| other.name == read.name) {
            let problem = "the name is taken by another group of this file".to_owned();
            return Err(LoadError::Group {
                file: file.to_owned(),
                group: read.name,
                problem,
            });
        }
        groups.push(read);
    }
    Ok(groups)
}

fn read_group(text: GroupText, file: &str) -> Result<Group, LoadError> {
    let name = text.name;
    let wrong = |problem: String| LoadError::Group {
        file: file.to_owned(),
        group: name.clone(),
        problem,
    };
    if name.is_empty() {
        return Err(wrong("the name is empty".to_owned()));
    }
    let span = |text: Option<&String>, what: &str| match text {
        None => Ok(None),
        Some(text) => duration::parse(text)
            .map(Some)
            .ok_or_else(|| wrong(format!("{what}: {text:?} is no duration like 30s or 5m"))),
    };
    let interval_ms = match span(text.interval.as_ref(), "interval")? {
        // As Prometheus: zero is the default.
        None | Some(0) => INTERVAL_MS,
        Some(ms) => ms,
    };
    let query_offset_ms = span(text.query_offset.as_ref(), "query_offset")?.unwrap_or(0);
    let mut rules: Vec<Rule> = Vec::new();
    for (index, rule) in text.rules.into_iter().enumerate() {
        let shown = rule.alert.clone().or_else(|| rule.record.clone()).unwrap_or_default();
        let read = read_rule(rule, &text.labels).and_then(|read| {
            // Two rules that make the same series would fight over it.
            let twin = rules.iter().any(|other| {
                other.name == read.name
                    && matches!(other.kind, RuleKind::Record) == matches!(read.kind, RuleKind::Record)
                    && other.labels == read.labels
                    && other.expr == read.expr
            });
            if twin {
                Err("the same rule stands above".to_owned())
            } else {
                Ok(read)
            }
        });
        rules.push(read.map_err(|problem| LoadError::Rule {
            file: file.to_owned(),
            group: name.clone(),
            number: index + 1,
            rule: shown,
            problem,
        })?);
    }
    Ok(Group {
        name,
        file: file.to_owned(),
        interval_ms,
        query_offset_ms,
        limit: text.limit,
        rules,
    })
}

fn read_rule(text: RuleText, group_labels: &BTreeMap<String, String>) -> Result<Rule, String> {
    let expr = match text.expr {
        Expr::Text(text) => text.trim().to_owned(),
        Expr::Whole(number) => number.to_string(),
        Expr::Number(number) => number.to_string(),
    };
    if expr.is_empty() {
        return Err("expr is empty".to_owned());
    }
    store::promql::parse(&expr).map_err(|error| format!("expr: {error}"))?;
    let span = |text: Option<String>, what: &str| match text {
        None => Ok(0),
        Some(text) => duration::parse(&text).ok_or_else(|| format!("{what}: {text:?} is no duration like 30s or 5m")),
    };
    let (name, kind) = match (text.alert, text.record) {
        (Some(_), Some(_)) => return Err("a rule has alert or record, not both".to_owned()),
        (None, None) => return Err("a rule needs alert or record".to_owned()),
        (Some(name), None) => {
            if name.is_empty() {
                return Err("the name of the alert is empty".to_owned());
            }
            let hold = Hold {
                for_ms: span(text.hold, "for")?,
                keep_firing_ms: span(text.keep_firing_for, "keep_firing_for")?,
            };
            let annotations = templates(text.annotations, "annotation")?;
            (name, RuleKind::Alert { hold, annotations })
        }
        (None, Some(name)) => {
            if text.hold.is_some() || text.keep_firing_for.is_some() || !text.annotations.is_empty() {
                return Err("for, keep_firing_for and annotations belong to alerts".to_owned());
            }
            if !is_metric_name(&name) {
                return Err(format!("record: {name:?} is no name of a metric"));
            }
            (name, RuleKind::Record)
        }
    };
    let mut merged = group_labels.clone();
    merged.extend(text.labels);
    if merged.contains_key("alertname") && !matches!(kind, RuleKind::Record) {
        return Err("label alertname is the rule's name and cannot be set".to_owned());
    }
    Ok(Rule {
        name,
        expr,
        labels: templates(merged, "label")?,
        kind,
    })
}

fn templates(texts: BTreeMap<String, String>, what: &str) -> Result<Vec<(String, Template)>, String> {
    let parse = |(name, text): (String, String)| {
        if !is_label_name(&name) || (what == "label" && name == store::METRIC_NAME) {
            return Err(format!("{name:?} is no valid name of a {what}"));
        }
        let template = Template::parse(&text).map_err(|error: TemplateError| format!("{what} {name}: {error}"))?;
        // What is wrong with no facts at all, a field or a kind of value, is wrong with any.
        let tried = template.render(&Facts::default());
        let always = [
            "there is no field",
            "is no text",
            "has no parts",
            "has no length",
            "cannot be compared",
        ];
        match tried.strip_prefix("<error expanding template: ") {
            Some(problem) if always.iter().any(|sign| problem.contains(sign)) => {
                Err(format!("{what} {name}: {}", problem.trim_end_matches('>')))
            }
            _ => Ok((name, template)),
        }
    };
    texts.into_iter().map(parse).collect()
}

fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .enumerate()
            .all(|(i, c)| c.is_ascii_alphabetic() || c == b'_' || (i > 0 && c.is_ascii_digit()))
}

fn is_metric_name(name: &str) -> bool {
    is_label_name(&name.replace(':', "_"))
}
