//! Who is let in, and over what: tokens and certificates of the server's ports, taken anew while it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::access::{Access, Tokens};
use api::tls::{AgentAuthority, Tls};
use reqwest::Url;
use tokio::sync::watch;

use crate::clock::now_ms;
use crate::config::Config;

/// How often tokens and certificates are looked at.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Whether the ports that other machines can reach are closed to strangers, and whether what is said of TLS goes together.
pub(crate) fn check(config: &Config) -> Result<()> {
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        bail!("tls_cert and tls_key go together: give both, or tls_self_signed = true");
    }
    if config.tls_cert.is_some() && config.tls_self_signed {
        bail!("tls_cert and tls_self_signed exclude each other");
    }
    if !config.tls_names.is_empty() && !config.tls_self_signed {
        bail!("tls_names are names of a certificate that the server makes: they need tls_self_signed = true");
    }
    let outside = config.addresses().find(|address| !address.ip().is_loopback());
    if let Some(address) = outside
        && !config.insecure
        && Tokens::of(&config.data).list()?.is_none()
    {
        bail!(
            "{address} can be reached from other machines and nobody would be asked for a token; make one with \
             `foreshock token create NAME --scope write --data {}`, listen on loopback, or say --insecure",
            config.data.display()
        );
    }
    Ok(())
}

/// What the ports speak TLS with, if they do, and what signs the certificates of agents that join.
pub(crate) fn tls(config: &Config) -> Result<(Option<Tls>, Option<Arc<AgentAuthority>>)> {
    let dir = config.data.join("tls");
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => Tls::from_files(certificate, key)?,
        _ if config.tls_self_signed => Tls::own(&dir, &names(config), now_ms())?,
        _ => return Ok((None, None)),
    };
    let authority = AgentAuthority::load_or_make(&dir, now_ms())?;
    Ok((Some(tls.with_agents(&authority)?), Some(Arc::new(authority))))
}

/// Says once, at the start, what of the ports is not closed.
pub(crate) fn warn_of_open_ports(config: &Config, access: &Access, tls: Option<&Tls>) {
    let Some(outside) = config.addresses().find(|address| !address.ip().is_loopback()) else {
        return;
    };
    if !access.is_required() {
        tracing::warn!(address = %outside, "whoever reaches this port may read, write and delete everything (--insecure)");
    }
    if tls.is_none() {
        tracing::warn!(
            address = %outside,
            "telemetry and tokens cross the network in the clear; --tls-self-signed or --tls-cert encrypts them"
        );
    }
}

/// Takes tokens and certificates anew when their files change. What is wrong with them is told once, and what was there before
/// stays in force.
pub(crate) async fn renew(access: Access, tls: Option<Tls>, mut stopping: watch::Receiver<bool>) {
    let mut told = [const { String::new() }; 3];
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        let (access, tls) = (access.clone(), tls.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let tokens = access.renew().map_err(anyhow::Error::from);
            let joined = access.agents().renew().map_err(anyhow::Error::from);
            let certificate = tls.map_or(Ok(false), |tls| tls.renew(now_ms()).map_err(anyhow::Error::from));
            [tokens, joined, certificate]
        });
        let Ok(looked) = looked.await else {
            tracing::error!("looking for new tokens and certificates panicked; those of now stay in force for good");
            return;
        };
        for ((what, told), looked) in ["tokens", "list of hosts that have joined", "certificate"]
            .iter()
            .zip(&mut told)
            .zip(looked)
        {
            let said = match looked {
                Ok(true) => {
                    tracing::info!("the {what} changed: what the file holds now is in force");
                    String::new()
                }
                Ok(false) => String::new(),
                Err(error) => format!("{error:#}"),
            };
            if !said.is_empty() && said != *told {
                tracing::warn!(
                    error = said,
                    "the {what} could not be taken anew; what was there before stays in force"
                );
            }
            *told = said;
        }
    }
}

/// By which names browsers know this server: this host's, those of its certificate, and that of `external_url`.
pub(crate) fn own_names(config: &Config) -> Vec<String> {
    let mut names = config.tls_names.clone();
    names.extend(rustix::system::uname().nodename().to_str().ok().map(str::to_owned));
    let external = config.external_url.as_deref().and_then(|url| url.parse::<Url>().ok());
    names.extend(external.as_ref().and_then(Url::host_str).map(str::to_owned));
    names
}

/// Whom a certificate of the server's own is good for: this host by its name and addresses, and what the configuration adds.
fn names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    if let Ok(name) = rustix::system::uname().nodename().to_str() {
        add(name.to_owned());
    }
    for address in config.addresses() {
        if address.ip().is_unspecified() {
            own_addresses().into_iter().for_each(|own| add(own.to_string()));
        } else {
            add(address.ip().to_string());
        }
    }
    config.tls_names.iter().cloned().for_each(&mut add);
    names
}

/// The addresses of this host's interfaces; none where the kernel does not tell.
fn own_addresses() -> Vec<IpAddr> {
    let read = |path: &str| {
        std::fs::read_to_string(Path::new(path))
            .with_context(|| format!("cannot read {path}"))
            .unwrap_or_else(|error| {
                tracing::warn!("the certificate names no address of that family: {error:#}; --tls-name adds them");
                String::new()
            })
    };
    let v4 = local_v4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::from);
    let v6 = global_v6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::from);
    v4.chain(v6).collect()
}

/// Addresses of `/proc/net/fib_trie` that are this host's own: a leaf, and under it the line `/32 host LOCAL`.
fn local_v4(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Addresses of `/proc/net/if_inet6` whose scope is global: 32 digits, then index, prefix, scope.
fn global_v6(interfaces: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let digits = words.next()?;
        let is_global = words.nth(2)? == "00";
        let bits = u128::from_str_radix(digits, 16).ok()?;
        is_global.then(|| Ipv6Addr::from(bits))
    };
    interfaces.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.1.2.0\n        \
                    /24 link UNICAST\nLocal:\n     |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 10.1.2.255\n        \
                    /32 link BROADCAST\n     |-- 10.1.2.3\n        /32 host LOCAL\n";
        assert_eq!(local_v4(trie), [Ipv4Addr::new(10, 1, 2, 3)]);
        assert_eq!(local_v4("garbage\n/32 host LOCAL"), [] as [Ipv4Addr; 0]);
        let interfaces = "20010db8000000000000000000000001 02 40 00 80     eth0\n\
                          fe800000000000000000000000000001 02 40 20 80     eth0\n\
                          00000000000000000000000000000001 01 80 10 80       lo\nshort 1\n";
        assert_eq!(
            global_v6(interfaces),
            ["2001:db8::1".parse::<Ipv6Addr>().expect("an address")]
        );
    }

    #[test]
    fn browsers_know_the_server_by_the_name_in_its_links() {
        let config = Config {
            external_url: Some("https://foreshock.example:8443/below".to_owned()),
            tls_names: vec!["lb.example".to_owned()],
            ..Config::default()
        };
        let names = own_names(&config);
        assert!(
            ["foreshock.example", "lb.example"]
                .iter()
                .all(|name| names.contains(&(*name).to_owned()))
        );
    }

    #[test]
    fn ports_beyond_loopback_want_tokens_or_the_word() {
        let data = tempfile::tempdir().expect("a directory");
        let mut config = Config {
            data: data.path().to_owned(),
            ..Config::default()
        };
        assert!(check(&config).is_ok(), "loopback is no door");
        let outside = "0.0.0.0:4317".parse().expect("an address");
        config.otlp_grpc = crate::config::Listen::On(outside);
        let refused = check(&config).expect_err("nobody would be asked");
        assert!(refused.to_string().contains("foreshock token create"), "{refused}");
        config.insecure = true;
        assert!(check(&config).is_ok());
        config.insecure = false;
        let new = api::access::NewToken {
            name: "agents",
            scope: api::access::Scope::Write,
            tenant: None,
            host: None,
            join: None,
        };
        Tokens::of(data.path()).create(&new, 1).expect("a token");
        assert!(check(&config).is_ok());
    }
}
