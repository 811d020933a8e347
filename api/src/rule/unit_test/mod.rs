//! Unit tests of rules, in the format of `promtool test rules`: series go in, alerts and values of expressions are compared.
//!
//! ```text
//! test file ─► rule files, series in notation ─► the rules' own evaluation at 0, 1m, 2m … ─► alerts firing, values ─► differences
//! ```
//! Only the series are made up: rules run through the code that evaluates them in the server.

mod compare;
mod file;
pub(super) mod notation;
mod paths;
mod run;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::file::{Group, LoadError, load_file};
use file::TestFile;

/// A file of tests that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum UnitTestError {
    /// It, or a folder that it names, cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML of the form that rule tests have.
    #[error("{path} is no file of rule tests")]
    Yaml {
        /// The path.
        path: PathBuf,
        /// What the parser says, with line and column.
        source: serde_yaml_ng::Error,
    },
    /// A rule file that it names cannot be used.
    #[error(transparent)]
    Rules(#[from] LoadError),
    /// A group stands twice in `group_eval_order`.
    #[error("group_eval_order names {group:?} twice")]
    Order {
        /// The group.
        group: String,
    },
    /// A test is wrong in itself.
    #[error("{test}: {problem}")]
    Test {
        /// Its name or number.
        test: String,
        /// What is wrong.
        problem: String,
    },
}

impl UnitTestError {
    /// What its reader can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("check the path and that foreshock may read it"),
            Self::Yaml { .. } => Some(
                "rule tests have the form of promtool's: rule_files, evaluation_interval, and tests with input_series",
            ),
            Self::Rules(error) => error.hint(),
            Self::Order { .. } | Self::Test { .. } => None,
        }
    }
}

/// How the tests of a file went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitTestReport {
    /// Tests in the file.
    pub tests: usize,
    /// Expectations in them: moments at which an alert or an expression was looked at.
    pub checks: usize,
    /// What was not as expected, each in a few lines.
    pub failures: Vec<String>,
    /// What is probably a mistake: patterns that name no file.
    pub warnings: Vec<String>,
}

/// Runs the tests of a file.
///
/// # Errors
/// [`UnitTestError`] when there is nothing to compare, because the file, its rules or its series cannot be read. What is not as
/// expected is no error: it stands in the report.
pub fn test_file(path: &Path) -> Result<UnitTestReport, UnitTestError> {
    let text = std::fs::read_to_string(path).map_err(|source| UnitTestError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed: Option<TestFile> = serde_yaml_ng::from_str(&text).map_err(|source| UnitTestError::Yaml {
        path: path.to_owned(),
        source,
    })?;
    let mut report = UnitTestReport::default();
    let Some(file) = parsed else {
        return Ok(report);
    };
    let groups = groups_of(&file, path.parent().unwrap_or(Path::new("")), &mut report)?;
    for (number, test) in file.tests.iter().enumerate() {
        let name = match test.name.as_str() {
            "" => format!("test {}", number + 1),
            name => format!("test {name:?}"),
        };
        report.tests += 1;
        report.checks += test.alert_rule_test.len() + test.promql_expr_test.len();
        let failures = run::run(&file, test, &groups).map_err(|problem| UnitTestError::Test {
            test: name.clone(),
            problem,
        })?;
        report
            .failures
            .extend(failures.into_iter().map(|failure| format!("{name}, {failure}")));
    }
    Ok(report)
}

/// The groups of all rule files, in the order in which they are evaluated: those of `group_eval_order` in its order, and as in
/// Prometheus those that it leaves out beside its first.
fn groups_of(file: &TestFile, directory: &Path, report: &mut UnitTestReport) -> Result<Vec<Group>, UnitTestError> {
    let mut seen = HashSet::new();
    for group in &file.group_eval_order {
        if !seen.insert(group) {
            return Err(UnitTestError::Order { group: group.clone() });
        }
    }
    let mut groups = Vec::new();
    for pattern in &file.rule_files {
        let found = paths::matching(directory, pattern).map_err(|source| UnitTestError::Read {
            path: directory.to_owned(),
            source,
        })?;
        if found.is_empty() {
            report.warnings.push(format!("rule_files: {pattern:?} names no file"));
        }
        for path in found {
            groups.extend(load_file(&path)?);
        }
    }
    groups.sort_by_key(|group: &Group| {
        file.group_eval_order
            .iter()
            .position(|name| *name == group.name)
            .unwrap_or(0)
    });
    Ok(groups)
}
