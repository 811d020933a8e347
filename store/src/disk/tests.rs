//! The whole store over a disk that fails: whatever happens, what was acknowledged is there afterwards, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::faults::{self, Random, Schedule, Watching};
use crate::table::Table;
use crate::testing::{NOW, contents, labels, quiet};
use crate::{Clock, Store, StoreError, StoreOptions};

const SERIES: u64 = 12;
const MINUTE: i64 = 60_000;

/// What may be read at a series and timestamp: one value once it was acknowledged; several, or none, where a write failed and
/// nobody can tell how far it came.
#[derive(Debug, Default)]
struct Expected(BTreeMap<(String, i64), Allowed>);

#[derive(Clone, Debug, Default)]
struct Allowed {
    values: BTreeSet<u64>,
    absent: bool,
}

impl Expected {
    fn acknowledged(&mut self, key: (String, i64), value: f64) {
        let values = BTreeSet::from([value.to_bits()]);
        self.0.insert(key, Allowed { values, absent: false });
    }

    fn unknown(&mut self, key: (String, i64), value: f64) {
        let none = || Allowed {
            values: BTreeSet::new(),
            absent: true,
        };
        self.0.entry(key).or_insert_with(none).values.insert(value.to_bits());
    }

    fn check(&self, store: &Store, when: &str) {
        let found = contents(&store.snapshot());
        for (key, value) in &found {
            let allowed = self
                .0
                .get(key)
                .unwrap_or_else(|| panic!("{when}: {key:?} was never written"));
            assert!(
                allowed.values.contains(value),
                "{when}: {key:?} has {value:x}, not {allowed:x?}"
            );
        }
        for (key, allowed) in &self.0 {
            assert!(
                allowed.absent || found.contains_key(key),
                "{when}: {key:?} was acknowledged and is gone"
            );
        }
    }
}

/// How often a row may be found, by what it says: once and only once after it was acknowledged, however often it was sent again with its
/// batch's id; at most once where nobody can tell.
#[derive(Debug, Default)]
struct ExpectedRows(BTreeMap<String, std::ops::RangeInclusive<u32>>);

impl ExpectedRows {
    fn acknowledged(&mut self, texts: &[String]) {
        self.0.extend(texts.iter().map(|text| (text.clone(), 1..=1)));
    }

    fn unknown(&mut self, texts: &[String]) {
        for text in texts {
            self.0.entry(text.clone()).or_insert(0..=1);
        }
    }

    fn check(&self, store: &Store, when: &str) {
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for text in crate::table::tests::bodies(store) {
            *found.entry(text).or_default() += 1;
        }
        for text in found.keys() {
            assert!(self.0.contains_key(text), "{when}: row {text} was never written");
        }
        for (text, allowed) in &self.0 {
            let times = found.get(text).copied().unwrap_or(0);
            assert!(
                allowed.contains(&times),
                "{when}: row {text} is there {times} times, not {allowed:?}"
            );
        }
    }
}

/// A store on a disk that fails, and what is known of it.
struct Life {
    dir: tempfile::TempDir,
    disk: Watching,
    random: Random,
    expected: Expected,
    rows: ExpectedRows,
    // Batches of rows that were sent with an id: the id, the time, what they say.
    sent: Vec<(String, i64, Vec<String>)>,
    batches: u64,
    // Minutes since `NOW`.
    minute: i64,
    acknowledged: u64,
    acknowledged_rows: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let dir = folder();
        let disk = faults::watch(dir.path(), seed.wrapping_mul(31));
        Self {
            dir,
            disk,
            random: Random(seed),
            expected: Expected::default(),
            rows: ExpectedRows::default(),
            sent: Vec::new(),
            batches: 0,
            minute: 0,
            acknowledged: 0,
            acknowledged_rows: 0,
        }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            // Segments end often, so that there are several of them.
            wal_segment_bytes: 2048,
            clock: Clock::fixed(NOW + 400 * 24 * 60 * MINUTE),
            out_of_order_window_ms: 60 * 24 * 60 * MINUTE,
            ..quiet()
        }
    }

    fn open(&self) -> Result<Arc<Store>, StoreError> {
        Store::open(&self.dir.path().join("tenant"), self.options())
    }

    fn append(&mut self, store: &Store) {
        let mut batch = store.batch();
        let mut sent = Vec::new();
        self.minute += self.random.below(40) as i64;
        for _ in 0..=self.random.below(30) {
            let name = format!("m{} host=h", self.random.below(SERIES));
            // Mostly new; sometimes late, sometimes sent again with another value.
            let back = if self.random.chance(200) {
                self.random.below(300)
            } else {
                0
            };
            let at = NOW + (self.minute - back as i64) * MINUTE + self.random.below(3) as i64;
            let value = match self.random.below(4) {
                0 => f64::from_bits(self.random.next()),
                _ => self.random.below(1000) as f64 / 10.0,
            };
            let id = batch.series(&mut labels(&name)).expect("good labels");
            batch.push(id, at, value);
            sent.push(((canonical(&name), at), value));
        }
        match store.append(batch) {
            Ok(appended) => {
                assert_eq!(appended.refused, [], "all are within the window");
                self.acknowledged += appended.accepted;
                for (key, value) in sent {
                    self.expected.acknowledged(key, value);
                }
            }
            Err(_) => {
                for (key, value) in sent {
                    self.expected.unknown(key, value);
                }
            }
        }
    }

    fn append_rows(&mut self, store: &Store) {
        // Half of the batches have an id; of these some come again.
        let again = !self.sent.is_empty() && self.random.chance(300);
        let (id, at, texts) = if again {
            let newest = self.sent.len() as u64 - 1;
            let back = self.random.below(3).min(newest);
            let (id, at, texts) = self.sent[(newest - back) as usize].clone();
            (Some(id), at, texts)
        } else {
            self.batches += 1;
            let texts: Vec<String> = (0..=self.random.below(6))
                .map(|i| format!("{}/{i}", self.batches))
                .collect();
            // Sometimes on another day than the others.
            let days = if self.random.chance(200) {
                self.random.below(4)
            } else {
                0
            };
            let at = NOW + self.minute * MINUTE - days as i64 * 24 * 60 * MINUTE;
            let id = self.random.chance(500).then(|| self.batches.to_string());
            if let Some(id) = &id {
                self.sent.push((id.clone(), at, texts.clone()));
            }
            (id, at, texts)
        };
        let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = crate::table::tests::rows(at * 1_000_000, &rows);
        match store.append_rows(Table::Logs, id.as_deref(), rows) {
            Ok(appended) => {
                assert_eq!(appended.too_far_ahead, 0);
                self.acknowledged_rows += texts.len() as u64;
                self.rows.acknowledged(&texts);
            }
            Err(_) => self.rows.unknown(&texts),
        }
    }

    /// Opens the store, uses it until the process dies or has done enough, and leaves the disk as it is then.
    fn live(&mut self, schedule: Schedule) {
        self.disk.schedule(schedule);
        let Ok(store) = self.open() else { return };
        for _ in 0..10 + self.random.below(30) {
            match self.random.below(20) {
                0..=8 => self.append(&store),
                9..=14 => self.append_rows(&store),
                15 | 16 => drop(store.flush()),
                17 => drop(store.compact()),
                _ => drop(store.work()),
            }
            if self.disk.died() {
                return;
            }
        }
        self.expected.check(&store, "while it runs");
        self.rows.check(&store, "while it runs");
    }
}

/// In memory where the system has such a place: SQLite's own syncs would take most of the time.
pub(crate) fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let made = if shared.is_dir() {
        tempfile::tempdir_in(shared)
    } else {
        tempfile::tempdir()
    };
    made.or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn canonical(name: &str) -> String {
    let mut labels = labels(name);
    crate::Labels::from_bytes(labels.canonical().expect("good labels"))
        .expect("canonical")
        .to_string()
}

/// Runs one schedule and answers how many samples and rows were acknowledged and how often the disk failed.
fn run(seed: u64) -> (u64, u64, u64) {
    let mut life = Life::new(seed);
    for _ in 0..3 {
        let gentle = life.random.chance(300);
        let schedule = Schedule {
            full: if gentle { 0 } else { life.random.below(60) },
            io: if gentle { 0 } else { life.random.below(60) },
            dies_after: life.random.chance(700).then(|| life.random.below(120)),
        };
        life.live(schedule);
        let power = life.random.chance(600);
        if power {
            life.disk.cut_power();
        }
        // A start may fail on a bad disk, and dying within it is like dying at any other time.
        let dies_after = life.random.chance(300).then(|| life.random.below(30));
        life.disk.schedule(Schedule {
            io: 20,
            full: 20,
            dies_after,
        });
        drop(life.open());
        if life.random.chance(300) {
            life.disk.cut_power();
        }
        life.disk.schedule(Schedule::default());
        let store = life.open().expect("a good disk opens, whatever is on it");
        let when = if power { "after a power cut" } else { "after a kill" };
        life.expected.check(&store, when);
        life.rows.check(&store, when);
        let report = store.open_report();
        let tenant = life.dir.path().join("tenant");
        assert!(
            report.damaged_parts.is_empty(),
            "{when}: a part that was committed is damaged: {report:?}\n{}",
            std::fs::read_to_string(tenant.join("manifest.json")).unwrap_or_default()
        );
        // A segment that could neither be written nor cut keeps a torn record, which nobody was told is there.
        let excused = life.disk.failed() > 0;
        assert!(excused || report.damaged_segments.is_empty(), "{when}: {report:?}");
    }
    (life.acknowledged, life.acknowledged_rows, life.disk.failed())
}

fn run_all(seeds: std::ops::Range<u64>) {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    let one = |seed: u64| {
        let done = std::panic::catch_unwind(|| run(seed));
        done.unwrap_or_else(|_| panic!("schedule {seed} failed"))
    };
    let (acknowledged, rows, failed) = seeds
        .clone()
        .into_par_iter()
        .map(one)
        .reduce(|| (0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    let count = seeds.end - seeds.start;
    // Or the schedules would be testing an idle store on a good disk.
    assert!(acknowledged > 100 * count, "{acknowledged} samples were acknowledged");
    assert!(rows > 10 * count, "{rows} rows were acknowledged");
    assert!(failed > count, "{failed} operations failed");
}

#[test]
fn nothing_acknowledged_is_lost_on_a_disk_that_fails() {
    run_all(0..2000);
}

/// For a longer look: `FORESHOCK_SCHEDULES=100000..200000 cargo test -p foreshock-store -- --ignored schedules_of_choice`.
#[test]
#[ignore = "as long as one likes"]
#[expect(
    clippy::disallowed_methods,
    reason = "the range of seeds is asked for on the command line"
)]
fn schedules_of_choice() {
    let text = std::env::var("FORESHOCK_SCHEDULES").expect("FORESHOCK_SCHEDULES=FROM..TO");
    let (from, to) = text.split_once("..").expect("FROM..TO");
    run_all(from.parse().expect("a number")..to.parse().expect("a number"));
}

/// The faults themselves: a disk that forgot nothing would prove nothing.
#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let (mut lost, mut torn, mut unnamed) = (0, 0, 0);
    for seed in 0..200 {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = faults::watch(dir.path(), seed);
        let (kept, path) = (dir.path().join("kept"), dir.path().join("file"));
        let file = super::create(&kept).expect("a file");
        file.write_all_at(&[1; 3000], 0).expect("a write");
        file.sync_all().expect("a sync");
        super::sync_dir(dir.path()).expect("a sync");
        file.write_all_at(&[2; 3000], 3000).expect("a write");
        super::create(&path).expect("a file");
        disk.cut_power();
        let bytes = std::fs::read(&kept).expect("the synced file");
        assert_eq!(bytes[..3000], [1; 3000], "what was synced stays");
        lost += u64::from(bytes.len() == 3000);
        torn += u64::from(bytes.len() > 3000 && bytes[3000..].contains(&0));
        unnamed += u64::from(!path.exists());
    }
    assert!(
        lost > 20 && torn > 20 && unnamed > 50,
        "{lost} lost, {torn} torn, {unnamed} without their name"
    );
}

/// Only this module changes files: whatever went past it would not be tested.
#[test]
fn no_other_module_changes_files() {
    let changes = [
        "fs::write(",
        "fs::rename(",
        "fs::remove_file(",
        "File::create",
        "OpenOptions",
    ];
    // A backup is a copy elsewhere, whole only once it has its name.
    let allowed = [
        "disk.rs",
        "disk/faults.rs",
        "disk/tests.rs",
        "lock.rs",
        "testing.rs",
        "backup.rs",
    ];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let (mut seen, mut wrong) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with("tests.rs")
                && !name.contains("/tests/")
                && !allowed.iter().any(|a| name.ends_with(a))
            {
                let text = std::fs::read_to_string(&path).expect("a source file");
                seen += 1;
                let lines = text.lines().filter(|line| changes.iter().any(|c| line.contains(c)));
                wrong.extend(lines.map(|line| format!("{name}: {line}")));
            }
        }
    }
    assert!(seen > 40, "{seen} files were looked at");
    assert_eq!(wrong, Vec::<String>::new());
}
