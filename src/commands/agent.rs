//! `foreshock agent`: the hosts that have joined a server.

use std::path::PathBuf;

use anyhow::{Result, bail};
use api::access::{Agents, Joined};
use serde_json::{Value, json};

use super::client::{AccessArguments, Client};
use crate::clock::{now_ms, utc};

/// List a server's agents, and take back the certificates of those that have joined with a join token.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List them: how each is doing, and when its certificate ends.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Take a host's certificate back: it is refused from this moment on, and cannot be made anew.
    Revoke {
        /// The host's name, as the list shows it.
        host: String,
        #[command(flatten)]
        of: Of,
    },
}

/// Whose hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Of {
    /// The address of a running server; it wants a token of the scope admin (read, to list).
    #[arg(long, default_value = "http://127.0.0.1:9750", value_name = "URL")]
    server: String,
    #[command(flatten)]
    access: AccessArguments,
    /// Data directory of a server, running or not, instead of its address; a running one looks every two seconds.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "ca_file"])]
    data: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::List { of } => {
            let rows: Vec<[String; 4]> = match &of.data {
                Some(data) => Agents::open(data)?.list().iter().map(of_file).collect(),
                None => {
                    let answer = Client::with(&of.server, "default", &of.access)?.get("/api/v1/agents", &[])?;
                    answer["agents"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(of_answer)
                        .collect()
                }
            };
            println!("HOST                  CONDITION  LAST SEEN                 CERTIFICATE");
            for [host, condition, seen, certificate] in rows {
                println!("{host:<20}  {condition:<9}  {seen:<24}  {certificate}");
            }
        }
        Command::Revoke { host, of } => {
            let found = match &of.data {
                Some(data) => Agents::open(data)?.revoke(host, None, now_ms())? > 0,
                None => {
                    let client = Client::with(&of.server, "default", &of.access)?;
                    client.post("/api/v1/agents/revoke", &json!({ "host": host }))?;
                    true
                }
            };
            if !found {
                bail!("no host {host:?} has joined; `foreshock agent list` shows those that have");
            }
            println!("the certificate of {host} is revoked");
        }
    }
    Ok(())
}

/// What the file knows: who has joined, and not how they are doing.
fn of_file(agent: &Joined) -> [String; 4] {
    let certificate = match agent.revoked_ms {
        Some(at) => format!("revoked {}", utc(at)),
        None if agent.not_after_ms < now_ms() => format!("ended {}", utc(agent.not_after_ms)),
        None => format!("good until {}", utc(agent.not_after_ms)),
    };
    [agent.host.clone(), "-".to_owned(), "-".to_owned(), certificate]
}

fn of_answer(agent: &Value) -> [String; 4] {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let known = &agent["certificate"];
    let certificate = match (known["revoked"].as_str(), known["not_after"].as_str()) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if agent["condition"] == "ended" => format!("ended {at}"),
        (None, Some(at)) => format!("good until {at}"),
        (None, None) => "none: it comes with a token, or without".to_owned(),
    };
    [
        text(&agent["host"]),
        text(&agent["condition"]),
        text(&agent["last_seen"]),
        certificate,
    ]
}
