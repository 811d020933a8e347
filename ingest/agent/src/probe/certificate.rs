//! When certificates in files end: the most foreseeable failure there is, and one that people still meet.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ureq::tls::{PemItem, parse_pem};
use wire::x509;

use super::{Cadence, Probe, ProbeError, Support};
use crate::catalogue as metric;
use crate::reading::Readings;

/// Files of one agent that are read.
const FILES_MAX: usize = 256;

/// Bytes of one file; a chain of certificates has a few KiB, all authorities of the web together 250.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a folder's files that hold certificates are called.
const ENDINGS: [&str; 4] = ["pem", "crt", "cer", "cert"];

/// Reads files of certificates, and the files of folders.
#[derive(Debug)]
pub struct Certificates {
    paths: Vec<PathBuf>,
}

impl Certificates {
    /// A probe of these files and folders.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        Self { paths: paths.to_vec() }
    }
}

impl Probe for Certificates {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn is_supported(&mut self) -> Support {
        if self.paths.is_empty() {
            Support::No("no file of certificates is given (--certificate)".to_owned())
        } else {
            Support::Yes
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn sample(&mut self, _deadline: Instant, out: &mut Readings<'_>) -> Result<(), ProbeError> {
        out.metric(&metric::CERTIFICATE_NOT_AFTER);
        let mut failed = None;
        let mut files = Vec::new();
        for path in &self.paths {
            if let Err(error) = list(path, &mut files) {
                failed = failed.or(Some(error));
            }
        }
        files.truncate(FILES_MAX);
        for (file, is_named) in &files {
            match ends(file) {
                Ok(Some(seconds)) => out.point(&[("certificate.file", &file.to_string_lossy())], seconds as f64),
                // A folder may hold keys and requests as well.
                Ok(None) if !is_named => {}
                Ok(None) => {
                    failed = failed.or(Some(ProbeError::Missing {
                        path: file.clone(),
                        what: "certificate that can be read",
                    }));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Adds a file, or a folder's files in the order of their names, with whether it was named itself.
fn list(path: &Path, files: &mut Vec<(PathBuf, bool)>) -> Result<(), ProbeError> {
    let failed = |source| ProbeError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push((path.to_owned(), true));
        return Ok(());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) && file.is_file() {
            found.push((file, false));
        }
    }
    found.sort();
    files.append(&mut found);
    Ok(())
}

/// When the first of a file's certificates ends, seconds since 1970 UTC; `None` where it holds none that can be read.
fn ends(path: &Path) -> Result<Option<i64>, ProbeError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .and_then(|read| {
            if read as u64 > FILE_BYTES_MAX {
                return Err(io::Error::other("the file is larger than certificates are"));
            }
            Ok(())
        })
        .map_err(|source| ProbeError::Read {
            path: path.to_owned(),
            source,
        })?;
    let in_pem = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => not_after(certificate.der()),
        _ => None,
    });
    Ok(in_pem.min().or_else(|| not_after(&bytes)))
}

fn not_after(der: &[u8]) -> Option<i64> {
    x509::certificate(der).map(|certificate| certificate.not_after)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::reading::TextSink;

    fn certificate(year: i32) -> rcgen::Certificate {
        let mut params = CertificateParams::new(["h".to_owned()]).expect("params");
        params.not_before = date_time_ymd(2000, 2, 29);
        params.not_after = date_time_ymd(year, 3, 1);
        params
            .self_signed(&KeyPair::generate().expect("key"))
            .expect("certificate")
    }

    fn sample(paths: &[PathBuf]) -> (String, Option<String>) {
        let mut sink = TextSink::default();
        let mut probe = Certificates::new(paths);
        let done = probe.sample(Instant::now(), &mut Readings::new(&mut sink, 2, 1));
        (sink.text().to_owned(), done.err().map(|error| error.to_string()))
    }

    #[test]
    fn the_first_end_of_a_chain_counts_in_pem_and_in_der() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        let (early, late) = (certificate(2027), certificate(2060));
        fs::write(at("chain.pem"), late.pem() + &early.pem()).expect("write");
        fs::write(at("late.crt"), late.der()).expect("write");
        fs::write(at("server.key"), "secret").expect("write");
        fs::write(at("key.pem"), KeyPair::generate().expect("key").serialize_pem()).expect("write");
        let (text, error) = sample(&[dir.path().to_owned()]);
        // 2027-03-01 and 2060-03-01, 00:00 UTC, by `date -u -d DAY +%s`.
        let expected = format!(
            "system.linux.certificate.not_after{{certificate.file={}}} 1803859200 s\n\
             system.linux.certificate.not_after{{certificate.file={}}} 2845324800 s\n",
            at("chain.pem").display(),
            at("late.crt").display()
        );
        assert_eq!((text, error), (expected, None));
    }

    #[test]
    fn what_is_named_and_holds_none_is_an_error_and_the_others_are_read_all_the_same() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good.pem"), certificate(2030).pem()).expect("write");
        fs::write(at("none.pem"), "none").expect("write");
        let (text, error) = sample(&[at("absent.pem"), at("good.pem")]);
        assert!(text.contains("good.pem"), "{text}");
        assert!(error.is_some_and(|error| error.contains("absent.pem")));
        let (text, error) = sample(&[at("none.pem"), at("good.pem")]);
        assert!(text.contains("good.pem"), "{text}");
        assert!(error.is_some_and(|error| error.contains("none.pem has no certificate")));
        assert!(matches!(Certificates::new(&[]).is_supported(), Support::No(_)));
    }
}
