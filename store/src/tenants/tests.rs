use super::*;
use crate::ErrorKind;
use crate::testing::{append, contents, quiet};

#[test]
fn tenants_share_nothing_and_come_back() {
    let root = tempfile::tempdir().unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    append(&tenants.get_or_create("a").unwrap(), &[("m", 1, 1.0)]);
    append(&tenants.get_or_create("b").unwrap(), &[("m", 1, 2.0), ("m", 2, 2.0)]);
    assert!(Arc::ptr_eq(
        &tenants.get_or_create("a").unwrap(),
        &tenants.get("a").unwrap()
    ));
    drop(tenants);
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    assert_eq!(tenants.names(), ["a", "b"]);
    let counts: Vec<usize> = tenants.stores().iter().map(|s| contents(&s.snapshot()).len()).collect();
    assert_eq!(counts, [1, 2]);
    assert_eq!(tenants.get("b").unwrap().tenant(), "b");
    assert!(tenants.get("c").is_none());
}

#[test]
fn a_deleted_tenant_is_gone_from_memory_and_disk() {
    let root = tempfile::tempdir().unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    let store = tenants.get_or_create("a").unwrap();
    append(&store, &[("m", 1, 1.0)]);
    store.flush().unwrap();
    append(&store, &[("m", 2, 1.0)]);
    let snapshot = store.snapshot();
    assert!(tenants.delete("a").unwrap());
    assert!(!tenants.delete("a").unwrap());
    assert!(tenants.get("a").is_none());
    assert_eq!(fs::read_dir(root.path().join("tenants")).unwrap().count(), 0);
    assert_eq!(contents(&snapshot).len(), 2, "a snapshot reads on");
    assert!(matches!(
        crate::testing::try_append(&store, &[("m", 3, 1.0)]),
        Err(StoreError::Closed)
    ));
    // A new tenant of that name is empty.
    assert_eq!(contents(&tenants.get_or_create("a").unwrap().snapshot()).len(), 0);
}

#[test]
fn a_deletion_waits_for_the_tenants_own_work_and_for_nothing_else_does_anybody() {
    let root = tempfile::tempdir().unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    let store = tenants.get_or_create("a").unwrap();
    append(&store, &[("m", 1, 1.0)]);
    append(&tenants.get_or_create("b").unwrap(), &[("m", 1, 2.0)]);
    // As a merge would.
    let working = store.shared.compacting.lock();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| tenants.delete("a"));
        while tenants.get("a").is_some() {
            std::thread::yield_now();
        }
        assert_eq!(tenants.names(), ["b"]);
        append(&tenants.get("b").unwrap(), &[("m", 2, 2.0)]);
        assert!(matches!(tenants.get_or_create("a"), Err(StoreError::Closed)));
        drop(working);
        assert!(deleting.join().unwrap().unwrap());
    });
    let next = tenants.get_or_create("a").unwrap();
    append(&next, &[("n", 1, 1.0)]);
    next.flush().unwrap();
    // Whoever still holds the old one changes nothing of the new one.
    for refused in [store.flush(), store.compact(), store.clean_deleted()] {
        assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    }
    drop(next);
    drop(tenants);
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    assert_eq!(contents(&tenants.get("a").unwrap().snapshot()).len(), 1);
}

#[test]
fn a_deletion_cut_short_is_finished_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("tenants/.deleted-a-0/wal")).unwrap();
    fs::create_dir_all(root.path().join("tenants/Not A Tenant")).unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    assert!(tenants.names().is_empty());
    assert!(!root.path().join("tenants/.deleted-a-0").exists());
    assert!(root.path().join("tenants/Not A Tenant").exists());
}

#[test]
fn a_data_directory_has_one_server() {
    let root = tempfile::tempdir().unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    let error = Tenants::open(root.path(), quiet()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint().unwrap().contains("--data"));
    drop(tenants);
    Tenants::open(root.path(), quiet()).unwrap();
}

#[test]
fn names_are_directories_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let tenants = Tenants::open(root.path(), quiet()).unwrap();
    for name in ["", ".", "..", "a/b", "A", "ä", "a b", &"a".repeat(65)] {
        assert!(
            matches!(tenants.get_or_create(name), Err(StoreError::TenantName { .. })),
            "{name:?}"
        );
    }
    for name in ["a", "0", "a-b_c", &"a".repeat(64)] {
        tenants.get_or_create(name).unwrap();
    }
    tenants.close().unwrap();
}
