//! Between the rows of a query and the bytes of Flight.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use futures::stream::try_unfold;
use futures::{Stream, TryStreamExt};
use tonic::Status;

use super::handle::PARAMETER_BYTES_MAX;
use super::status;
use crate::error::SqlError;
use crate::rows::RowStream;

/// The schema as it is told to clients before a query and with its rows. Planning and running may differ in what can be NULL,
/// and some clients refuse rows whose schema is not what was announced: so everything can be.
pub(super) fn offered(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The rows with the schema that was announced. More of them than Flight SQL may give end in an error: there is no place to say
/// that they were cut off.
pub(super) fn batches(
    rows: RowStream,
    schema: SchemaRef,
) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static {
    try_unfold((rows, schema), |(mut rows, schema)| async move {
        let Some(batch) = rows.next().await else {
            if rows.truncated() {
                let error = SqlError::TooManyRows { limit: rows.rows_max() };
                return Err(status(&error).into());
            }
            return Ok(None);
        };
        let batch = batch.map_err(|error| status(&error))?;
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    Ok(Arc::clone(column))
                } else {
                    cast(column, field.data_type())
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        Ok(Some((batch, (rows, schema))))
    })
}

/// A schema as the messages of Flight SQL carry it.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &arrow::ipc::writer::IpcWriteOptions::default())
        .try_into()
        .map_err(|error: arrow::error::ArrowError| {
            Status::internal(format!("the schema cannot be written: {error}"))
        })?;
    Ok(bytes)
}

/// The one row of parameters that a client sends.
pub(super) async fn parameters(stream: PeekableFlightDataStream) -> Result<RecordBatch, Status> {
    let mut batches = FlightRecordBatchStream::new_from_flight_data(stream.map_err(FlightError::from));
    let mut row: Option<RecordBatch> = None;
    while let Some(batch) = batches.try_next().await.map_err(Status::from)? {
        if batch.get_array_memory_size() > 2 * PARAMETER_BYTES_MAX {
            return Err(Status::resource_exhausted(format!(
                "the parameters have more than {PARAMETER_BYTES_MAX} bytes"
            )));
        }
        match batch.num_rows() {
            0 => {}
            1 if row.is_none() => row = Some(batch),
            _ => {
                return Err(Status::unimplemented(
                    "a statement is run with one row of parameters at a time: bind and execute each row by itself",
                ));
            }
        }
    }
    row.ok_or_else(|| Status::invalid_argument("no row of parameters was sent"))
}
