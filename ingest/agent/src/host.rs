//! Who this host is: what every batch carries as its resource.

use std::fs;
use std::path::Path;

use crate::clock;
use crate::probe::{Paths, uptime};

/// The host's identity, as resource attributes of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `host.name`: the configured name, else the kernel's node name.
    pub name: String,
    /// `host.id`: a hash of `/etc/machine-id`, which itself should stay on the host (machine-id(5)). Empty without one.
    pub id: String,
    /// The kernel's random id of this boot. Empty without one.
    pub boot_id: String,
    /// Kernel release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// Architecture, such as `x86_64`.
    pub arch: String,
}

impl Host {
    /// Reads the identity of this host; `name` overrides the kernel's.
    #[must_use]
    pub fn read(paths: &Paths, name: Option<&str>) -> Self {
        let kernel = rustix::system::uname();
        let text = |bytes: &std::ffi::CStr| bytes.to_string_lossy().into_owned();
        let root = paths.root.as_deref().unwrap_or(Path::new("/"));
        let machine_id = fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
        Self {
            name: name.map_or_else(|| text(kernel.nodename()), str::to_owned),
            id: hashed(machine_id.trim()),
            boot_id: read_line(&paths.proc.join("sys/kernel/random/boot_id")),
            kernel: text(kernel.release()),
            arch: text(kernel.machine()),
        }
    }

    /// The resource's attributes; those that are not known are left out.
    #[must_use]
    pub fn attributes(&self) -> Vec<(&str, &str)> {
        let mut all = vec![
            ("service.name", "foreshock-agent"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", self.name.as_str()),
            ("host.name", &self.name),
            ("host.id", &self.id),
            ("host.arch", &self.arch),
            ("os.type", "linux"),
            ("os.version", &self.kernel),
            ("foreshock.boot.id", &self.boot_id),
        ];
        all.retain(|(_, value)| !value.is_empty());
        all
    }

    /// A phase for readings and jitter, the same at every start: hosts of a fleet differ in it.
    #[must_use]
    pub(crate) fn seed(&self) -> u64 {
        fnv(fnv(FNV_START, self.id.as_bytes()), self.name.as_bytes())
    }
}

/// When the host booted, nanoseconds since 1970 UTC; 0 when that is not known.
pub(crate) fn booted(paths: &Paths) -> u64 {
    let uptime = fs::read_to_string(paths.proc.join("uptime"))
        .ok()
        .and_then(|text| uptime::parse(&text));
    let Some(uptime) = uptime.filter(|seconds| *seconds >= 0.0) else {
        return 0;
    };
    clock::unix_nanos().saturating_sub((uptime * 1e9) as u64)
}

fn read_line(path: &Path) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// 128 bits that identify the host without giving its machine id away to casual readers: two FNV hashes with a prefix of
/// ours, finished by the mixer of splitmix64. It is no secret-keeping hash; the id has 122 random bits of its own.
fn hashed(machine_id: &str) -> String {
    if machine_id.is_empty() {
        return String::new();
    }
    let half = |salt: &[u8]| {
        let mut mixed = fnv(fnv(FNV_START, salt), machine_id.as_bytes());
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    format!("{:016x}{:016x}", half(b"foreshock host 1"), half(b"foreshock host 2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_id_is_not_sent_as_it_is() {
        let id = hashed("3d1219c7c4c5404aaa1f6d2a48adfda4");
        assert_eq!(id.len(), 32);
        assert!(!id.contains("3d1219c7"));
        assert_eq!(id, hashed("3d1219c7c4c5404aaa1f6d2a48adfda4"));
        assert_ne!(id, hashed("3d1219c7c4c5404aaa1f6d2a48adfda5"));
        assert_eq!(hashed(""), "");
    }

    #[test]
    fn a_given_name_wins_and_unknown_attributes_are_left_out() {
        let host = Host {
            boot_id: String::new(),
            ..Host::read(&Paths::default(), Some("db-1"))
        };
        let attributes = host.attributes();
        assert!(attributes.contains(&("host.name", "db-1")));
        assert!(attributes.iter().all(|(key, _)| *key != "foreshock.boot.id"));
        assert!(booted(&Paths::default()) > 0);
    }
}
