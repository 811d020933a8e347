//! When certificates in files end: the most foreseeable failure there is, and one that people still meet.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ureq::tls::{PemItem, parse_pem};

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

/// The end of a certificate's validity (RFC 5280, section 4.1), seconds since 1970 UTC.
fn not_after(der: &[u8]) -> Option<i64> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut body, _) = element(certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        (_, body) = element(body, VERSION)?;
    }
    // Serial number, signature's algorithm, issuer.
    for tag in [0x02, SEQUENCE, SEQUENCE] {
        (_, body) = element(body, tag)?;
    }
    let (validity, _) = element(body, SEQUENCE)?;
    let (_, _, rest) = any(validity)?;
    let (tag, time, _) = any(rest)?;
    seconds(tag, time)
}

/// The content of the element that `der` begins with, if it has this tag, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the element that `der` begins with, and what comes after it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if !(1..=4).contains(&digits) || rest.len() < digits {
            return None;
        }
        length = rest[..digits]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = &rest[digits..];
    }
    (length <= rest.len()).then(|| (tag, &rest[..length], &rest[length..]))
}

/// `YYMMDDHHMMSSZ` (1950 to 2049) and `YYYYMMDDHHMMSSZ`, the two ways that X.509 writes a time.
fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let digits = time.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (tag, digits.len()) {
        (0x17, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (0x18, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, in years that begin in March so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let in_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::proptest;
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

    #[test]
    fn times_are_read_as_x509_writes_them() {
        let check = |tag: u8, text: &str, expected: Option<i64>| {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
        };
        check(0x17, "700101000000Z", Some(0));
        check(0x17, "491231235959Z", Some(2_524_607_999));
        check(0x17, "500101000000Z", Some(-631_152_000));
        check(0x18, "20240229120000Z", Some(1_709_208_000));
        check(0x18, "99991231235959Z", Some(253_402_300_799));
        check(0x17, "20240229120000Z", None);
        check(0x18, "20241329120000Z", None);
        check(0x17, "7001010000Z", None);
        check(0x17, "700101000000", None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble(mut der in proptest::collection::vec(0u8.., 0..200), real: bool, at: usize, byte: u8) {
            if real {
                static REAL: OnceLock<Vec<u8>> = OnceLock::new();
                der = REAL.get_or_init(|| certificate(2040).der().to_vec()).clone();
                let at = at % der.len();
                der[at] = byte;
            }
            not_after(&der);
        }
    }
}
