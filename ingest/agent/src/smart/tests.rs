use proptest::prelude::*;

use super::*;
use report::Values;

/// Attributes of a disk as one line.
fn line(values: &Values) -> String {
    let attributes: Vec<String> = values
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{} {:?} {}",
        values.failing,
        values.endurance_remaining,
        attributes.join(" ")
    )
}

/// An NVMe health log with these bytes at these places, after the figure of the specification.
fn log(bytes: &[(usize, &[u8])]) -> [u8; nvme::LOG_BYTES] {
    let mut log = [0; nvme::LOG_BYTES];
    for (at, bytes) in bytes {
        log[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    log
}

#[test]
fn a_health_log_is_read_as_the_specification_draws_it() {
    let values = nvme::parse(&log(&[
        (0, &[0]),
        (1, &[0x2c, 0x01]),
        (3, &[97, 10, 4]),
        (32, &[0x15, 0xcd, 0x5b, 0x07]),
        (48, &[1, 0, 0, 0, 1]),
        (112, &[0x2a]),
        (128, &[0x10, 0x27]),
        (144, &[3]),
        (160, &[2]),
        (176, &[0xff; 16]),
        (196, &[5]),
    ]));
    assert_eq!(
        line(&values),
        "false Some(0.96) critical_warning=0 available_spare=97 available_spare_threshold=10 percentage_used=4 \
         data_units_read=123456789 data_units_written=4294967297 power_cycles=42 power_on_hours=10000 unsafe_shutdowns=3 \
         media_errors=2 error_log_entries=18446744073709551615 warning_temperature_minutes=0 critical_temperature_minutes=5"
    );
}

#[test]
fn warnings_of_heat_pass_and_others_do_not_and_worn_out_is_nothing_left() {
    let failing = |warning: u8| nvme::parse(&log(&[(0, &[warning])])).failing;
    assert_eq!([0, 1, 2, 4, 8, 16].map(failing), [false, true, false, true, true, true]);
    let left = nvme::parse(&log(&[(5, &[130])])).endurance_remaining;
    assert_eq!(left, Some(0.0));
}

/// A page of ATA's: rows from the third byte on, and the byte that makes the sum right.
fn page(rows: &[&[u8]]) -> [u8; ata::PAGE_BYTES] {
    let mut page = [0; ata::PAGE_BYTES];
    page[0] = 16;
    for (row, place) in rows.iter().zip(page[2..362].chunks_exact_mut(12)) {
        place[..row.len()].copy_from_slice(row);
    }
    let sum = page.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    page[511] = sum.wrapping_neg();
    page
}

/// Number, flags, normalised value, worst value, raw value.
const REALLOCATED: [u8; 11] = [5, 0x33, 0, 100, 100, 8, 1, 0, 0, 0, 0];
const HOURS: [u8; 11] = [9, 0x32, 0, 90, 90, 0x10, 0x27, 0, 0, 0xab, 0xcd];
const TIMEOUTS: [u8; 11] = [188, 0x32, 0, 100, 99, 4, 0, 4, 0, 5, 0];
const PENDING: [u8; 11] = [197, 0x12, 0, 100, 100, 16, 0, 0, 0, 0, 0];
const WEAR: [u8; 11] = [177, 0x13, 0, 93, 93, 120, 0, 0, 0, 0, 0];
const UNKNOWN: [u8; 11] = [240, 0x32, 0, 100, 100, 1, 2, 3, 4, 5, 6];

#[test]
fn attributes_are_read_without_what_makers_keep_beside_them() {
    let data = page(&[&REALLOCATED, &HOURS, &TIMEOUTS, &PENDING, &WEAR, &UNKNOWN]);
    let thresholds = page(&[&[5, 10], &[9, 0], &[197, 0]]);
    let values = ata::parse(&data, &thresholds).expect("whole pages");
    assert_eq!(
        line(&values),
        "false Some(0.93) reallocated_sectors=264 power_on_hours=10000 command_timeouts=4 pending_sectors=16"
    );
}

#[test]
fn a_pre_failure_attribute_at_its_threshold_is_a_failure_to_come_and_an_old_one_is_not() {
    let failing = |flags: u8, current: u8, threshold: u8| {
        let data = page(&[&[5, flags, 0, current, current]]);
        ata::parse(&data, &page(&[&[5, threshold]])).expect("whole").failing
    };
    assert!(failing(1, 10, 10) && failing(3, 9, 10));
    assert!(!failing(1, 11, 10), "above it");
    assert!(!failing(2, 5, 10), "age, not failure");
    assert!(!failing(1, 0, 0) && !failing(1, 5, 255), "no threshold");
}

#[test]
fn a_page_with_a_wrong_sum_is_none_and_thresholds_may_be_missing() {
    let mut data = page(&[&REALLOCATED]);
    let rubbish = [7; ata::PAGE_BYTES];
    assert!(ata::parse(&data, &rubbish).is_some_and(|values| !values.failing));
    data[100] ^= 1;
    assert_eq!(ata::parse(&data, &rubbish), None);
    assert_eq!(
        ata::parse(&[0; ata::PAGE_BYTES], &rubbish),
        None,
        "no disk says nothing at all"
    );
}

#[test]
fn a_host_without_disks_has_an_empty_report_and_a_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let out = dir.path().join("report");
    assert_eq!(write_report(&dir.path().join("sys"), &out).expect("written"), 0);
    let report = read_report(&out).expect("read");
    assert!(report.disks.is_empty() && report.unix_nanos > 0);
    let error = write_report(dir.path(), &dir.path().join("nowhere/report")).expect_err("no folder");
    assert!(error.to_string().contains("nowhere/report"), "{error}");
    // A disk of /sys that /dev does not have is left out.
    fs::create_dir_all(dir.path().join("sys/block/sdzz9")).expect("folder");
    assert_eq!(write_report(&dir.path().join("sys"), &out).expect("written"), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_is_read_as_it_was_written(
        unix_nanos: u64,
        disks in proptest::collection::vec(
            ("[a-z0-9]{1,9}", "[!-~]{1,20}", any::<bool>(), proptest::option::of(0.0..=1.0f64),
             proptest::collection::vec(("[a-z_]{1,12}", any::<u64>()), 0..5)),
            0..4,
        ),
    ) {
        let disks = disks.into_iter().map(|(slot, id, failing, endurance_remaining, attributes)| DiskHealth {
            id, slot, values: Values { failing, endurance_remaining, attributes },
        }).collect();
        let report = Report { unix_nanos, disks };
        prop_assert_eq!(Report::parse(&report.text()), Some(report));
    }

    #[test]
    fn no_bytes_and_no_text_make_it_stumble(
        mut bytes in proptest::collection::vec(any::<u8>(), 512), other in proptest::collection::vec(any::<u8>(), 512),
        text in "(foreshock disk health 1 )?[0-9a-z .\n-]{0,80}",
    ) {
        let page = |bytes: &[u8]| <[u8; 512]>::try_from(bytes).expect("512 bytes");
        nvme::parse(&page(&bytes));
        let sum = bytes[..511].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[511] = sum.wrapping_neg();
        prop_assert!(ata::parse(&page(&bytes), &page(&other)).is_some());
        Report::parse(&text);
    }
}
