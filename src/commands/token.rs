//! `foreshock token`: who may use a server.

use std::path::PathBuf;

use anyhow::{Result, bail};
use api::access::{NewToken, Scope, Tokens};

use crate::clock::{now_ms, utc};

/// Make, list and take away the tokens of the server whose data directory is given.
///
/// The server need not be told: it looks every two seconds. As soon as there is a token, every request needs one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it; it is never shown again.
    Create {
        /// What it is for, in words.
        name: String,
        /// What it allows: `read` queries and shows, `write` sends telemetry, `admin` does all of it and changes things.
        #[arg(long)]
        scope: Scope,
        /// The only tenant that it is good for.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// The only host whose telemetry it may send; needs `--scope write`.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
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
            data,
        } => {
            let new = NewToken {
                name,
                scope: *scope,
                tenant: tenant.as_deref(),
                host: host.as_deref(),
            };
            println!("{}", Tokens::of(data).create(&new, now_ms())?);
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
                    token.name
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
