//! As much of D-Bus as it takes to ask systemd: calls with texts as arguments, and the answers' bodies.
//!
//! Written after the D-Bus specification 0.43, "Message Protocol" and "Authentication Protocol" (freedesktop.org). A library for
//! it would be larger than the agent.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;

/// Largest message that is read: a host with ten thousand units has two or three MB of them.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Longest line of the handshake.
const LINE_BYTES_MAX: usize = 1024;

/// Messages other than the answer that are passed over while it is waited for.
const OTHERS_MAX: usize = 256;

/// The fixed part of a message, with the length of its header's fields.
const FIXED_BYTES: usize = 16;

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const ERROR: u8 = 3;

/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Why the bus gave no answer.
#[derive(Debug, Error)]
pub(super) enum BusError {
    #[error("the bus cannot be reached or broke off")]
    Io(#[from] io::Error),
    #[error("the bus does not let this user in")]
    Refused,
    #[error("systemd answered {0}")]
    Said(String),
    #[error("the bus sent what is no message of its protocol")]
    Garbled,
}

/// A method to call, with its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [Argument<'a>],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    Text(&'a str),
    Texts(&'a [&'a str]),
}

/// A connection to the bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
}

impl Bus {
    /// Connects and says who asks; everything has to be over after `patience`.
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self, BusError> {
        let mut bus = Self {
            stream: UnixStream::connect(socket)?,
            deadline: Instant::now() + patience,
            serial: 0,
        };
        // Who asks is what the kernel tells the bus about the socket; the number, in hexadecimal of its digits, has to agree.
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        if !bus.line()?.starts_with("OK ") {
            return Err(BusError::Refused);
        }
        bus.send(b"BEGIN\r\n")?;
        bus.call(&[Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        }])?;
        Ok(bus)
    }

    /// Makes all the calls at once and gives the bodies of their answers, in the order of the calls; the first refusal ends it.
    pub(super) fn call(&mut self, calls: &[Call<'_>]) -> Result<Vec<Vec<u8>>, BusError> {
        let first = self.serial + 1;
        let mut out = Vec::new();
        for call in calls {
            self.serial += 1;
            write_call(&mut out, call, self.serial);
        }
        self.send(&out)?;
        let mut bodies: Vec<Option<Vec<u8>>> = vec![None; calls.len()];
        let mut others = 0;
        while bodies.iter().any(Option::is_none) {
            let message = self.message()?;
            let index = message.reply_to.checked_sub(first).map(|index| index as usize);
            let slot = index.and_then(|index| bodies.get_mut(index));
            match (message.kind, slot) {
                (ANSWER, Some(slot)) => *slot = Some(message.body),
                (ERROR, Some(_)) => return Err(BusError::Said(message.error)),
                // Signals come unasked.
                _ if others < OTHERS_MAX => others += 1,
                _ => return Err(BusError::Garbled),
            }
        }
        Ok(bodies.into_iter().flatten().collect())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        Ok(self.stream.write_all(bytes)?)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BusError> {
        let mut at = 0;
        while at < bytes.len() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(&mut bytes[at..])? {
                0 => return Err(BusError::Io(io::ErrorKind::UnexpectedEof.into())),
                n => at += n,
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration, BusError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BusError::Io(io::ErrorKind::TimedOut.into()));
        }
        Ok(left)
    }

    fn line(&mut self) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LINE_BYTES_MAX {
                return Err(BusError::Garbled);
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn message(&mut self) -> Result<Message, BusError> {
        let mut fixed = [0; FIXED_BYTES];
        self.read(&mut fixed)?;
        let (fields, body) = lengths(&fixed).ok_or(BusError::Garbled)?;
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.read(&mut rest)?;
        read_message(fixed[1], &rest, fields).ok_or(BusError::Garbled)
    }
}

/// A message that came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    kind: u8,
    /// The call that it answers; 0 for none.
    reply_to: u32,
    /// Name of an error.
    error: String,
    body: Vec<u8>,
}

/// Lengths of the header's fields and of the body; `None` when this is no message, or too large.
fn lengths(fixed: &[u8; FIXED_BYTES]) -> Option<(usize, usize)> {
    // systemd is on this host and has its byte order; the agent's binaries are for little-endian machines.
    if fixed[0] != b'l' || fixed[3] != 1 {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(fixed[at..at + 4].try_into().ok()?) as usize);
    let (body, fields) = (number(4)?, number(12)?);
    (body <= MESSAGE_BYTES_MAX && fields <= MESSAGE_BYTES_MAX).then_some((fields, body))
}

/// A message from what follows its fixed part.
fn read_message(kind: u8, rest: &[u8], fields: usize) -> Option<Message> {
    let mut message = Message {
        kind,
        body: rest.get(fields.next_multiple_of(8)..)?.to_vec(),
        ..Message::default()
    };
    let mut reader = Reader::new(rest.get(..fields)?);
    while !reader.is_empty() {
        // Offsets count from the message's start, which is a multiple of eight before this.
        reader.align(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (REPLY_SERIAL, "u") => message.reply_to = reader.number()?,
            (ERROR_NAME, "s") => message.error = reader.text()?.to_owned(),
            (_, "s" | "o") => {
                reader.text()?;
            }
            (_, "g") => {
                reader.signature()?;
            }
            (_, "u") => {
                reader.number()?;
            }
            _ => return None,
        }
    }
    Some(message)
}

fn write_call(out: &mut Vec<u8>, call: &Call<'_>, serial: u32) {
    let mut body = Vec::new();
    let mut signature = String::new();
    for argument in call.arguments {
        match argument {
            Argument::Text(text) => {
                signature.push('s');
                put_text(&mut body, text);
            }
            Argument::Texts(texts) => {
                signature.push_str("as");
                pad(&mut body, 4);
                let at = body.len();
                put_number(&mut body, 0);
                texts.iter().for_each(|text| put_text(&mut body, text));
                let length = (body.len() - at - 4) as u32;
                body[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
    }
    let mut fields = Vec::new();
    for (code, kind, text) in [
        (PATH, b'o', call.path),
        (INTERFACE, b's', call.interface),
        (MEMBER, b's', call.member),
        (DESTINATION, b's', call.destination),
    ] {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        put_text(&mut fields, text);
    }
    if !signature.is_empty() {
        pad(&mut fields, 8);
        fields.extend([SIGNATURE, 1, b'g', 0, signature.len() as u8]);
        fields.extend(signature.bytes());
        fields.push(0);
    }
    // Of its own, since padding counts from the message's start.
    let mut head = vec![b'l', CALL, 0, 1];
    put_number(&mut head, body.len() as u32);
    put_number(&mut head, serial);
    put_number(&mut head, fields.len() as u32);
    head.append(&mut fields);
    pad(&mut head, 8);
    out.append(&mut head);
    out.append(&mut body);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    put_number(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Reads marshalled values; `None` where the bytes are none.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Skips padding.
    pub(super) fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(to);
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A text or an object's path.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let text = self.take(length)?;
        (self.byte()? == 0).then_some(())?;
        str::from_utf8(text).ok()
    }

    /// A signature, as it also stands before the value of a variant.
    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?;
        (self.byte()? == 0).then_some(())?;
        str::from_utf8(text).ok()
    }

    /// The elements of an array of structures.
    pub(super) fn structures(&mut self) -> Option<Reader<'a>> {
        let length = self.number()? as usize;
        self.align(8)?;
        Some(Reader::new(self.take(length)?))
    }
}

#[cfg(test)]
pub(super) mod tests;
