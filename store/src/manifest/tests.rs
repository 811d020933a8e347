use std::fs;

use super::*;
use crate::part::{Level, PartWriter};
use crate::{Labels, METRIC_NAME};

/// Writes part `id` with one series and returns its entry.
fn write_part(dir: &Path, id: u64) -> PartMeta {
    let labels = Labels::from_pairs([(METRIC_NAME, "up"), ("host", "a")]);
    let mut writer = PartWriter::create(dir, PartId(id), Level::Flushed, "default").unwrap();
    let row = writer.series(labels.key(), &labels).unwrap();
    writer.samples(row, &[1000, 2000, 3000], &[1.0, 0.0, 1.0]).unwrap();
    writer.finish().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_store_has_an_empty_manifest() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Manifest::load(dir.path()).unwrap(), Manifest::default());
}

#[test]
fn what_was_committed_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = Manifest {
        wal_from_segment: 7,
        ..Manifest::default()
    };
    let id = manifest.take_id();
    manifest.replace(&[], [write_part(dir.path(), id.0)]);
    manifest.commit(dir.path()).unwrap();
    assert_eq!(Manifest::load(dir.path()).unwrap(), manifest);
    assert_eq!(names(dir.path()), ["manifest.json", "parts"]);
    // Other tools read it too.
    let text = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["manifest"]["parts"][0]["level"], "2h");
}

#[test]
fn parts_stand_in_order_of_rank() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = [1, 2, 3].map(|id| write_part(dir.path(), id));
    let mut manifest = Manifest::default();
    manifest.replace(&[], [c.clone(), a.clone(), b.clone()]);
    let merged = PartMeta {
        id: PartId(4),
        rank: 2,
        ..a.clone()
    };
    manifest.replace(&[a.id, b.id], [merged.clone()]);
    assert_eq!(manifest.parts, [merged, c]);
}

#[test]
fn a_commit_that_stopped_before_the_rename_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest {
        next_part: 5,
        ..Manifest::default()
    };
    manifest.commit(dir.path()).unwrap();
    fs::write(dir.path().join(TEMPORARY), "{\"crc32c\":\"").unwrap();
    assert_eq!(Manifest::load(dir.path()).unwrap(), manifest);
    assert_eq!(sweep(dir.path(), &manifest).unwrap(), [dir.path().join(TEMPORARY)]);
    assert_eq!(names(dir.path()), ["manifest.json"]);
}

#[test]
fn sweeping_takes_unlisted_parts_only() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, _garbage, bad) = (
        write_part(dir.path(), 1),
        write_part(dir.path(), 2),
        write_part(dir.path(), 3),
    );
    crate::part::quarantine(dir.path(), bad.id).unwrap();
    fs::write(dir.path().join("parts/notes.txt"), "mine").unwrap();
    let manifest = Manifest {
        parts: vec![kept],
        next_part: 4,
        ..Manifest::default()
    };
    assert_eq!(sweep(dir.path(), &manifest).unwrap().len(), 2);
    assert_eq!(
        names(&dir.path().join("parts")),
        [
            "0000000001.parquet",
            "0000000001.series.parquet",
            "0000000003.parquet.quarantined",
            "0000000003.series.parquet.quarantined",
            "notes.txt"
        ]
    );
}

#[test]
fn a_manifest_cut_or_changed_anywhere_is_made_again_from_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let parts = vec![write_part(dir.path(), 1), write_part(dir.path(), 2)];
    let manifest = Manifest {
        parts,
        next_part: 3,
        ..Manifest::default()
    };
    manifest.commit(dir.path()).unwrap();
    let path = dir.path().join("manifest.json");
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        for damaged in [whole[..at].to_vec(), {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            bytes
        }] {
            fs::write(&path, &damaged).unwrap();
            assert_eq!(Manifest::load(dir.path()).unwrap(), manifest, "at {at}");
            assert!(!path.exists(), "a damaged manifest is moved aside");
        }
    }
    assert_eq!(Manifest::load(dir.path()).unwrap(), manifest);
}

#[test]
fn a_manifest_made_again_leaves_damaged_parts_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (write_part(dir.path(), 1), write_part(dir.path(), 2));
    fs::write(crate::part::chunks_path(dir.path(), damaged.id), "PAR1").unwrap();
    let manifest = Manifest::load(dir.path()).unwrap();
    assert_eq!((manifest.parts.as_slice(), manifest.next_part), ([whole].as_slice(), 3));
    assert!(sweep(dir.path(), &manifest).unwrap().is_empty());
}

#[test]
fn a_newer_manifest_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"version":5,"shape":"unknown"}"#;
    let text = format!("{HEAD}{:08x}{MIDDLE}{body}{TAIL}", crc32c::crc32c(body.as_bytes()));
    fs::write(dir.path().join("manifest.json"), text).unwrap();
    let error = Manifest::load(dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("manifest.json has format version 5, this foreshock reads up to 4"),
        "{error}"
    );
    assert!(error.hint().is_some());
    assert!(dir.path().join("manifest.json").exists());
}

#[test]
fn files_of_tables_make_a_version_that_older_readers_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let written = |manifest: &Manifest| {
        manifest.commit(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap().tables, manifest.tables);
        let text = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
        let at = text.find("\"version\":").unwrap() + "\"version\":".len();
        text[at..=at].to_owned()
    };
    let mut manifest = Manifest::default();
    assert_eq!(written(&manifest), "1");
    manifest.tables.push(TableFileMeta {
        id: 8,
        table: "of a later version".to_owned(),
        t_min_ns: 1,
        t_max_ns: 2,
        rows: 3,
        bytes: 4,
        crc32c: 5,
        segments: table::Segments::range(1, 3),
    });
    assert_eq!(written(&manifest), "3");
    manifest.rows_from_segment = 9;
    assert_eq!(written(&manifest), "3");
    assert_eq!(Manifest::load(dir.path()).unwrap().rows_from(), 9);
    manifest.wal_from_segment = 10;
    assert_eq!(written(&manifest), "3");
    assert_eq!(
        Manifest::load(dir.path()).unwrap().rows_from_segment,
        0,
        "said by the other one"
    );
}
