//! Which store a command is about: one in a data directory that no server holds, or one behind a running server.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use store::{Clock, Store, StoreError, StoreOptions, Tenants};

use crate::clock::now_ms;
use crate::commands::client::{AccessArguments, Client};

/// Where the samples are.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::commands) struct Place {
    /// Data directory; no server may run on it.
    #[arg(long, value_name = "DIR", default_value_os_t = crate::default_data())]
    data: PathBuf,
    /// A running server's address, instead of a data directory.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    server: Option<String>,
    /// The tenant that is meant.
    #[arg(long, default_value = "default")]
    tenant: String,
    #[command(flatten)]
    access: AccessArguments,
}

/// One tenant's store in a data directory, held until dropped.
#[derive(Debug)]
pub(in crate::commands) struct Opened {
    tenants: Tenants,
    pub(in crate::commands) store: Arc<Store>,
}

impl Place {
    /// The server that is meant, if one is.
    pub(in crate::commands) fn client(&self) -> Result<Option<Client>> {
        let client = |url| Client::with(url, &self.tenant, &self.access);
        self.server.as_deref().map(client).transpose()
    }

    /// Opens the store in the data directory; with `create` it is made where there is none.
    pub(in crate::commands) fn open(&self, create: bool) -> Result<Opened> {
        let options = StoreOptions {
            // What the command does is all that happens.
            background: false,
            clock: Clock::new(now_ms),
            ..StoreOptions::default()
        };
        let tenants = Tenants::open_one(&self.data, &self.tenant, create, options).map_err(|error| {
            let held = matches!(error, StoreError::Locked { .. });
            let error = anyhow::Error::new(error);
            if held {
                error.context(
                    "a server holds the data directory: stop it, or ask it with --server http://127.0.0.1:9750",
                )
            } else {
                error
            }
        })?;
        let store = tenants
            .get(&self.tenant)
            .with_context(|| format!("tenant {:?} did not open", self.tenant))?;
        Ok(Opened { tenants, store })
    }
}

impl Opened {
    /// Closes the store; what was done to it is durable.
    pub(in crate::commands) fn close(self) -> Result<()> {
        self.tenants.close().context("the store did not close cleanly")
    }
}
