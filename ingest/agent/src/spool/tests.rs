use std::fs::OpenOptions;

use super::*;

fn memory(memory_bytes_max: u64) -> Spool {
    Spool::open(SpoolOptions {
        memory_bytes_max,
        ..SpoolOptions::default()
    })
    .expect("memory")
}

fn disk(dir: &Path, disk_bytes_max: u64) -> Spool {
    Spool::open(SpoolOptions {
        dir: Some(dir.to_path_buf()),
        disk_bytes_max,
        ..SpoolOptions::default()
    })
    .expect("disk")
}

fn batch(n: u8) -> Vec<u8> {
    vec![n; 1000]
}

const SECOND: u64 = 1_000_000_000;

/// Adds a batch as if a second had passed since the one before.
fn put(spool: &mut Spool, batch: Vec<u8>) {
    let at = (spool.next + 1) * SECOND;
    spool.push(at, Instant::now(), batch);
}

/// Hands out everything, in the sender's order, as the first byte of each batch.
fn drain(spool: &mut Spool) -> Vec<u8> {
    let mut order = Vec::new();
    while let Some(batch) = spool.next() {
        order.push(batch.read().expect("whole")[0]);
        spool.done(batch.id);
    }
    order
}

#[test]
fn the_newest_goes_first_and_the_backlog_follows_oldest_first() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for mut spool in [memory(1 << 20), disk(dir.path(), 1 << 20)] {
        (1..=4).for_each(|n| put(&mut spool, batch(n)));
        let first = spool.next().expect("newest");
        assert_eq!(first.read().expect("whole")[0], 4);
        spool.done(first.id);
        let second = spool.next().expect("oldest");
        assert_eq!(second.read().expect("whole")[0], 1);
        // A batch that arrives meanwhile goes before the rest of the backlog.
        put(&mut spool, batch(5));
        spool.done(second.id);
        assert_eq!(drain(&mut spool), [5, 2, 3]);
        assert_eq!(
            (spool.batches(), spool.bytes(), spool.dropped()),
            (0, 0, Dropped::default())
        );
    }
}

#[test]
fn events_go_before_the_backlog_and_after_the_newest_also_when_the_agent_starts_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let events = |id: &str| batch::events(id, b"").expect("compresses");
    let mut spool = disk(dir.path(), 1 << 20);
    (1..=2).for_each(|n| put(&mut spool, batch(n)));
    put(&mut spool, events("a"));
    put(&mut spool, batch(3));
    put(&mut spool, events("b"));
    put(&mut spool, batch(4));
    let order = |spool: &mut Spool| -> Vec<String> {
        let mut order = Vec::new();
        while let Some(batch) = spool.next() {
            let bytes = batch.read().expect("whole");
            order.push(match batch::read(&bytes) {
                batch::Content::Events { id, .. } => id.to_owned(),
                batch::Content::Readings(bytes) => bytes[0].to_string(),
            });
            spool.done(batch.id);
        }
        order
    };
    drop(spool);
    let mut spool = disk(dir.path(), 1 << 20);
    put(&mut spool, batch(5));
    assert_eq!(order(&mut spool), ["5", "a", "b", "1", "2", "3", "4"]);
}

#[test]
fn events_that_have_to_wait_are_passed_by_the_readings_and_keep_their_place() {
    let mut spool = memory(1 << 20);
    let events = batch::events("a", b"").expect("compresses");
    put(&mut spool, events.clone());
    (1..=3).for_each(|n| put(&mut spool, batch(n)));
    put(&mut spool, events.clone());
    let mut order = Vec::new();
    while let Some(batch) = spool.next_readings() {
        order.push(batch.read().expect("whole")[0]);
        spool.done(batch.id);
    }
    assert_eq!((order, spool.batches()), (vec![3, 1, 2], 2));
    put(&mut spool, batch(4));
    assert_eq!(spool.next_readings().expect("newest").read().expect("whole")[0], 4);
    // It could not be sent; the events' time has come.
    assert_eq!(spool.next().expect("events").read().expect("whole"), events);
}

#[test]
fn a_batch_that_could_not_be_sent_is_handed_out_again() {
    let mut spool = memory(1 << 20);
    put(&mut spool, batch(1));
    let id = spool.next().expect("first").id;
    assert_eq!(spool.next().expect("again").id, id);
}

#[test]
fn what_was_pushed_survives_the_agent_and_what_was_acknowledged_is_not_sent_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 1 << 20);
    (1..=5).for_each(|n| put(&mut spool, batch(n)));
    for expected in [5, 1, 2] {
        let batch = spool.next().expect("batch");
        assert_eq!(batch.read().expect("whole")[0], expected);
        spool.done(batch.id);
    }
    drop(spool);
    let mut spool = disk(dir.path(), 1 << 20);
    put(&mut spool, batch(6));
    // 5 was acknowledged before older ones, so it is sent twice: that costs nothing.
    assert_eq!(drain(&mut spool), [6, 3, 4, 5]);
    drop(spool);
    assert_eq!(disk(dir.path(), 1 << 20).batches(), 0);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 1 << 20);
    (1..=2).for_each(|n| put(&mut spool, batch(n)));
    drop(spool);
    let file = segment_files(dir.path()).pop().expect("segment");
    let whole = fs::read(&file).expect("read");
    for len in (0..whole.len()).step_by(97) {
        fs::write(&file, &whole[..len]).expect("write");
        let mut spool = disk(dir.path(), 1 << 20);
        let expected = if len >= 8 + 1016 { 1 } else { 0 };
        assert_eq!(spool.batches(), expected, "cut at {len}");
        put(&mut spool, batch(9));
        assert_eq!(spool.batches(), expected + 1);
        drop(spool);
        segment_files(dir.path())
            .iter()
            .for_each(|file| fs::remove_file(file).expect("remove"));
    }
}

#[test]
fn a_flipped_bit_ends_the_segment_and_not_the_agent() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 1 << 20);
    (1..=3).for_each(|n| put(&mut spool, batch(n)));
    drop(spool);
    let file = segment_files(dir.path()).pop().expect("segment");
    let mut bytes = fs::read(&file).expect("read");
    bytes[8 + 1016 + 500] ^= 1;
    fs::write(&file, &bytes).expect("write");
    assert_eq!(drain(&mut disk(dir.path(), 1 << 20)), [1]);
}

#[test]
fn the_oldest_go_first_at_the_bound_and_are_counted() {
    let mut spool = memory(2500);
    (1..=5).for_each(|n| put(&mut spool, batch(n)));
    assert_eq!((spool.batches(), spool.dropped().full), (2, 3));
    assert_eq!(drain(&mut spool), [5, 4]);

    let dir = tempfile::tempdir().expect("temporary directory");
    let limit = 8 * (64 << 10);
    let mut spool = disk(dir.path(), limit);
    (0..2000u32).for_each(|n| put(&mut spool, batch((n % 251) as u8)));
    let on_disk: u64 = segment_files(dir.path())
        .iter()
        .map(|file| fs::metadata(file).expect("metadata").len())
        .sum();
    assert!(on_disk <= limit + (70 << 10), "{on_disk}");
    assert_eq!(spool.batches() + spool.dropped().full, 2000);
    assert!(spool.batches() > 400, "{}", spool.batches());
    let left = spool.batches() as usize;
    assert_eq!(drain(&mut spool).len(), left);
}

#[test]
fn acknowledged_segments_leave_the_disk() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 64 << 20);
    for n in 0..3000u32 {
        put(&mut spool, batch((n % 251) as u8));
        drain(&mut spool);
    }
    let on_disk: u64 = segment_files(dir.path())
        .iter()
        .map(|file| fs::metadata(file).expect("metadata").len())
        .sum();
    assert!(on_disk <= SEGMENT_BYTES_IDLE + 2000, "{on_disk}");
    drop(spool);
    let mut spool = disk(dir.path(), 64 << 20);
    assert_eq!(spool.batches(), 0);
    put(&mut spool, batch(1));
    drop(spool);
    assert_eq!(disk(dir.path(), 64 << 20).batches(), 1);
}

#[test]
fn a_disk_that_takes_no_more_leaves_batches_in_memory() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 1 << 20);
    // A directory in the place of the first segment stands for every error of the disk.
    fs::create_dir(dir.path().join(format!("{:016x}.spool", 1))).expect("directory");
    (1..=3).for_each(|n| put(&mut spool, batch(n)));
    assert_eq!((spool.batches(), spool.dropped().full, spool.bytes()), (3, 0, 3000));
    assert_eq!(drain(&mut spool), [3, 1, 2]);
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let _first = disk(dir.path(), 1 << 20);
    let second = Spool::open(SpoolOptions {
        dir: Some(dir.path().to_path_buf()),
        ..SpoolOptions::default()
    });
    assert!(matches!(second, Err(SpoolError::InUse { .. })), "{second:?}");
}

#[test]
fn foreign_files_are_left_alone_and_a_broken_cursor_sends_all_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::write(dir.path().join("notes.txt"), "mine").expect("write");
    let mut spool = disk(dir.path(), 1 << 20);
    (1..=2).for_each(|n| put(&mut spool, batch(n)));
    let first = spool.next().expect("newest");
    spool.done(first.id);
    drop(spool);
    let cursor = OpenOptions::new()
        .write(true)
        .open(dir.path().join("cursor"))
        .expect("cursor");
    cursor.set_len(7).expect("cut");
    assert_eq!(disk(dir.path(), 1 << 20).batches(), 2);
    assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).expect("read"), "mine");
}

#[test]
fn an_outage_of_six_hours_is_bridged_within_the_default_bounds() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = SpoolOptions {
        dir: Some(dir.path().to_path_buf()),
        ..SpoolOptions::default()
    };
    let mut spool = Spool::open(options.clone()).expect("disk");
    // A batch every ten seconds, twice as large as a host with eight disks and four GPUs makes them.
    let began = 1_700_000_000 * SECOND;
    let of = |n: u64| {
        let mut batch = vec![0; 24_000];
        batch[..8].copy_from_slice(&n.to_le_bytes());
        batch
    };
    let mut taken = Vec::new();
    let number = |batch: &Batch| u64::from_le_bytes(batch.read().expect("whole")[..8].try_into().expect("8 bytes"));
    for n in 0..2160 {
        spool.push(began + n * 10 * SECOND, Instant::now(), of(n));
        if n == 1000 {
            // Killed in the middle of it.
            drop(spool);
            spool = Spool::open(options.clone()).expect("disk");
        }
    }
    assert_eq!(
        (spool.batches(), spool.dropped(), spool.gap()),
        (2160, Dropped::default(), None)
    );
    // The server is back. Batches go on arriving while the backlog is sent, 300 of it between two of them.
    for n in 2160..2170 {
        spool.push(began + n * 10 * SECOND, Instant::now(), of(n));
        let newest = spool.next().expect("newest");
        assert_eq!(number(&newest), n, "the newest goes first");
        spool.done(newest.id);
        taken.push(n);
        for _ in 0..300 {
            let Some(batch) = spool.next() else { break };
            taken.push(number(&batch));
            spool.done(batch.id);
        }
    }
    assert_eq!(spool.batches(), 0);
    taken.sort_unstable();
    assert_eq!(taken, (0..2170).collect::<Vec<_>>());
}

#[test]
fn what_is_older_than_the_bound_goes_and_the_gap_is_told_until_a_batch_that_tells_it_arrives() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = Spool::open(SpoolOptions {
        dir: Some(dir.path().to_path_buf()),
        age_max: Duration::from_secs(3600),
        ..SpoolOptions::default()
    })
    .expect("disk");
    let at = |minute: u64| minute * 60 * SECOND;
    for minute in 1..=61 {
        spool.push(at(minute), Instant::now(), batch(1));
    }
    assert_eq!((spool.dropped().old, spool.gap()), (0, None));
    for minute in 62..=70 {
        spool.push(at(minute), Instant::now(), batch(1));
    }
    let gap = Gap { from: at(1), to: at(9) };
    assert_eq!((spool.dropped().old, spool.gap()), (9, Some(gap)));
    // This one carries the gap, and with it another minute goes: what it tells is out of date.
    spool.push(at(71), Instant::now(), batch(1));
    let newest = spool.next().expect("newest");
    spool.done(newest.id);
    let gap = Gap {
        from: at(1),
        to: at(10),
    };
    assert_eq!(spool.gap(), Some(gap));
    // A batch of the same time drops nothing more.
    spool.push(at(71), Instant::now(), batch(1));
    let newest = spool.next().expect("newest");
    assert_eq!(spool.gap(), Some(gap));
    spool.done(newest.id);
    assert_eq!(spool.gap(), None);
}

#[test]
fn a_refused_batch_leaves_a_gap_as_well() {
    let mut spool = memory(1 << 20);
    put(&mut spool, batch(1));
    let refused = spool.next().expect("batch");
    spool.lost(refused.id);
    assert_eq!(
        spool.gap(),
        Some(Gap {
            from: SECOND,
            to: SECOND
        })
    );
}

#[test]
fn the_newest_stays_first_in_line_when_it_could_not_be_sent() {
    let mut spool = memory(1 << 20);
    (1..=3).for_each(|n| put(&mut spool, batch(n)));
    for _ in 0..3 {
        let newest = spool.next().expect("newest");
        assert_eq!(newest.read().expect("whole")[0], 3);
        spool.failed(newest.id);
    }
    assert_eq!(drain(&mut spool), [3, 1, 2]);
}

#[test]
fn what_is_not_acknowledged_within_a_second_is_synced_and_nothing_else() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut spool = disk(dir.path(), 1 << 20);
    let start = Instant::now();
    assert!(matches!(spool.due(start), Due::Nothing));
    spool.push(SECOND, start, batch(1));
    assert!(matches!(spool.due(start), Due::At(at) if at == start + SYNC_AFTER));
    // Acknowledged in time: there is nothing left to lose.
    let first = spool.next().expect("batch");
    spool.done(first.id);
    assert!(matches!(spool.due(start + SYNC_AFTER), Due::Nothing));
    spool.push(2 * SECOND, start, batch(2));
    spool.push(3 * SECOND, start + SYNC_AFTER / 2, batch(3));
    let Due::Now(files, dir) = spool.due(start + SYNC_AFTER) else {
        panic!("a second has passed")
    };
    assert_eq!((files.len(), dir.is_some()), (1, true));
    assert!(matches!(spool.due(start + SYNC_AFTER), Due::Nothing));
    // The name of the segment is synced once; a later batch in it needs its bytes synced alone.
    spool.push(4 * SECOND, start + SYNC_AFTER, batch(4));
    assert!(matches!(spool.due(start + 2 * SYNC_AFTER), Due::Now(files, None) if files.len() == 1));
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "spool"));
    files.sort();
    files
}
