use super::*;
use crate::probe::testing;

const NOW: u64 = 1_767_225_600;
const DAY: u64 = 86_400;

/// `id@slot id@slot` as devices.
fn devices(text: &str) -> Vec<Device> {
    let device = |word: &str| {
        let (id, slot) = word.split_once('@').expect("id@slot");
        Device {
            kind: "gpu".to_owned(),
            id: id.to_owned(),
            slot: slot.to_owned(),
        }
    };
    text.split_whitespace().map(device).collect()
}

/// What is told: `id@slot` where it is there, `-id@slot` where it is gone.
fn told(expected: &Expected) -> String {
    let word =
        |(device, there): (Device, bool)| format!("{}{}@{}", if there { "" } else { "-" }, device.id, device.slot);
    expected.of("gpu").into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What is told after each of these looks, a day apart.
fn check(looks: &[(&str, &str)]) {
    let expected = Expected::new(Keep::Nowhere);
    for (day, (found, then)) in (0..).zip(looks) {
        expected.found("gpu", &devices(found), NOW + day * DAY);
        assert_eq!(told(&expected), *then, "after {found:?}");
    }
}

#[test]
fn what_was_there_is_missed_until_it_is_back() {
    check(&[("a@1 b@2", "a@1 b@2"), ("a@1", "a@1 -b@2"), ("a@1 b@2", "a@1 b@2")]);
    // Found in another slot it is the same device.
    check(&[("a@1 b@2", "a@1 b@2"), ("b@1", "-a@1 b@1"), ("a@2 b@1", "a@2 b@1")]);
}

#[test]
fn another_one_in_the_same_slot_stands_for_the_one_before() {
    check(&[("a@1 b@2", "a@1 b@2"), ("a@1", "a@1 -b@2"), ("a@1 c@2", "a@1 c@2")]);
    check(&[("a@1", "a@1"), ("c@1", "c@1")]);
    // A place that is not told says nothing.
    check(&[("a@ b@", "a@ b@"), ("a@ c@", "a@ -b@ c@")]);
}

#[test]
fn what_has_been_gone_for_a_week_is_no_longer_expected() {
    let mut looks = vec![("a@1 b@2", "a@1 b@2")];
    looks.extend([("a@1", "a@1 -b@2"); 7]);
    looks.push(("a@1", "a@1"));
    check(&looks);
}

fn keep(dir: &tempfile::TempDir) -> Expected {
    Expected::new(Keep::In(dir.path().to_path_buf()))
}

#[test]
fn a_restart_forgets_nothing_and_waits_for_drivers() {
    let dir = tempfile::tempdir().expect("a directory");
    let expected = keep(&dir);
    expected.found("gpu", &devices("a@1 b@2"), NOW);
    expected.found("disk", &[], NOW);
    expected.keep();
    // After a restart one is missing: that is told when the drivers have had time to come up.
    let expected = keep(&dir);
    assert!(expected.has("gpu") && !expected.has("disk"));
    assert_eq!(told(&expected), "");
    expected.found("gpu", &devices("a@1"), NOW + 60);
    assert_eq!(told(&expected), "a@1");
    expected.patience_is_over();
    expected.found("gpu", &devices("a@1"), NOW + 180);
    assert_eq!(told(&expected), "a@1 -b@2");
    // Who only looks sees the same, and changes nothing.
    let looks = Expected::new(Keep::ReadOnly(dir.path().to_path_buf()));
    looks.found("gpu", &[], NOW + 200);
    looks.patience_is_over();
    looks.found("gpu", &[], NOW + 200);
    looks.keep();
    assert_eq!(told(&looks), "-a@1 -b@2");
    assert!(show(dir.path()).expect("a list").contains("gpu\t1\ta\tthere\n"));
}

#[test]
fn the_operator_has_one_forgotten_that_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(show(dir.path()).expect("no file is no device"), "");
    let expected = keep(&dir);
    expected.found("gpu", &devices("a@1 b@2 c@3"), NOW);
    expected.found("gpu", &devices("a@1"), NOW);
    expected.keep();
    let listed = show(dir.path()).expect("a list");
    assert!(listed.starts_with("gpu\t1\ta\tthere\ngpu\t2\tb\tgone for "), "{listed}");
    let refused = |ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        forget(dir.path(), &ids).err().map(|error| error.to_string())
    };
    assert!(refused(&["b", "a"]).expect("refused").contains("\"a\" is there"));
    assert!(refused(&["x"]).expect("refused").contains("no device \"x\""));
    expected.found("gpu", &devices("a@1"), NOW);
    expected.keep();
    assert_eq!(told(&expected), "a@1 -b@2 -c@3", "a refusal forgets none");
    assert_eq!((refused(&["b"]), refused(&["c"])), (None, None));
    expected.found("gpu", &devices("a@1"), NOW);
    expected.keep();
    assert_eq!(told(&expected), "a@1");
    assert_eq!(show(dir.path()).expect("a list"), "gpu\t1\ta\tthere\n");
    assert!(!dir.path().join(FORGET).exists());
}

#[test]
fn a_file_that_is_damaged_or_a_folder_that_is_full_stops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join(FILE),
        b"gpu\ta\n\xff\n\t\t\t\ngpu\tb\t2\tx\ngpu\tc\t3\t0\n",
    )
    .expect("write");
    assert_eq!(show(dir.path()).expect("what can be read"), "gpu\t3\tc\tthere\n");
    fs::remove_file(dir.path().join(FILE)).expect("remove");
    fs::create_dir_all(dir.path().join(FILE).join("in the way")).expect("a folder");
    assert!(show(dir.path()).is_err());
    let expected = keep(&dir);
    expected.found("gpu", &devices("a@1"), NOW);
    expected.keep();
    assert_eq!(told(&expected), "a@1");
    // The folder can be written to again, and nothing has changed meanwhile.
    fs::remove_dir_all(dir.path().join(FILE)).expect("remove");
    expected.found("gpu", &devices("a@1"), NOW);
    expected.keep();
    assert_eq!(show(dir.path()).expect("a list"), "gpu\t1\ta\tthere\n");
    // What would break the file is expected for as long as the agent runs.
    let dir = tempfile::tempdir().expect("a directory");
    let expected = keep(&dir);
    let odd = Device {
        kind: "gpu".to_owned(),
        id: "a\tb\n".to_owned(),
        slot: String::new(),
    };
    expected.found("gpu", &[odd], NOW);
    expected.keep();
    assert_eq!(told(&expected), "a\tb\n@");
    assert_eq!(show(dir.path()).expect("a list"), "");
}

#[test]
fn a_disk_that_hangs_holds_nobody_up_that_looks() {
    let dir = tempfile::tempdir().expect("a directory");
    // Opening a pipe that nobody reads waits for whoever does, as a disk that no longer answers would have one wait.
    let pipe = dir.path().join("devices.new");
    testing::pipe(&pipe);
    let expected = keep(&dir);
    let (tell, told_of) = std::sync::mpsc::channel();
    let looks = expected.clone();
    let looking = std::thread::spawn(move || {
        looks.found("gpu", &devices("a@1 b@2"), NOW);
        let keeps = looks.clone();
        let keeping = std::thread::spawn(move || keeps.keep());
        while looks.lock().changed {
            std::thread::yield_now();
        }
        looks.found("gpu", &devices("a@1"), NOW);
        tell.send(told(&looks)).expect("somebody waits");
        keeping
    });
    let told = told_of.recv_timeout(Duration::from_secs(60));
    // The disk answers.
    fs::File::open(&pipe).expect("a reader");
    assert_eq!(told.as_deref(), Ok("a@1 -b@2"));
    looking.join().expect("looked").join().expect("kept");
}

#[test]
fn devices_are_bounded_and_the_longest_gone_makes_room() {
    let expected = Expected::new(Keep::Nowhere);
    let many: String = (0..DEVICES_MAX).map(|n| format!("a{n}@{n} ")).collect();
    expected.found("gpu", &devices(&many), NOW);
    expected.found("gpu", &devices(&format!("{many} x@x")), NOW);
    assert!(!told(&expected).contains("x@x"), "all are there");
    expected.found("gpu", &devices(many.trim_start_matches("a0@0 ")), NOW);
    expected.found(
        "gpu",
        &devices(&format!("{} x@x", many.trim_start_matches("a0@0 "))),
        NOW,
    );
    let told = told(&expected);
    assert!(told.contains(" x@x") && !told.contains("a0@0"), "{told}");
    assert_eq!(told.split(' ').count(), DEVICES_MAX);
}
