use super::*;
use crate::part::chunks_path;
use crate::testing::{NOW, append, contents, open};

/// A store with a part of 20 series, one part more, and a WAL.
fn filled(dir: &Path) {
    let store = open(dir);
    let names: Vec<String> = (0..20).map(|i| format!("m host=h{i:02}")).collect();
    for (i, name) in (0_u32..).zip(&names) {
        // Of each series values of their own, so that chunks take room.
        let samples: Vec<(&str, i64, f64)> = (0..200)
            .map(|n| {
                (
                    name.as_str(),
                    NOW - 7_000_000 + n * 15_000,
                    f64::from(i) + (n as f64).sin(),
                )
            })
            .collect();
        append(&store, &samples);
    }
    store.flush().unwrap();
    append(&store, &[("n", NOW, 1.0)]);
    store.flush().unwrap();
    append(&store, &[("n", NOW + 1, 2.0)]);
}

fn first_part(dir: &Path) -> PartMeta {
    let manifest = Manifest::load(dir).unwrap();
    manifest.parts.into_iter().max_by_key(|part| part.samples).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_store_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = contents(&open(dir.path()).snapshot());
    assert!(repair(dir.path()).unwrap().is_clean());
    assert_eq!(contents(&open(dir.path()).snapshot()), before);
    let held = open(dir.path());
    assert!(matches!(repair(dir.path()), Err(StoreError::Locked { .. })));
    drop(held);
}

#[test]
fn of_a_part_with_a_damaged_chunk_the_other_series_are_saved() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = contents(&open(dir.path()).snapshot());
    let meta = first_part(dir.path());
    let path = chunks_path(dir.path(), meta.id);
    // Within the values of some series.
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    assert!(!crate::verify(dir.path()).unwrap().is_clean());
    let done = repair(dir.path()).unwrap();
    let [part] = &done.parts[..] else { panic!("{done:?}") };
    assert_eq!(part.files.len(), 2);
    assert!(part.saved > 0 && part.saved < part.samples, "{part:?}");
    assert!(part.what.contains("checksum"), "{part:?}");

    let after = contents(&open(dir.path()).snapshot());
    assert_eq!(before.len() - after.len(), (part.samples - part.saved) as usize);
    assert!(
        after.iter().all(|(sample, bits)| before.get(sample) == Some(bits)),
        "nothing else is changed"
    );
    let lost: std::collections::BTreeSet<&String> = before
        .keys()
        .filter(|sample| !after.contains_key(*sample))
        .map(|(series, _)| series)
        .collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    // The damaged one lies aside and is spoken of; nothing else is wrong.
    let found = crate::verify(dir.path()).unwrap();
    assert!(
        found
            .problems
            .iter()
            .all(|p| p.path.extension().is_some_and(|e| e == "quarantined")),
        "{found}"
    );
    fs::remove_file(&part.files[0]).unwrap();
    fs::remove_file(&part.files[1]).unwrap();
    assert!(crate::verify(dir.path()).unwrap().is_clean());
    assert!(repair(dir.path()).unwrap().is_clean());
}

#[test]
fn a_part_that_cannot_be_opened_goes_aside_whole() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let meta = first_part(dir.path());
    fs::write(chunks_path(dir.path(), meta.id), "no part").unwrap();
    let done = repair(dir.path()).unwrap();
    assert_eq!(
        (done.parts.len(), done.parts[0].saved, done.parts[0].samples),
        (1, 0, meta.samples)
    );
    let left = contents(&open(dir.path()).snapshot());
    assert!(left.contains_key(&("n".to_owned(), NOW)) && left.contains_key(&("n".to_owned(), NOW + 1)));
}

#[test]
fn what_was_deleted_is_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(dir.path());
    let matcher = crate::Matcher::eq("host", "h03");
    store.delete(&[vec![matcher]], TimeRange::ALL).unwrap();
    let before = contents(&store.snapshot());
    drop(store);
    let path = chunks_path(dir.path(), first_part(dir.path()).id);
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    repair(dir.path()).unwrap();
    let after = contents(&open(dir.path()).snapshot());
    assert!(after.len() < before.len() && after.iter().all(|(sample, bits)| before.get(sample) == Some(bits)));
}

#[test]
fn a_torn_tail_and_a_lost_manifest_are_told() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = contents(&open(dir.path()).snapshot());
    let segment = fs::read_dir(dir.path().join("wal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .max()
        .unwrap();
    let whole = fs::metadata(&segment).unwrap().len();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend_from_slice(b"half a record");
    fs::write(&segment, bytes).unwrap();
    fs::write(dir.path().join("manifest.json"), "{").unwrap();
    let done = repair(dir.path()).unwrap();
    assert_eq!(
        (done.torn_tail, done.manifest_made_again),
        (Some((segment, whole)), true)
    );
    assert!(repair(dir.path()).unwrap().is_clean());
    assert_eq!(contents(&open(dir.path()).snapshot()), before);
}

#[test]
fn histograms_of_a_damaged_part_are_saved_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = store.batch();
    for host in 0..20 {
        let id = batch
            .series(&mut crate::testing::labels(&format!("latency host=h{host:02}")))
            .unwrap();
        for n in 0..100 {
            let histogram = crate::Histogram {
                count: f64::from(n),
                sum: f64::from(host * n).sin(),
                zero_count: f64::from(n),
                ..crate::Histogram::default()
            };
            batch
                .push_histogram(id, NOW - 3_600_000 + i64::from(n) * 15_000, histogram)
                .unwrap();
        }
    }
    store.append(batch).unwrap();
    store.flush().unwrap();
    drop(store);
    let path = chunks_path(dir.path(), first_part(dir.path()).id);
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    let done = repair(dir.path()).unwrap();
    assert_eq!(done.parts.len(), 1);
    let saved = done.parts[0].saved;
    assert_eq!(done.parts[0].samples, 2000);
    assert!(
        (100..2000).contains(&saved) && saved.is_multiple_of(100),
        "whole series, all but a few: {saved}"
    );
    done.parts[0]
        .files
        .iter()
        .for_each(|file| fs::remove_file(file).unwrap());
    let verified = crate::verify(dir.path()).unwrap();
    assert!(verified.is_clean(), "{verified}");
    let store = open(dir.path());
    let snapshot = store.snapshot();
    let mut histograms = Histograms::default();
    for id in snapshot.select(&[], TimeRange::ALL).unwrap() {
        let mut of_one = Histograms::default();
        snapshot.read_histograms(id, TimeRange::ALL, &mut of_one).unwrap();
        assert!(of_one.is_empty() || of_one.len() == 100);
        of_one
            .timestamps
            .iter()
            .zip(&of_one.values)
            .for_each(|(at, v)| histograms.push(*at, std::sync::Arc::clone(v)));
    }
    assert_eq!(histograms.len() as u64, saved);
}
