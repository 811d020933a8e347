use proptest::prelude::*;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;

/// A message of systemd's as it was recorded (fixtures/README.md), with the call that it answers.
pub(in super::super) fn recorded(name: &str, reply_to: u32) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/systemd")
        .join(name);
    let mut message = std::fs::read(path).expect("a recorded message");
    // The recording's first field is the call that is answered: its code, the signature of a number, the number.
    assert_eq!(message[16..20], [REPLY_SERIAL, 1, b'u', 0]);
    message[20..24].copy_from_slice(&reply_to.to_le_bytes());
    message
}

/// An answer without a body, as to `Hello`.
pub(in super::super) fn empty_answer(kind: u8, reply_to: u32, error: &str) -> Vec<u8> {
    let mut fields = vec![REPLY_SERIAL, 1, b'u', 0];
    put_number(&mut fields, reply_to);
    if !error.is_empty() {
        fields.extend([ERROR_NAME, 1, b's', 0]);
        put_text(&mut fields, error);
    }
    let mut message = vec![b'l', kind, 1, 1];
    put_number(&mut message, 0);
    put_number(&mut message, 7);
    put_number(&mut message, fields.len() as u32);
    message.append(&mut fields);
    pad(&mut message, 8);
    message
}

/// A bus that lets anybody in, takes calls and gives these messages, and then what was called: paths and members.
pub(in super::super) fn fake(socket: &Path, greeting: &'static str, messages: Vec<Vec<u8>>) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).expect("bind");
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(stream.try_clone().expect("clone"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("AUTH");
        assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
        let mut stream = stream;
        stream.write_all(greeting.as_bytes()).expect("greet");
        for message in messages {
            stream.write_all(&message).expect("answer");
        }
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap_or_default();
        called(rest.strip_prefix(b"BEGIN\r\n").unwrap_or_default())
    })
}

/// Paths and members of the calls in these bytes.
fn called(mut bytes: &[u8]) -> Vec<String> {
    let mut calls = Vec::new();
    while let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() {
        let (fields, body) = lengths(fixed).expect("a message");
        let mut reader = Reader::new(&rest[..fields]);
        let (mut path, mut member) = ("", "");
        while !reader.is_empty() {
            reader.align(8).expect("padding");
            match (reader.byte().expect("code"), reader.signature().expect("signature")) {
                (PATH, _) => path = reader.text().expect("path"),
                (MEMBER, _) => member = reader.text().expect("member"),
                (SIGNATURE, _) => drop(reader.signature().expect("signature")),
                _ => drop(reader.text().expect("text")),
            }
        }
        calls.push(format!("{path} {member}"));
        bytes = &rest[fields.next_multiple_of(8) + body..];
    }
    calls
}

const PATIENCE: Duration = Duration::from_secs(30);

const WELCOME: &str = "OK 0123456789abcdef\r\n";

#[test]
fn answers_are_told_apart_by_the_call_and_signals_are_passed_over() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let socket = dir.path().join("bus");
    let signal = empty_answer(4, 0, "");
    let answers = vec![
        signal.clone(),
        empty_answer(ANSWER, 1, ""),
        recorded("restarts.bin", 3),
        signal,
        empty_answer(ANSWER, 2, ""),
    ];
    let bus = fake(&socket, WELCOME, answers);
    let mut client = Bus::connect(&socket, PATIENCE).expect("let in");
    let call = |member| Call {
        destination: "d",
        path: "/p",
        interface: "i",
        member,
        arguments: &[Argument::Text("a"), Argument::Texts(&["b", "cd"])],
    };
    let bodies = client.call(&[call("First"), call("Second")]).expect("answers");
    assert_eq!(bodies[0], b"");
    assert_eq!(bodies[1], b"\x01u\0\0\x03\0\0\0");
    drop(client);
    let calls = bus.join().expect("the bus");
    assert_eq!(calls, ["/org/freedesktop/DBus Hello", "/p First", "/p Second"]);
}

#[test]
fn refusals_errors_and_broken_connections_are_told() {
    let check = |greeting: &'static str, messages: Vec<Vec<u8>>, expected: &str| {
        let dir = tempfile::tempdir().expect("temporary directory");
        let socket = dir.path().join("bus");
        let bus = fake(&socket, greeting, messages);
        let error = Bus::connect(&socket, PATIENCE).expect_err("no connection");
        assert_eq!(error.to_string(), expected);
        bus.join().expect("the bus");
    };
    check("REJECTED EXTERNAL\r\n", vec![], "the bus does not let this user in");
    check("OK", vec![], "the bus cannot be reached or broke off");
    check(WELCOME, vec![], "the bus cannot be reached or broke off");
    let denied = "org.freedesktop.DBus.Error.AccessDenied";
    check(
        WELCOME,
        vec![empty_answer(ERROR, 1, denied)],
        "systemd answered org.freedesktop.DBus.Error.AccessDenied",
    );
    let garbled = "the bus sent what is no message of its protocol";
    check(WELCOME, vec![vec![b'B'; 16]], garbled);
    let mut huge = empty_answer(ANSWER, 1, "");
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    check(WELCOME, vec![huge], garbled);
    check(WELCOME, vec![empty_answer(4, 0, ""); OTHERS_MAX + 1], garbled);
    let missing = Bus::connect(Path::new("/nowhere"), PATIENCE).expect_err("no socket");
    assert!(matches!(missing, BusError::Io(_)));
}

#[test]
fn a_bus_that_says_nothing_is_waited_for_as_long_as_patience_lasts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let socket = dir.path().join("bus");
    // Nobody accepts: connecting works all the same, an answer never comes.
    let _listener = UnixListener::bind(&socket).expect("bind");
    let error = Bus::connect(&socket, Duration::from_millis(20)).expect_err("silence");
    assert!(matches!(error, BusError::Io(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_stumble(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300), real: bool, at: prop::sample::Index, byte: u8,
        fields: usize,
    ) {
        if real {
            bytes = recorded("units.bin", 1);
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() {
            let fields = lengths(fixed).map_or(fields % 4096, |(fields, _)| fields);
            if let Some(message) = read_message(2, rest, fields) {
                super::super::units(&message.body);
                super::super::restarts_of(&message.body);
            }
        }
        super::super::units(&bytes);
        super::super::restarts_of(&bytes);
    }
}
