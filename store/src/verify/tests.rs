use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::*;
use crate::{Clock, LabelsBuf, Store, StoreOptions};

const HOUR_MS: i64 = 3_600_000;

/// A store with samples in two parts and in the WAL, closed.
fn store(dir: &Path) {
    let options = StoreOptions {
        clock: Clock::fixed(10 * HOUR_MS),
        background: false,
        ..StoreOptions::default()
    };
    let store = Store::open(dir, options).unwrap();
    append(&store, 2..6);
    store.flush().unwrap();
    append(&store, 6..7);
    // Dropped, not closed: as a crash leaves it.
    drop(store);
    if Manifest::find(dir).is_ok_and(|found| matches!(found, Found::Whole(manifest) if manifest.parts.len() == 2)) {
        return;
    }
    panic!("the store was to have two parts");
}

/// Ten samples of each of three hosts in every one of these hours.
fn append(store: &Arc<Store>, hours: std::ops::Range<i64>) {
    let mut batch = store.batch();
    for host in ["a", "b", "c"] {
        let mut labels = LabelsBuf::default();
        labels.push("__name__", "up");
        labels.push("host", host);
        let id = batch.series(&mut labels).unwrap();
        for at in hours
            .clone()
            .flat_map(|hour| (0..10).map(move |i| hour * HOUR_MS + i * 15_000))
        {
            batch.push(id, at, (at % 7) as f64);
        }
    }
    store.append(batch).unwrap();
}

#[test]
fn an_inspection_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = dir.path().join("tenants/default");
    fs::create_dir_all(&tenant).unwrap();
    store(&tenant);
    assert_eq!(
        tenant_dirs(dir.path()).unwrap(),
        [("default".to_owned(), tenant.clone())]
    );
    let found = inspect(&tenant).unwrap();
    assert_eq!(found.samples(), found.levels()[0].samples);
    assert_eq!((found.levels()[0].level, found.levels().len()), ("2h", 1));
    assert!(found.unused.is_empty() && found.state_bytes > 0);
    let files: u64 = fs::read_dir(tenant.join("parts"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(found.part_bytes(), files);
    assert!(found.to_string().contains("level  2h: 2 parts"), "{found}");
}

#[test]
fn a_whole_store_has_no_problems() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let found = verify(dir.path()).unwrap();
    assert_eq!(found.problems, []);
    assert_eq!(found.samples + found.wal_samples, 150);
    assert!(found.to_string().ends_with("nothing is wrong\n"));
}

#[test]
fn an_empty_directory_has_no_problems() {
    let dir = tempfile::tempdir().unwrap();
    assert!(verify(dir.path()).unwrap().is_clean());
    assert_eq!(inspect(dir.path()).unwrap().bytes_per_sample(), None);
    assert_eq!(tenant_dirs(dir.path()).unwrap(), []);
}

#[test]
fn rot_in_a_chunk_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let part = inspect(dir.path()).unwrap().parts[0].id;
    let path = dir.path().join(format!("parts/{part:010}.parquet"));
    // Values are the last column before the footer's indexes; ask the file where.
    let file = fs::File::open(&path).unwrap();
    let reader = parquet::file::reader::FileReader::metadata(
        &parquet::file::serialized_reader::SerializedFileReader::new(file).unwrap(),
    )
    .clone();
    let (start, len) = reader.row_group(0).column(8).byte_range();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, start + len - 1).unwrap();
    file.write_all_at(&[byte[0] ^ 1], start + len - 1).unwrap();

    let found = verify(dir.path()).unwrap();
    let [problem] = found.problems.as_slice() else {
        panic!("{found}")
    };
    assert_eq!(problem.path, path);
    assert!(problem.what.contains("the checksum of chunk row"), "{found}");
}

#[test]
fn missing_parts_damaged_manifests_and_torn_segments_are_found() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let parts = inspect(dir.path()).unwrap().parts;
    fs::remove_file(dir.path().join(format!("parts/{:010}.series.parquet", parts[1].id))).unwrap();
    fs::create_dir_all(dir.path().join("wal")).unwrap();
    fs::write(
        dir.path().join("wal/00000099.wal"),
        [b"FSWAL\x01".as_slice(), &[0; 30]].concat(),
    )
    .unwrap();
    let found = verify(dir.path()).unwrap();
    assert_eq!(found.problems.len(), 2, "{found}");
    assert!(found.problems[0].what.starts_with("cannot open"), "{found}");
    assert!(
        found.problems[1].what.contains("within the record at byte 16"),
        "{found}"
    );

    fs::write(dir.path().join("manifest.json"), "{}").unwrap();
    assert!(
        verify(dir.path())
            .unwrap()
            .problems
            .iter()
            .any(|problem| problem.what == "it is damaged")
    );
}
