//! `foreshock token`: who may use a server.

use std::path::PathBuf;

use anyhow::{Result, bail};
use api::access::{JoinTerms, NewToken, Scope, Token, Tokens};

use crate::clock::{now_ms, utc};

/// Make, list and take away the tokens of the server whose data directory is given.
///
/// The server need not be told: a new token is good at once, one that is revoked for two seconds more. As soon as there is a token,
/// every request needs one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it; it is never shown again.
    Create {
        /// What it is for, in words.
        #[arg(default_value = "made on the command line")]
        name: String,
        /// What it allows: `read` queries and shows, `write` sends telemetry, `admin` does all of it and changes things, `join`
        /// gets certificates for hosts that are new.
        #[arg(long)]
        scope: Scope,
        /// The only tenant that it is good for.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// The only host whose telemetry it may send, or that may join with it; needs `--scope write` or `--scope join`.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// How long hosts may join with it, such as 30m, 1h, 7d; an hour unless told.
        #[arg(long, value_name = "TIME", value_parser = ttl_ms)]
        ttl: Option<i64>,
        /// How many hosts may join with it; one unless told.
        #[arg(long, value_name = "HOSTS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: Option<u32>,
        /// Data directory of the server.
        #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
        data: PathBuf,
    },
    /// List them, without what is secret.
    List {
        /// Data directory of the server.
        #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
        data: PathBuf,
    },
    /// Take one away; what uses it is refused within seconds.
    Revoke {
        /// The eight digits after `fs_`, as the list shows them.
        id: String,
        /// Data directory of the server.
        #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
        data: PathBuf,
    },
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Create {
            name,
            scope,
            tenant,
            host,
            ttl,
            uses,
            data,
        } => {
            let is_join = *scope == Scope::Join;
            if !is_join && (ttl.is_some() || uses.is_some()) {
                bail!("--ttl and --uses are for --scope join; other tokens are good until they are revoked");
            }
            let now_ms = now_ms();
            let new = NewToken {
                name,
                scope: *scope,
                tenant: tenant.as_deref(),
                host: host.as_deref(),
                join: is_join.then(|| JoinTerms {
                    uses_left: uses.unwrap_or(1),
                    until_ms: now_ms.saturating_add(ttl.unwrap_or(HOUR_MS)),
                }),
            };
            println!("{}", Tokens::of(data).create(&new, now_ms)?);
        }
        Command::List { data } => {
            let tokens = Tokens::of(data);
            let Some(list) = tokens.list()? else {
                bail!(
                    "there is no {}: the server asks nobody for a token",
                    tokens.path().display()
                );
            };
            println!("ID        SCOPE  TENANT    HOST      CREATED                  NAME");
            for token in list {
                println!(
                    "{:<8}  {:<5}  {:<8}  {:<8}  {:<23}  {}",
                    token.id,
                    token.scope,
                    token.tenant.as_deref().unwrap_or("any"),
                    token.host.as_deref().unwrap_or("any"),
                    utc(token.created_ms),
                    named(&token)
                );
            }
        }
        Command::Revoke { id, data } => {
            if !Tokens::of(data).revoke(id)? {
                bail!("there is no token {id:?}; `foreshock token list` shows those that there are");
            }
            println!("token {id} is revoked");
        }
    }
    Ok(())
}

const HOUR_MS: i64 = 3_600_000;

/// A join token that lasts for longer than this is one that somebody forgets.
const TTL_MAX_MS: i64 = 366 * 24 * HOUR_MS;

/// Reads `30m`, `1h`, `7d`.
fn ttl_ms(text: &str) -> Result<i64, String> {
    let refused = || format!("{text:?} is no time from 1m to 366d: write 30m, 1h or 7d");
    let (number, unit_ms) = [("m", 60_000), ("h", HOUR_MS), ("d", 24 * HOUR_MS)]
        .into_iter()
        .find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))
        .ok_or_else(refused)?;
    let number: i64 = number.parse().map_err(|_| refused())?;
    let ms = number
        .checked_mul(unit_ms)
        .filter(|ms| (60_000..=TTL_MAX_MS).contains(ms));
    ms.ok_or_else(refused)
}

/// A token's name, with what is left of one that lets hosts join.
fn named(token: &Token) -> String {
    match token.join {
        Some(terms) => format!(
            "{} ({} to join until {})",
            token.name,
            terms.uses_left,
            utc(terms.until_ms)
        ),
        None => token.name.clone(),
    }
}
