//! From jobs to targets: static ones, those of files, relabelled.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::TARGETS_MAX;
use super::config::{Authorization, BasicAuth, Group, Job, ScrapeConfig};
use super::relabel::{self, Pairs, Rule, set};

/// A file of targets may have so many bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a target is.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) job: String,
    pub(super) url: String,
    /// The labels of its series.
    pub(super) labels: Pairs,
    /// What it was before the rules.
    pub(super) discovered: Pairs,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: bool,
    pub(super) sample_limit: usize,
    pub(super) metric_relabel: Vec<Rule>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
}

/// All targets, by job, URL and labels.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) targets: BTreeMap<String, Made>,
    /// How many the rules dropped, by job.
    pub(super) dropped: BTreeMap<String, u64>,
}

/// What the files said last, for when one of them cannot be read; `None` of one that is not there.
#[derive(Debug, Default)]
pub(super) struct Discovered {
    files: BTreeMap<PathBuf, Option<Vec<Group>>>,
}

impl Discovered {
    pub(super) fn look(&mut self, config: &ScrapeConfig) -> Found {
        let mut found = Found::default();
        let mut left_out = 0_usize;
        for job in &config.jobs {
            let from_files = self.groups_of_files(job);
            let groups = job.text.static_configs.iter().map(|group| (None, group.clone()));
            for (file, group) in groups.chain(from_files.into_iter().map(|(file, group)| (Some(file), group))) {
                for address in &group.targets {
                    match target(job, file.as_deref(), &group, address) {
                        None => *found.dropped.entry(job.text.job_name.clone()).or_default() += 1,
                        Some(_) if found.targets.len() >= TARGETS_MAX => left_out += 1,
                        Some(made) => {
                            let key = format!("{}\n{}\n{:?}", made.job, made.url, made.labels);
                            found.targets.insert(key, made);
                        }
                    }
                }
            }
        }
        if left_out > 0 {
            tracing::error!(left_out, max = TARGETS_MAX, "too many targets: these are not scraped");
        }
        found
    }

    fn groups_of_files(&mut self, job: &Job) -> Vec<(PathBuf, Group)> {
        let mut groups = Vec::new();
        for pattern in job.text.file_sd_configs.iter().flat_map(|sd| &sd.files) {
            for path in matching(pattern) {
                match read(&path) {
                    Ok(Some(read)) => {
                        self.files.insert(path.clone(), Some(read));
                    }
                    // It takes its targets along, whether a pattern names it or it is named itself.
                    Ok(None) => {
                        if !matches!(self.files.insert(path.clone(), None), Some(None)) {
                            tracing::warn!(path = %path.display(), "a file of targets is not there; it names none");
                        }
                    }
                    // A file that is being written must not take its targets away.
                    Err(why) => {
                        tracing::warn!(path = %path.display(), why, "a file of targets cannot be read; its last content counts");
                    }
                }
                let known = self.files.get(&path).into_iter().flatten().flatten();
                groups.extend(known.map(|group| (path.clone(), group.clone())));
            }
        }
        groups
    }
}

/// The files that `pattern` names; a `*` is understood in the last part.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else {
        return vec![path.to_owned()];
    };
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            })
        })
        .collect();
    files.sort();
    files
}

/// The groups of a file; `None` where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<Group>>, String> {
    let text = std::fs::metadata(path).and_then(|about| match about.len() {
        bytes if bytes > FILE_BYTES_MAX => {
            let why = format!("it has {bytes} bytes, more than {FILE_BYTES_MAX}");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
        }
        _ => std::fs::read_to_string(path),
    });
    match text {
        // JSON is YAML as well.
        Ok(text) => serde_yaml_ng::from_str(&text)
            .map(Some)
            .map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The target at `address`; `None` where a rule drops it.
fn target(job: &Job, file: Option<&Path>, group: &Group, address: &str) -> Option<Made> {
    let text = &job.text;
    let mut labels: Pairs = Vec::new();
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    for (name, value) in [
        ("__address__", address.to_owned()),
        ("__metrics_path__", text.metrics_path.clone()),
        ("__scheme__", text.scheme.as_str().to_owned()),
        ("__scrape_interval__", millis(job.interval)),
        ("__scrape_timeout__", millis(job.timeout)),
        ("job", text.job_name.clone()),
    ] {
        set(&mut labels, name, value);
    }
    if let Some(file) = file {
        set(&mut labels, "__meta_filepath", file.display().to_string());
    }
    for (name, values) in &text.params {
        if let Some(first) = values.first() {
            set(&mut labels, &format!("__param_{name}"), first.clone());
        }
    }
    for (name, value) in &group.labels {
        set(&mut labels, name, value.clone());
    }
    let discovered = labels.clone();
    if !relabel::apply(&job.relabel, &mut labels) {
        return None;
    }
    let get = |name: &str| labels.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let address = get("__address__")?.to_owned();
    let mut url = format!(
        "{}://{address}{}",
        get("__scheme__").unwrap_or("http"),
        get("__metrics_path__").unwrap_or("/metrics")
    );
    let mut separator = '?';
    // Rules may have changed the first value of a parameter, or made a new one.
    let made = labels.iter().filter_map(|(name, _)| name.strip_prefix("__param_"));
    let names: BTreeSet<&str> = text.params.keys().map(String::as_str).chain(made).collect();
    for name in names {
        let first = get(&format!("__param_{name}")).into_iter();
        let others = text.params.get(name).into_iter().flatten().skip(1);
        for value in first.chain(others.map(String::as_str)) {
            url.push(separator);
            url += &format!("{}={}", encoded(name), encoded(value));
            separator = '&';
        }
    }
    labels.retain(|(name, _)| !name.starts_with("__"));
    if !labels.iter().any(|(name, _)| name == "instance") {
        labels.push(("instance".to_owned(), address));
    }
    labels.sort();
    Some(Made {
        job: text.job_name.clone(),
        url,
        labels,
        discovered,
        interval: job.interval,
        timeout: job.timeout,
        honor_labels: text.honor_labels,
        honor_timestamps: text.honor_timestamps,
        sample_limit: text.sample_limit,
        metric_relabel: job.metric_relabel.clone(),
        basic_auth: text.basic_auth.clone(),
        authorization: text.authorization.clone(),
    })
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}
