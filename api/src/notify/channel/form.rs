//! Bodies of several parts (RFC 7578): a message with a picture beside it.

use ring::digest;

use super::Body;

/// Name, name of the file where it is one, media type, content.
type Part<'a> = (&'a str, Option<&'a str>, &'a str, &'a [u8]);

/// The parts in order. What divides them is their own hash, so that none of them contains it.
pub(super) fn form(parts: &[Part<'_>]) -> Body {
    let mut hash = digest::Context::new(&digest::SHA256);
    for (name, _, _, content) in parts {
        hash.update(name.as_bytes());
        hash.update(content);
    }
    let hash: String = hash.finish().as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let boundary = format!("foreshock-{hash}");
    let mut bytes = Vec::new();
    for (name, file, kind, content) in parts {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\nContent-Type: {kind}\r\n\r\n"
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Body::Form { boundary, bytes }
}
