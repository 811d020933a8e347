//! The little of X.509 that both ends look at: who a certificate is for, by which number and how long (RFC 5280), and what a
//! host asks for that wants one (RFC 2986).
//!
//! Nothing here decides whether a certificate is to be believed: chains are verified where TLS is spoken. A request is read
//! as far as its signature can be checked by whoever has the cryptography for it.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The explicit tag 0, which a certificate's version stands under.
const VERSION: u8 = 0xa0;

/// The attribute type commonName, 2.5.4.3 (X.520).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// `AlgorithmIdentifier` of a key on the curve P-256: id-ecPublicKey with prime256v1 (RFC 5480, 2.1.1).
const P256_KEY: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// `AlgorithmIdentifier` of ecdsa-with-SHA256 (RFC 5758, 3.2).
const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// What is read of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The serial number, big-endian, as it is encoded.
    pub serial: &'a [u8],
    /// The subject's common name; `None` where it has none that is text.
    pub common_name: Option<&'a str>,
    /// Good from then on, seconds since 1970 UTC.
    pub not_before: i64,
    /// Good until then, seconds since 1970 UTC.
    pub not_after: i64,
    /// The public key on P-256, an uncompressed point; `None` where it is of another kind.
    pub public_key: Option<&'a [u8]>,
}

/// A request for a certificate, its signature not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The subject's common name.
    pub common_name: Option<&'a str>,
    /// The public key on P-256, an uncompressed point as ring wants it.
    pub public_key: &'a [u8],
    /// What was signed.
    pub signed: &'a [u8],
    /// The signature: ECDSA over SHA-256, in DER.
    pub signature: &'a [u8],
}

/// Reads a certificate in DER; `None` where it is none.
#[must_use]
pub fn certificate(der: &[u8]) -> Option<Certificate<'_>> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut body, _) = element(certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        (_, body) = element(body, VERSION)?;
    }
    let (serial, body) = element(body, INTEGER)?;
    // The signature's algorithm and the issuer.
    let (_, body) = element(body, SEQUENCE)?;
    let (_, body) = element(body, SEQUENCE)?;
    let (validity, body) = element(body, SEQUENCE)?;
    let (tag, from, rest) = any(validity)?;
    let not_before = seconds(tag, from)?;
    let (tag, to, _) = any(rest)?;
    let not_after = seconds(tag, to)?;
    let (subject, body) = element(body, SEQUENCE)?;
    let (key, _) = element(body, SEQUENCE)?;
    Some(Certificate {
        serial,
        common_name: common_name(subject),
        not_before,
        not_after,
        public_key: p256(key),
    })
}

/// Reads a request in DER; `None` where it is none, or where its key is of another kind than ECDSA on P-256.
#[must_use]
pub fn request(der: &[u8]) -> Option<Request<'_>> {
    let (request, after) = element(der, SEQUENCE)?;
    if !after.is_empty() {
        return None;
    }
    let (info, rest) = element(request, SEQUENCE)?;
    let signed = &request[..request.len() - rest.len()];
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    if algorithm != ECDSA_SHA256 {
        return None;
    }
    let (signature, _) = element(rest, BIT_STRING)?;
    let (_version, info) = element(info, INTEGER)?;
    let (subject, info) = element(info, SEQUENCE)?;
    let (key, _attributes) = element(info, SEQUENCE)?;
    Some(Request {
        common_name: common_name(subject),
        public_key: p256(key)?,
        signed,
        signature: whole_bytes(signature)?,
    })
}

/// The point of a `SubjectPublicKeyInfo` on P-256.
fn p256(key: &[u8]) -> Option<&[u8]> {
    let (algorithm, key) = element(key, SEQUENCE)?;
    if algorithm != P256_KEY {
        return None;
    }
    whole_bytes(element(key, BIT_STRING)?.0)
}

/// The bytes of a bit string that has no bits left over.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    let (unused, bytes) = bits.split_first()?;
    (*unused == 0).then_some(bytes)
}

/// The first common name of a `Name`: a sequence of sets of type and value.
fn common_name(mut name: &[u8]) -> Option<&str> {
    while !name.is_empty() {
        let (mut set, rest) = element(name, SET)?;
        name = rest;
        while !set.is_empty() {
            let (pair, rest) = element(set, SEQUENCE)?;
            set = rest;
            let (kind, value) = element(pair, OBJECT)?;
            if kind != COMMON_NAME {
                continue;
            }
            let (tag, text, _) = any(value)?;
            return matches!(tag, UTF8 | PRINTABLE)
                .then(|| str::from_utf8(text).ok())
                .flatten();
        }
    }
    None
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
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
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
mod tests;
