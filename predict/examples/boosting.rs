//! Fits histogram gradient boosting to a table and says what it cost: the counterpart of `notebooks/boosting.py`.
//!
//! ```text
//! boosting TRAIN.parquet TEST.parquet REPEATS PREDICTED.parquet
//! ```
//! Tables have an `answer` column (boolean) and any number of float columns. Prints, for each repeat, CPU and wall seconds of
//! the fit and of the prediction as JSON; writes the predicted probabilities.

mod measure;

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float32Type;
use foreshock_predict::model::Boosting;
use linfa::Dataset;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2, Ix1, ShapeBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use measure::cpu;

fn read(path: &str) -> Result<Dataset<f32, bool, Ix1>, Box<dyn Error>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows())?;
    let width = builder.schema().fields().len() - 1;
    let mut records = Array2::zeros((rows, width).f());
    let mut answers = Vec::with_capacity(rows);
    for batch in builder.with_batch_size(65_536).build()? {
        let batch = batch?;
        let start = answers.len();
        let mut feature = 0;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name() == "answer" {
                answers.extend(column.as_boolean().iter().map(|v| v.unwrap_or(false)));
                continue;
            }
            for (i, v) in column.as_primitive::<Float32Type>().values().iter().enumerate() {
                records[(start + i, feature)] = *v;
            }
            feature += 1;
        }
    }
    Ok(Dataset::new(records, Array1::from(answers)))
}

#[expect(clippy::print_stdout, reason = "the figures are what was asked for")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, repeats, out] = arguments.as_slice() else {
        return Err("expected TRAIN.parquet TEST.parquet REPEATS PREDICTED.parquet".into());
    };
    let (train, test) = (read(train)?, read(test)?);
    let mut predicted = Array1::zeros(0);
    for _ in 0..repeats.parse::<usize>()? {
        let (started, before) = (Instant::now(), cpu()?);
        let model = Boosting::params().fit(&train)?;
        let (fit_wall, fit_cpu) = (started.elapsed(), cpu()? - before);
        let (started, before) = (Instant::now(), cpu()?);
        predicted = model.predict(test.records());
        let (predict_wall, predict_cpu) = (started.elapsed(), cpu()? - before);
        println!(
            r#"{{"fit_cpu": {:.4}, "fit_wall": {:.4}, "predict_cpu": {:.4}, "predict_wall": {:.4}}}"#,
            fit_cpu.as_secs_f64(),
            fit_wall.as_secs_f64(),
            predict_cpu.as_secs_f64(),
            predict_wall.as_secs_f64()
        );
    }
    let column: ArrayRef = Arc::new(Float64Array::from(predicted.to_vec()));
    let batch = RecordBatch::try_from_iter([("probability", column)])?;
    let mut writer = ArrowWriter::try_new(File::create(out)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
