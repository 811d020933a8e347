//! Calls as clients make them, without a socket: the service is a function of its requests.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::StreamExt;
use store::{Clock, LabelsBuf, StoreOptions};
use tonic::Code;

use super::*;
use crate::SqlOptions;

struct Setup {
    flight: FlightSql,
    _dir: tempfile::TempDir,
}

impl Setup {
    fn new(options: SqlOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = StoreOptions {
            clock: Clock::fixed(2_000_000),
            background: false,
            ..StoreOptions::default()
        };
        let tenants = Arc::new(Tenants::open(dir.path(), store).expect("opens"));
        for (tenant, values) in [("default", 1..=3), ("blue", 10..=10)] {
            let store = tenants.get_or_create(tenant).expect("a store");
            let (mut batch, mut labels) = (store.batch(), LabelsBuf::default());
            labels.push("__name__", "up");
            labels.push("host", tenant);
            let id = batch.series(&mut labels).expect("labels");
            for value in values {
                batch.push(id, i64::from(value) * 1000, f64::from(value));
            }
            store.append(batch).expect("appends");
        }
        let engine = SqlEngine::new(options).expect("an engine");
        let flight = FlightSql {
            engine: Arc::new(engine),
            tenants,
        };
        Self { flight, _dir: dir }
    }

    /// The rows of a query, by the two calls that clients make; they carry the schema that was announced.
    async fn rows(&self, sql: &str, tenant: Option<&'static str>) -> Result<RecordBatch, Status> {
        let command = CommandStatementQuery {
            query: sql.to_owned(),
            transaction_id: None,
        };
        let info = self
            .flight
            .get_flight_info_statement(command, asked(FlightDescriptor::default(), tenant))
            .await?
            .into_inner();
        let announced = info.clone().try_decode_schema().expect("a schema");
        let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
        let batch = gathered(self.flight.do_get(asked(ticket, tenant)).await?).await?;
        assert_eq!(*batch.schema(), announced, "{sql}");
        Ok(batch)
    }
}

fn asked<T>(message: T, tenant: Option<&'static str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(tenant) = tenant {
        request
            .metadata_mut()
            .insert(TENANT_HEADER, tonic::metadata::MetadataValue::from_static(tenant));
    }
    request
}

async fn gathered(response: Response<DoGet>) -> Result<RecordBatch, Status> {
    let data = response.into_inner().map_err(FlightError::from);
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data);
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.map_err(Status::from)?);
    }
    let schema = Arc::clone(stream.schema().expect("a schema comes first"));
    Ok(arrow::compute::concat_batches(&schema, &batches).expect("one schema"))
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).expect("the column is there");
    column
        .as_string::<i32>()
        .iter()
        .map(|t| t.unwrap_or("NULL").to_owned())
        .collect()
}

#[tokio::test]
async fn a_query_gives_its_rows_and_each_tenant_sees_its_own() {
    let setup = Setup::new(SqlOptions::default());
    let batch = setup
        .rows("SELECT timestamp, value, host, labels FROM samples ORDER BY 1", None)
        .await
        .expect("rows");
    assert_eq!((batch.num_rows(), texts(&batch, "host")[0].as_str()), (3, "default"));
    let batch = setup
        .rows("SELECT host FROM samples", Some("blue"))
        .await
        .expect("rows");
    assert_eq!(texts(&batch, "host"), ["blue"]);
    let none = setup
        .rows("SELECT host FROM samples WHERE value > 99", None)
        .await
        .expect("no rows");
    assert_eq!(none.num_rows(), 0);
    let stranger = setup.rows("SELECT 1", Some("red")).await.expect_err("no such tenant");
    assert_eq!(stranger.code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_no_query_is_refused_before_it_runs() {
    let setup = Setup::new(SqlOptions::default());
    for (sql, code, word) in [
        ("SELEC nonsense", Code::InvalidArgument, "SELEC"),
        ("SELECT nothing FROM samples", Code::InvalidArgument, "nothing"),
        ("DROP TABLE samples", Code::Unimplemented, "only queries"),
        (
            "INSERT INTO samples SELECT * FROM samples",
            Code::Unimplemented,
            "only queries",
        ),
        (
            "SET datafusion.execution.batch_size = 1",
            Code::Unimplemented,
            "only queries",
        ),
    ] {
        let error = setup.rows(sql, None).await.expect_err(sql);
        assert_eq!(error.code(), code, "{sql}: {error}");
        assert!(error.message().contains(word), "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_would_be_cut_off_ends_in_an_error() {
    let setup = Setup::new(SqlOptions {
        flight_rows_max: 2,
        ..SqlOptions::default()
    });
    assert_eq!(
        setup
            .rows("SELECT * FROM samples LIMIT 2", None)
            .await
            .expect("fits")
            .num_rows(),
        2
    );
    let error = setup.rows("SELECT * FROM samples", None).await.expect_err("three rows");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
}

#[tokio::test]
async fn a_prepared_statement_takes_parameters() {
    let setup = Setup::new(SqlOptions::default());
    let flight = &setup.flight;
    let action = ActionCreatePreparedStatementRequest {
        query: "SELECT value FROM samples WHERE host = ? AND value >= ? ORDER BY value".to_owned(),
        transaction_id: None,
    };
    let made = flight
        .do_action_create_prepared_statement(action, asked(Action::default(), None))
        .await
        .expect("prepared");
    assert!(!made.dataset_schema.is_empty() && !made.parameter_schema.is_empty());
    let run = async |handle: bytes::Bytes| {
        let command = CommandPreparedStatementQuery {
            prepared_statement_handle: handle,
        };
        let rows = flight
            .do_get_prepared_statement(command, asked(Ticket::default(), None))
            .await?;
        Ok::<_, Status>(gathered(rows).await?.num_rows())
    };
    let unbound = run(made.prepared_statement_handle.clone())
        .await
        .expect_err("nothing is bound");
    assert_eq!(unbound.code(), Code::InvalidArgument, "{unbound}");
    let hosts: ArrayRef = Arc::new(StringArray::from(vec!["default"]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let row = RecordBatch::try_from_iter([("$1", hosts), ("$2", values)]).expect("a row");
    let handle = Handle::decode(&made.prepared_statement_handle).expect("ours");
    let bound = handle.with_parameters(&row).expect("small").encode();
    assert_eq!(run(bound.into()).await.expect("rows"), 2);
    let strange = run("someone else's".into()).await.expect_err("not ours");
    assert_eq!(strange.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn tables_are_listed_by_name_and_with_their_columns() {
    let setup = Setup::new(SqlOptions::default());
    let tables = |pattern: Option<&str>| CommandGetTables {
        table_name_filter_pattern: pattern.map(str::to_owned),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let list = async |command| {
        let response = setup
            .flight
            .do_get_tables(command, asked(Ticket::default(), None))
            .await
            .expect("a list");
        gathered(response).await.expect("rows")
    };
    let all = list(tables(None)).await;
    assert_eq!(
        texts(&all, "table_name"),
        ["audit", "logs", "metrics", "rollups", "samples", "series"]
    );
    assert!(all.column_by_name("table_schema").expect("asked for").null_count() == 0);
    assert_eq!(texts(&list(tables(Some("sam%"))).await, "table_name"), ["samples"]);
    let counted = setup
        .rows("SELECT count(*) AS n FROM \"samples\"", None)
        .await
        .expect("counts");
    assert_eq!(counted.column(0).as_primitive::<Int64Type>().value(0), 3);
}

#[tokio::test]
async fn the_server_says_what_it_is_and_that_it_only_reads() {
    let setup = Setup::new(SqlOptions::default());
    let all = CommandGetSqlInfo { info: Vec::new() };
    let response = setup
        .flight
        .do_get_sql_info(all, asked(Ticket::default(), None))
        .await
        .expect("info");
    let info = gathered(response).await.expect("rows");
    let names = info.column(0).as_primitive::<arrow::datatypes::UInt32Type>();
    assert!(names.values().contains(&(SqlInfo::FlightSqlServerReadOnly as u32)));
    let types = CommandGetXdbcTypeInfo { data_type: None };
    let response = setup
        .flight
        .do_get_xdbc_type_info(types, asked(Ticket::default(), None))
        .await
        .expect("types");
    assert!(gathered(response).await.expect("rows").num_rows() > 5);
    // The two halves of a listing speak of the same columns.
    let asked_for = CommandGetPrimaryKeys {
        table: "samples".to_owned(),
        ..CommandGetPrimaryKeys::default()
    };
    let info = setup
        .flight
        .get_flight_info_primary_keys(asked_for.clone(), asked(FlightDescriptor::default(), None))
        .await
        .expect("info")
        .into_inner();
    let keys = setup
        .flight
        .do_get_primary_keys(asked_for, asked(Ticket::default(), None))
        .await
        .expect("keys");
    let keys = gathered(keys).await.expect("no rows");
    assert_eq!(
        (keys.num_rows(), info.try_decode_schema().expect("a schema")),
        (0, (*keys.schema()).clone())
    );
}
