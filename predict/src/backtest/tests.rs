use std::fs;

use arrow::array::{Float64Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

/// Three hosts, one metric that climbs before each incident, ten minutes from sample to sample.
fn folder(dir: &Path, from_day: i64, days: i64) {
    let day = 86_400_000_i64;
    let (start, end) = (from_day * day, (from_day + days) * day);
    let (mut hosts, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut incidents = "incident_id,host,start,end,kind\n".to_owned();
    let mut scoring = "host,from,to,role\n".to_owned();
    for host in ["a", "b", "c"] {
        let phase = 5 * i64::from(host.as_bytes()[0] - b'a') * 3_600_000;
        scoring.push_str(&format!("{host},{},{end},dev\n", start + day / 2));
        let mut t = start;
        while t < end {
            // An incident each day at its own hour, which lasts an hour and is announced for two.
            let into = (t - phase).rem_euclid(day) - 20 * 3_600_000;
            let climb = if (-7_200_000..0).contains(&into) {
                1.0 + into as f64 / 7_200_000.0
            } else {
                0.0
            };
            hosts.push(host);
            times.push(t);
            values.push(10.0 + ((t / 600_000) % 7) as f64 * 0.1 + 5.0 * climb);
            if into == 0 {
                incidents.push_str(&format!("{host}-{t},{host},{t},{},crash\n", t + 3_600_000));
            }
            t += 600_000;
        }
    }
    let batch = RecordBatch::try_from_iter([
        ("host", Arc::new(StringArray::from(hosts)) as ArrayRef),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from(times)) as ArrayRef,
        ),
        ("queue", Arc::new(Float64Array::from(values)) as ArrayRef),
    ])
    .expect("batch");
    let file = File::create(dir.join("series.parquet")).expect("file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    fs::write(dir.join("incidents.csv"), incidents).expect("incidents");
    fs::write(dir.join("scoring.csv"), scoring).expect("scoring");
}

fn input(dataset: &Path, score: Option<&Path>) -> BacktestInput {
    BacktestInput {
        dataset: dataset.to_owned(),
        score: score.map(Path::to_owned),
        horizon: Horizon::HOUR,
        gap_ms: 0,
        stride_ms: 600_000,
        budget: 0.5,
        challenger: false,
        rows_max: 2_000,
        seed: 1,
    }
}

#[test]
fn a_folder_is_trained_on_and_the_next_one_scored() {
    let (one, two) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    folder(one.path(), 100, 12);
    folder(two.path(), 112, 3);
    let result = backtest(&input(one.path(), Some(two.path())), &mut |_| ()).expect("backtest");
    let e = result.evaluation.expect("evaluation");
    assert!(e.incidents >= 6, "{e}");
    assert!(e.warned * 3 >= e.incidents * 2, "{e}");
    let out = two.path().join("p.parquet");
    let scored = result.scored.expect("scores");
    write_predictions(&out, &scored, result.trained.model.threshold).expect("write");
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&out).expect("open")).expect("parquet");
    let names: Vec<String> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["host", "timestamp", "probability", "anomaly", "alert"]);
    let rows: usize = reader
        .build()
        .expect("rows")
        .map(|b| b.expect("batch").num_rows())
        .sum();
    assert_eq!(rows, scored.at.len());
    // The last three quarters of each host's labelled time are predicted by walk-forward.
    let first = result.trained.predictions.at.iter().min().expect("rows");
    assert_eq!(*first, (100 * 2 + 1) * 43_200_000 + (23 * 43_200_000) / 4);
}

#[test]
fn a_folder_without_series_uses_the_history_of_incidents() {
    let dir = tempfile::tempdir().expect("dir");
    folder(dir.path(), 100, 12);
    fs::remove_file(dir.path().join("series.parquet")).expect("remove");
    let result = backtest(&input(dir.path(), None), &mut |_| ()).expect("backtest");
    // Daily incidents at the same hour are what recurrence is for.
    assert!(
        result.trained.evaluation.pr_auc > 3.0 * result.trained.evaluation.base_rate,
        "{}",
        result.trained.evaluation
    );
    assert_eq!(result.trained.model.features.columns.len(), 0);
}

#[test]
fn a_host_of_the_same_name_that_is_said_to_be_new_or_tells_other_things_is_another_machine() {
    let (one, two) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    folder(one.path(), 100, 4);
    folder(two.path(), 104, 4);
    let count = |first: &Path, second: &Path| {
        let mut data = Tidy::read(first).expect("a folder");
        let before = data.telemetry.samples();
        let later = Tidy::read(second).expect("a folder");
        let own = later.telemetry.samples();
        data.join(later);
        (before, own, data.telemetry.samples(), data.incidents.len())
    };
    let (before, own, together, incidents) = count(one.path(), two.path());
    assert_eq!((together, incidents), (before + own, 24), "they continue");

    let scoring = fs::read_to_string(two.path().join("scoring.csv")).expect("scoring");
    fs::write(two.path().join("scoring.csv"), scoring.replace("dev", "unseen")).expect("scoring");
    let (_, own, together, incidents) = count(one.path(), two.path());
    assert_eq!((together, incidents), (own, 12), "their namesakes are forgotten");

    // The same folder again tells nothing new; one that begins a day later, with other values, contradicts it.
    let (before, _, together, incidents) = count(one.path(), one.path());
    assert_eq!((together, incidents), (before, 12));
    let three = tempfile::tempdir().expect("dir");
    folder(three.path(), 101, 4);
    let mut other = Tidy::read(three.path()).expect("a folder");
    other.telemetry = other.telemetry.map(|_, _, v| Some(v + 1.0));
    let own = other.telemetry.samples();
    let mut data = Tidy::read(one.path()).expect("a folder");
    data.join(other);
    assert_eq!(data.telemetry.samples(), own);
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let error = backtest(&input(dir.path(), None), &mut |_| ()).expect_err("nothing there");
    assert!(error.hint().expect("a hint").contains("scoring.csv"));
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("incidents.csv"), "{source}");
}
