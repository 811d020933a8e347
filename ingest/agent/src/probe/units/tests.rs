use super::bus::tests::{empty_answer, fake, recorded};
use super::*;
use crate::probe::testing;

/// A reading of a bus that gives these messages.
fn sample(messages: Vec<Vec<u8>>) -> (String, Vec<String>) {
    let files = testing::files(&[]);
    let bus = fake(
        Path::new(&files.path("proc/system_bus_socket")),
        "OK 0123456789abcdef\r\n",
        messages,
    );
    let mut probe = Units::new(&files.paths);
    assert_eq!(probe.is_supported(), Support::Yes);
    let text = testing::sample(&mut probe);
    (text, bus.join().expect("the bus"))
}

#[test]
fn failed_and_running_units_are_told_with_their_restarts() {
    // As systemd 252 gave them: one service had failed after three restarts, two ran, the rest were inactive.
    let (text, calls) = sample(vec![
        empty_answer(2, 1, ""),
        recorded("units.bin", 2),
        recorded("restarts.bin", 3),
        recorded("restarts.bin", 4),
        recorded("restarts.bin", 5),
    ]);
    assert_eq!(
        text,
        "\
system.linux.systemd.units{state=active} 3 {unit}
system.linux.systemd.units{state=activating} 0 {unit}
system.linux.systemd.units{state=deactivating} 0 {unit}
system.linux.systemd.units{state=failed} 1 {unit}
system.linux.systemd.units{state=inactive} 3 {unit}
system.linux.systemd.units{state=reloading} 0 {unit}
system.linux.systemd.unit.failed{systemd.unit.name=bad.service} 1 1
system.linux.systemd.unit.failed{systemd.unit.name=dbus.service} 0 1
system.linux.systemd.unit.failed{systemd.unit.name=good.service} 0 1
system.linux.systemd.unit.restarts{systemd.unit.name=bad.service} 3 {restart}
system.linux.systemd.unit.restarts{systemd.unit.name=dbus.service} 3 {restart}
system.linux.systemd.unit.restarts{systemd.unit.name=good.service} 3 {restart}
"
    );
    assert_eq!(
        calls,
        [
            "/org/freedesktop/DBus Hello",
            "/org/freedesktop/systemd1 ListUnitsByPatterns",
            "/org/freedesktop/systemd1/unit/bad_2eservice Get",
            "/org/freedesktop/systemd1/unit/dbus_2eservice Get",
            "/org/freedesktop/systemd1/unit/good_2eservice Get",
        ]
    );
}

#[test]
fn a_systemd_that_counts_no_restarts_tells_the_rest() {
    let (text, _) = sample(vec![
        empty_answer(2, 1, ""),
        recorded("units.bin", 2),
        empty_answer(3, 3, "org.freedesktop.DBus.Error.UnknownProperty"),
    ]);
    assert!(text.contains("unit.failed{systemd.unit.name=bad.service} 1"), "{text}");
    assert!(!text.contains("restarts"), "{text}");
}

#[test]
fn a_bus_without_systemd_is_an_error_that_says_so() {
    let (text, _) = sample(vec![
        empty_answer(2, 1, ""),
        empty_answer(3, 2, "org.freedesktop.DBus.Error.ServiceUnknown"),
    ]);
    assert!(
        text.starts_with("error: ") && text.contains("has no answer of systemd's"),
        "{text}"
    );
    let files = testing::files(&[]);
    let mut probe = Units::new(&files.paths);
    let Support::No(why) = probe.is_supported() else {
        panic!("there is no bus")
    };
    assert!(why.contains("no systemd, or no D-Bus"), "{why}");
}

#[test]
fn failed_units_come_first_and_series_are_bounded() {
    let unit = |name: String, state: &str, sub: &str| Unit {
        name,
        state: state.to_owned(),
        sub: sub.to_owned(),
        path: String::new(),
    };
    let mut units: Vec<Unit> = (0..1000)
        .map(|n| unit(format!("a{n:04}.service"), "active", "running"))
        .collect();
    units.push(unit("z.mount".to_owned(), "failed", "failed"));
    units.push(unit("srv.mount".to_owned(), "active", "mounted"));
    units.push(unit("run-r1f2.service".to_owned(), "active", "running"));
    units.push(unit("once.service".to_owned(), "active", "exited"));
    let told = worth_telling(units);
    let names: Vec<&str> = told.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(
        (names.len(), names[0], names[1], names[255]),
        (256, "z.mount", "a0000.service", "a0254.service")
    );
}
