//! Whether this host can be watched and the server be reached: exit codes as Nagios plugins have them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::probe::Support;
use crate::probe::scrape::{self, ScrapeError, ScrapeTarget};
use crate::retry::Verdict;
use crate::transport::Client;
use crate::{Agent, AgentError, Config};

/// Probes without which the agent is of little use; the others depend on hardware and configuration.
const NEEDED: [&str; 5] = ["cpu", "memory", "load", "filesystem", "uptime"];

/// Probes whose absence costs warnings, though not all of them.
const WANTED: [&str; 3] = ["pressure", "vmstat", "disk"];

/// Result of a check, in the order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All well.
    Ok,
    /// Some readings are missing.
    Warning,
    /// Nothing useful will arrive.
    Critical,
}

impl Status {
    /// Exit code of a Nagios plugin; 3, unknown, is what a check that could not run ends with.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The gravest finding.
    pub status: Status,
    /// A first line that sums up, then a line for each finding.
    pub text: String,
}

/// Longest line that node-problem-detector takes of a plugin (`max_output_length`).
const NODE_PROBLEM_BYTES_MAX: usize = 80;

impl Report {
    /// The same as a custom plugin of Kubernetes' node-problem-detector says it: 0 for well, 1 for a problem (2, unknown, is for a
    /// check that could not run), and one line of at most 80 bytes.
    #[must_use]
    pub fn node_problem(&self) -> (u8, String) {
        let code = u8::from(self.status != Status::Ok);
        let named = |line: &&str| line.starts_with("critical") || line.starts_with("warning");
        let worst = self
            .text
            .lines()
            .filter(named)
            .min_by_key(|line| !line.starts_with("critical"));
        let line = match worst {
            Some(worst) => worst.split_whitespace().skip(1).collect::<Vec<_>>().join(" "),
            None => "the agent can read this host".to_owned(),
        };
        let end = line.floor_char_boundary(NODE_PROBLEM_BYTES_MAX);
        (code, line[..end].to_owned())
    }
}

/// Checks this host and, when the configuration names one, the server.
///
/// # Errors
/// As [`Agent::new`].
pub fn check(config: Config) -> Result<Report, AgentError> {
    let server = config.server.clone();
    let agent = Agent::new(config)?;
    let mut support = agent.probes(&agent.expected(false), false).support();
    // Of a target it is not asked whether there is one, but what it shows.
    support.retain(|(name, _)| !name.starts_with(scrape::PROBE_PREFIX));
    let scraped = scrape::attempts(
        &agent.config.scrape,
        &agent.config.scrape_access,
        &agent.host,
        agent.answer_timeout(),
    );
    let answer = match server {
        Some(server) => {
            let client = Client::new(&server, agent.host(), Duration::from_secs(10))?.looking();
            Some(reach(&client))
        }
        None => None,
    };
    Ok(report(&agent.host().name, &support, &scraped, answer))
}

/// Posts an empty request, which any OTLP receiver accepts and nothing comes of; it proves address, path and token.
fn reach(client: &Client) -> Result<String, String> {
    let Ok(empty) = zstd::bulk::compress(&[], 1) else {
        return Err("cannot compress".to_owned());
    };
    let outcome = client.send(&empty);
    match outcome.verdict {
        Verdict::Accepted => Ok(client.shown().to_owned()),
        _ => Err(format!("{}: {}", client.shown(), outcome.problem.unwrap_or_default())),
    }
}

fn report(
    host: &str,
    support: &[(String, Support)],
    scraped: &[(ScrapeTarget, Result<usize, ScrapeError>)],
    answer: Option<Result<String, String>>,
) -> Report {
    let mut status = Status::Ok;
    let mut lines = String::new();
    let mut found = 0;
    for (name, support) in support {
        let line = match support {
            Support::Yes => {
                found += 1;
                format!("ok        {name}")
            }
            Support::No(why) if NEEDED.contains(&name.as_str()) => {
                status = status.max(Status::Critical);
                format!("critical  {name}: {why}")
            }
            Support::No(why) if WANTED.contains(&name.as_str()) => {
                status = status.max(Status::Warning);
                format!("warning   {name}: {why}")
            }
            Support::No(why) => format!("absent    {name}: {why}"),
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    for (target, shown) in scraped {
        let line = match shown {
            Ok(samples) => format!("ok        {target}: {samples} samples\n"),
            Err(error) => {
                status = status.max(Status::Warning);
                format!("warning   {target}: {}\n", crate::chain(error))
            }
        };
        lines.push_str(&line);
    }
    let server = match answer {
        None => "no server given",
        Some(Ok(url)) => {
            // Writing to a string cannot fail.
            writeln!(lines, "ok        server: {url}").unwrap_or_default();
            "server reachable"
        }
        Some(Err(why)) => {
            status = Status::Critical;
            writeln!(lines, "critical  server: {why}").unwrap_or_default();
            "server NOT reachable"
        }
    };
    let word = match status {
        Status::Ok => "OK",
        Status::Warning => "WARNING",
        Status::Critical => "CRITICAL",
    };
    let first = format!(
        "FORESHOCK-AGENT {word} - {host}: {found} of {} probes, {server}",
        support.len()
    );
    Report {
        status,
        text: format!("{first}\n{lines}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(missing: &[&'static str], answer: Option<Result<String, String>>) -> Report {
        let all = [
            "cpu",
            "memory",
            "load",
            "filesystem",
            "uptime",
            "pressure",
            "vmstat",
            "disk",
            "gpu",
        ];
        let support: Vec<_> = all
            .iter()
            .map(|name| {
                let absent = missing.contains(name);
                (
                    (*name).to_owned(),
                    if absent {
                        Support::No("absent".to_owned())
                    } else {
                        Support::Yes
                    },
                )
            })
            .collect();
        report("db-1", &support, &[], answer)
    }

    #[test]
    fn node_problem_detector_gets_one_short_line_with_what_is_gravest() {
        let check = |missing: &[&'static str], answer, code: u8, line: &str| {
            assert_eq!(
                of(missing, answer).node_problem(),
                (code, line.to_owned()),
                "{missing:?}"
            );
        };
        check(&[], None, 0, "the agent can read this host");
        check(&["gpu"], None, 0, "the agent can read this host");
        check(&["pressure"], None, 1, "pressure: absent");
        check(&["pressure", "uptime"], None, 1, "uptime: absent");
        let long = of(
            &[],
            Some(Err("http://h/v1/metrics: ".to_owned() + &"\u{e9}".repeat(80))),
        )
        .node_problem();
        assert!(
            long.0 == 1 && long.1.len() <= 80 && long.1.starts_with("server: http://h"),
            "{long:?}"
        );
    }

    #[test]
    fn a_target_that_shows_nothing_is_a_warning() {
        let target: ScrapeTarget = "node=http://localhost:9100/metrics".parse().expect("a target");
        let support = [("cpu".to_owned(), Support::Yes)];
        let with = |shown| report("db-1", &support, &[(target.clone(), shown)], None);
        let well = with(Ok(1033));
        assert!(
            well.text
                .ends_with("ok        node=http://localhost:9100/metrics: 1033 samples\n"),
            "{}",
            well.text
        );
        let away = with(Err(ScrapeError::Status { status: 404 }));
        assert_eq!((well.status, away.status), (Status::Ok, Status::Warning));
        assert!(
            away.text
                .contains("warning   node=http://localhost:9100/metrics: it answered with HTTP status 404\n")
        );
    }

    #[test]
    fn the_gravest_finding_is_the_exit_code_and_the_first_line_sums_up() {
        let check =
            |missing: &[&'static str], code: u8| assert_eq!(of(missing, None).status.exit_code(), code, "{missing:?}");
        check(&[], 0);
        check(&["gpu"], 0);
        check(&["gpu", "pressure"], 1);
        check(&["pressure", "cpu"], 2);
        let away = of(&[], Some(Err("http://h/v1/metrics: refused".to_owned())));
        assert_eq!(away.status, Status::Critical);
        assert!(
            away.text
                .starts_with("FORESHOCK-AGENT CRITICAL - db-1: 9 of 9 probes, server NOT reachable\n"),
            "{}",
            away.text
        );
        assert!(away.text.contains("critical  server: http://h/v1/metrics: refused\n"));
    }
}
