//! `foreshock admin`: tenants of a running server.

use anyhow::Result;

use super::client::{AccessArguments, Client};

/// Manage tenants of a running server.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the tenants.
    Tenants {
        /// The server's address.
        #[arg(long, default_value = "http://127.0.0.1:9750", value_name = "URL")]
        server: String,
        #[command(flatten)]
        access: AccessArguments,
    },
    /// Delete a tenant with everything that it holds: telemetry, incidents, models, alerts.
    DeleteTenant {
        /// The tenant, for example `demo`.
        tenant: String,
        /// The server's address.
        #[arg(long, default_value = "http://127.0.0.1:9750", value_name = "URL")]
        server: String,
        #[command(flatten)]
        access: AccessArguments,
    },
}

#[expect(clippy::print_stdout, reason = "the answer is what was asked for")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Tenants { server, access } => {
            let answer = Client::with(server, "default", access)?.get("/api/v1/tenants", &[])?;
            for tenant in answer["tenants"].as_array().into_iter().flatten() {
                println!("{}", tenant["name"].as_str().or(tenant.as_str()).unwrap_or("?"));
            }
        }
        Command::DeleteTenant { tenant, server, access } => {
            Client::with(server, "default", access)?.delete(&format!("/api/v1/tenants/{tenant}"))?;
            println!("tenant {tenant} is deleted");
        }
    }
    Ok(())
}
