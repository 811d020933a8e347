use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::testing::{Contents, NOW, append, contents, quiet};
use crate::{ErrorKind, StoreOptions};

fn tenants(root: &Path) -> Tenants {
    Tenants::open(root, quiet()).unwrap()
}

fn all(tenants: &Tenants) -> BTreeMap<String, Contents> {
    let each = tenants.stores().into_iter();
    each.map(|store| (store.tenant().to_owned(), contents(&store.snapshot())))
        .collect()
}

/// A data directory with two tenants: samples in parts, in the WAL and in state.
fn filled(root: &Path) -> Tenants {
    let tenants = tenants(root);
    let a = tenants.get_or_create("a").unwrap();
    append(&a, &[("m host=x", NOW - 10_000_000, 1.0), ("m host=x", NOW, 2.0)]);
    a.flush().unwrap();
    append(&a, &[("m host=x", NOW + 1, 3.0), ("n", NOW, 4.0)]);
    a.state()
        .migrate("test", &["CREATE TABLE t (x INTEGER) STRICT"])
        .unwrap();
    a.state().with(|c| c.execute("INSERT INTO t VALUES (7)", [])).unwrap();
    append(&tenants.get_or_create("b").unwrap(), &[("m", NOW, 5.0)]);
    tenants
}

fn ignore(_: u64, _: u64) {}

#[test]
fn a_restored_backup_answers_as_the_store_did() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("from"));
    let expected = all(&from);
    let backup = dir.path().join("backup");
    let mut heard = Vec::new();
    let made = from
        .backup(&backup, &[], NOW, &mut |done, all| heard.push((done, all)))
        .unwrap();
    assert_eq!(
        (made.tenants, made.created_ms),
        (vec!["a".to_owned(), "b".to_owned()], NOW)
    );
    assert_eq!(heard.last(), Some(&(made.bytes, made.bytes)));
    // What happens to the store afterwards does not reach the backup.
    let a = from.get("a").unwrap();
    append(&a, &[("m host=x", NOW, 9.0), ("later", NOW, 1.0)]);
    a.flush().unwrap();
    a.compact().unwrap();
    from.delete("b").unwrap();

    let to = dir.path().join("to");
    assert_eq!(restore(&backup, &to, &[], &mut ignore).unwrap().files, made.files);
    let restored = tenants(&to);
    assert_eq!(all(&restored), expected);
    let seven: i64 = restored
        .get("a")
        .unwrap()
        .state()
        .with(|c| c.query_row("SELECT x FROM t", [], |r| r.get(0)))
        .unwrap();
    assert_eq!(seven, 7);
    // The backup is a data directory by itself.
    assert!(crate::verify(&backup.join("tenants/a")).unwrap().is_clean());
}

#[test]
fn single_tenants_are_backed_up_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("from"));
    let only = |name: &str| vec![name.to_owned()];
    let made = from
        .backup(&dir.path().join("one"), &only("b"), NOW, &mut ignore)
        .unwrap();
    assert_eq!(made.tenants, ["b"]);
    assert!(matches!(
        from.backup(&dir.path().join("none"), &only("c"), NOW, &mut ignore),
        Err(StoreError::NoTenant { .. })
    ));
    let both = dir.path().join("both");
    from.backup(&both, &[], NOW, &mut ignore).unwrap();
    let to = dir.path().join("to");
    restore(&both, &to, &only("b"), &mut ignore).unwrap();
    assert_eq!(tenants(&to).names(), ["b"]);
    restore(&both, &to, &only("a"), &mut ignore).unwrap();
    assert_eq!(all(&tenants(&to)), all(&from));
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("from"));
    let backup = dir.path().join("backup");
    from.backup(&backup, &[], NOW, &mut ignore).unwrap();
    let before = fs::read(backup.join(LISTING)).unwrap();
    let error = from.backup(&backup, &[], NOW + 1, &mut ignore).unwrap_err();
    assert_eq!(
        (error.kind(), fs::read(backup.join(LISTING)).unwrap()),
        (ErrorKind::Conflict, before)
    );

    let to = dir.path().join("to");
    let other = tenants(&to);
    append(&other.get_or_create("b").unwrap(), &[("other", NOW, 1.0)]);
    let expected = all(&other);
    // While it is in use, and when it is not.
    assert!(matches!(
        restore(&backup, &to, &[], &mut ignore),
        Err(StoreError::Locked { .. })
    ));
    drop(other);
    assert!(matches!(
        restore(&backup, &to, &[], &mut ignore),
        Err(StoreError::TenantExists { name, .. }) if name == "b"
    ));
    assert_eq!(all(&tenants(&to)), expected);
}

#[test]
fn a_changed_byte_or_a_missing_file_is_never_restored() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("from"));
    let backup = dir.path().join("backup");
    from.backup(&backup, &[], NOW, &mut ignore).unwrap();
    let mut files = Vec::new();
    files_below(&backup, &mut files).unwrap();
    assert!(
        files.len() >= 9,
        "listing, two manifests, states, segments, a part of two files: {files:?}"
    );
    for (i, path) in files.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let mut changed = whole.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        for damaged in [Some(changed), Some(whole[..at].to_vec()), None] {
            // Never in place: files may be links of the store's.
            fs::remove_file(path).unwrap();
            if let Some(damaged) = damaged {
                fs::write(path, damaged).unwrap();
            }
            let to = dir.path().join(format!("to-{i}"));
            let error = restore(&backup, &to, &[], &mut ignore).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error}", path.display());
            let started = tenants(&to);
            let broken = path
                .strip_prefix(backup.join("tenants"))
                .ok()
                .and_then(|path| path.iter().next());
            for name in started.names() {
                assert_ne!(
                    Some(std::ffi::OsStr::new(&name)),
                    broken,
                    "a tenant with a damaged file"
                );
            }
            drop(started);
            fs::remove_dir_all(&to).unwrap();
            fs::write(path, &whole).unwrap();
        }
    }
    restore(&backup, &dir.path().join("whole"), &[], &mut ignore).unwrap();
}

#[test]
fn a_listing_cannot_lead_outside_of_the_backup() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        "tenants/a/../../../x",
        "/etc/passwd",
        "tenants/a",
        "tenants/.x/y",
        "other/a/b",
    ] {
        let root = tempfile::tempdir_in(dir.path()).unwrap();
        let files = vec![Listed {
            path: path.to_owned(),
            bytes: 0,
            crc32c: 0,
        }];
        let listing = Listing {
            version: 1,
            created_ms: 0,
            files,
        };
        write_listing(root.path(), &listing).unwrap();
        let error = restore(root.path(), &dir.path().join("to"), &[], &mut ignore).unwrap_err();
        assert!(error.to_string().contains("outside of the backup"), "{path}: {error}");
    }
}

#[test]
fn a_backup_that_a_crash_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("backups/x.unfinished/tenants/a");
    fs::create_dir_all(&left).unwrap();
    let tenants = tenants(dir.path());
    assert!(!left.exists());
    let made = tenants.backups_dir().join("x");
    fs::create_dir_all(&left).unwrap();
    tenants.backup(&made, &[], NOW, &mut ignore).unwrap();
    assert!(made.exists() && !left.exists());
}

#[test]
fn a_backup_under_writes_holds_what_was_acknowledged_and_nothing_else() {
    const WRITERS: i64 = 3;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        // Segments, flushes and merges all the time.
        wal_segment_bytes: 4096,
        ..quiet()
    };
    let from = Tenants::open(&dir.path().join("from"), options).unwrap();
    let store = from.get_or_create("default").unwrap();
    let acknowledged: Vec<_> = (0..WRITERS).map(|_| Mutex::new(0)).collect();
    let over = AtomicBool::new(false);
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, acknowledged, over) = (Arc::clone(&store), &acknowledged[writer as usize], &over);
            scope.spawn(move || {
                for at in 1.. {
                    append(&store, &[(&format!("m writer={writer}"), at, at as f64)]);
                    *acknowledged.lock().unwrap() = at;
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let (flushed, over_too) = (Arc::clone(&store), &over);
        scope.spawn(move || {
            while !over_too.load(Ordering::Relaxed) {
                flushed.flush().unwrap();
                flushed.compact().unwrap();
            }
        });
        for i in 0..5 {
            let enough = (i + 1) * 20;
            while acknowledged.iter().any(|at| *at.lock().unwrap() < enough) {
                std::thread::yield_now();
            }
            let before: Vec<i64> = acknowledged.iter().map(|at| *at.lock().unwrap()).collect();
            let path = dir.path().join(format!("backup-{i}"));
            from.backup(&path, &[], NOW, &mut ignore).unwrap();
            backups.push((path, before));
        }
        over.store(true, Ordering::Relaxed);
    });
    let end = contents(&store.snapshot());
    for (path, before) in backups {
        let to = path.with_extension("restored");
        restore(&path, &to, &[], &mut ignore).unwrap();
        let restored = tenants(&to);
        let found = contents(&restored.get("default").unwrap().snapshot());
        assert!(
            found.iter().all(|(sample, bits)| end.get(sample) == Some(bits)),
            "samples that were never written"
        );
        for (writer, acknowledged) in before.into_iter().enumerate() {
            let name = format!("m{{writer=\"{writer}\"}}");
            let of_writer = found.keys().filter(|(series, _)| *series == name);
            let times: Vec<i64> = of_writer.map(|(_, at)| *at).collect();
            assert!(
                times.len() as i64 >= acknowledged,
                "{} of {acknowledged} acknowledged",
                times.len()
            );
            assert_eq!(times, (1..=times.len() as i64).collect::<Vec<_>>(), "a gap in {name}");
        }
    }
}
