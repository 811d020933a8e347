//! Arrow Flight SQL: what ADBC, JDBC and Grafana's Flight SQL plug-in speak.
//!
//! ```text
//! GetFlightInfo(query)      ─► plan ─► schema, ticket = the query itself
//! CreatePreparedStatement   ─► plan ─► schema, types of its parameters, handle = the query itself
//! DoPut(handle, parameters) ─► handle = query and parameters
//! DoGet(ticket or handle)   ─► run over a snapshot of that moment ─► batches as they are found
//! ```
//! Tickets and handles carry everything, so the server remembers nothing of its clients: there is nothing to expire or to bound,
//! and a restart between two calls goes unnoticed. The tenant is in the header `x-scope-orgid` of each call, as over HTTP.

mod handle;
mod metadata;
mod statement;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
    CommandStatementQuery, CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult,
    ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket};
use futures::{Stream, TryStreamExt};
use prost::Message;
use store::{Store, Tenants};
use tonic::{Request, Response, Status, Streaming};

use crate::engine::SqlEngine;
use crate::error::{SqlError, SqlErrorKind};
use handle::Handle;

/// The gRPC service; its routes lie under [`SERVICE`].
pub type FlightSqlServer = FlightServiceServer<FlightSql>;

/// The name of the service: its methods are `/{SERVICE}/{method}`.
pub const SERVICE: &str = "arrow.flight.protocol.FlightService";

/// The tenant of calls that name none, as over HTTP.
const DEFAULT_TENANT: &str = "default";
const TENANT_HEADER: &str = "x-scope-orgid";
/// What everything that would write is answered.
const READ_ONLY: &str = "Flight SQL only reads here: send SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN; \
                         samples are written by OTLP or remote write";

/// Answers Flight SQL over the stores of all tenants.
pub struct FlightSql {
    engine: Arc<SqlEngine>,
    tenants: Arc<Tenants>,
}

impl fmt::Debug for FlightSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightSql").finish_non_exhaustive()
    }
}

/// The service over `tenants`.
#[must_use]
pub fn server(engine: Arc<SqlEngine>, tenants: Arc<Tenants>) -> FlightSqlServer {
    FlightServiceServer::new(FlightSql { engine, tenants })
}

type DoGet = <FlightSql as FlightService>::DoGetStream;

impl FlightSql {
    /// The store of the tenant that the call is about.
    async fn store<T>(&self, request: &Request<T>) -> Result<Arc<Store>, Status> {
        let tenant = match request.metadata().get(TENANT_HEADER) {
            None => DEFAULT_TENANT,
            Some(named) => named
                .to_str()
                .map_err(|_| Status::invalid_argument("the header x-scope-orgid is no text"))?,
        };
        if let Some(store) = self.tenants.get(tenant) {
            return Ok(store);
        }
        if tenant != DEFAULT_TENANT {
            return Err(Status::not_found(format!(
                "there is no tenant {tenant:?}; one comes into being with the first sample written to it"
            )));
        }
        let tenants = Arc::clone(&self.tenants);
        tokio::task::spawn_blocking(move || tenants.get_or_create(DEFAULT_TENANT))
            .await
            .map_err(|_| Status::unavailable("the server is stopping"))?
            .map_err(|error| status(&SqlError::Store(error)))
    }

    /// The rows that `handle` asks for.
    async fn run(&self, store: &Arc<Store>, handle: Handle) -> Result<Response<DoGet>, Status> {
        let rows = self
            .engine
            .stream_statement(store, handle.into_statement()?)
            .await
            .map_err(|error| status(&error))?;
        let schema = statement::offered(rows.schema());
        let batches = statement::batches(rows, Arc::clone(&schema));
        Ok(encoded(&schema, batches))
    }
}

/// An answer in one batch.
fn one(batch: arrow_flight::error::Result<RecordBatch>) -> Result<Response<DoGet>, Status> {
    let batch = batch.map_err(Status::from)?;
    let schema = batch.schema();
    Ok(encoded(&schema, futures::stream::iter([Ok(batch)])))
}

fn encoded(
    schema: &SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<DoGet> {
    let data = FlightDataEncoderBuilder::new()
        .with_schema(Arc::clone(schema))
        .build(batches)
        .map_err(Status::from);
    Response::new(Box::pin(data))
}

/// Where to get the rows of `ticket`: here, over this connection.
fn info(
    schema: &arrow::datatypes::Schema,
    ticket: Vec<u8>,
    descriptor: FlightDescriptor,
) -> Result<Response<FlightInfo>, Status> {
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Status::internal(format!("the schema cannot be written: {error}")))?
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)))
        .with_descriptor(descriptor);
    Ok(Response::new(info))
}

/// An error as gRPC says it, with its hint.
fn status(error: &SqlError) -> Status {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    if let Some(hint) = error.hint() {
        text = format!("{text} ({hint})");
    }
    match error.kind() {
        SqlErrorKind::BadData | SqlErrorKind::Execution => Status::invalid_argument(text),
        // Not `permission_denied`: nobody may, whoever he is.
        SqlErrorKind::ReadOnly => Status::unimplemented(text),
        SqlErrorKind::TooLarge => Status::resource_exhausted(text),
        SqlErrorKind::Timeout => Status::deadline_exceeded(text),
        SqlErrorKind::Canceled => Status::cancelled(text),
        SqlErrorKind::Internal => {
            // The caller's own faults are his to read; ours are logged as well, because nobody else sees them.
            tracing::error!(detail = text, "a Flight SQL call failed");
            Status::internal(text)
        }
    }
}

type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// The two halves of a command that lists something: where to get it, and what it is. Written as `async_trait` writes them, which
/// does not look into macros.
macro_rules! listing {
    ($info:ident, $get:ident, $command:ty, $build:expr) => {
        fn $info<'life0, 'async_trait>(
            &'life0 self,
            command: $command,
            request: Request<FlightDescriptor>,
        ) -> Answering<'async_trait, FlightInfo>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            let build: fn(&Self, $command) -> arrow_flight::error::Result<RecordBatch> = $build;
            Box::pin(async move {
                let ticket = command.as_any().encode_to_vec();
                let schema = build(self, command).map_err(Status::from)?.schema();
                info(&schema, ticket, request.into_inner())
            })
        }

        fn $get<'life0, 'async_trait>(
            &'life0 self,
            command: $command,
            _: Request<Ticket>,
        ) -> Answering<'async_trait, DoGet>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            let build: fn(&Self, $command) -> arrow_flight::error::Result<RecordBatch> = $build;
            Box::pin(async move { one(build(self, command)) })
        }
    };
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    /// Whoever checks tokens in front of this service leaves the login of a call that may pass in its headers, and adds to the
    /// answer what the client is to go on with.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        if request.metadata().contains_key("authorization") {
            return Ok(Response::new(Box::pin(futures::stream::empty())));
        }
        Err(Status::unimplemented(
            "this server has no users: connect without user and password",
        ))
    }

    async fn get_flight_info_statement(
        &self,
        command: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let store = self.store(&request).await?;
        let handle = Handle::new(command.query);
        let described = self
            .engine
            .describe(&store, handle.sql())
            .await
            .map_err(|error| status(&error))?;
        let ticket = TicketStatementQuery {
            statement_handle: handle.encode().into(),
        };
        let schema = statement::offered(&described.schema);
        info(&schema, ticket.as_any().encode_to_vec(), request.into_inner())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let store = self.store(&request).await?;
        self.run(&store, Handle::decode(&ticket.statement_handle)?).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        action: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let store = self.store(&request).await?;
        let handle = Handle::new(action.query);
        let described = self
            .engine
            .describe(&store, handle.sql())
            .await
            .map_err(|error| status(&error))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.encode().into(),
            dataset_schema: statement::schema_bytes(&statement::offered(&described.schema))?,
            parameter_schema: statement::schema_bytes(&described.parameters)?,
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let handle = Handle::decode(&command.prepared_statement_handle)?;
        let parameters = statement::parameters(request.into_inner()).await?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle.with_parameters(&parameters)?.encode().into()),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let store = self.store(&request).await?;
        let handle = Handle::decode(&command.prepared_statement_handle)?;
        let described = self
            .engine
            .describe(&store, handle.sql())
            .await
            .map_err(|error| status(&error))?;
        let schema = statement::offered(&described.schema);
        info(&schema, command.as_any().encode_to_vec(), request.into_inner())
    }

    async fn do_get_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let store = self.store(&request).await?;
        self.run(&store, Handle::decode(&command.prepared_statement_handle)?)
            .await
    }

    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        // The handle was everything that there was.
        Ok(())
    }

    listing!(get_flight_info_catalogs, do_get_catalogs, CommandGetCatalogs, |_, c| {
        metadata::catalogs(c)
    });
    listing!(get_flight_info_schemas, do_get_schemas, CommandGetDbSchemas, |_, c| {
        metadata::schemas(c)
    });
    listing!(get_flight_info_tables, do_get_tables, CommandGetTables, |me, c| {
        metadata::tables(
            c,
            &me.engine.tables().map_err(|error| FlightError::from(status(&error)))?,
        )
    });
    listing!(
        get_flight_info_table_types,
        do_get_table_types,
        CommandGetTableTypes,
        |_, c| metadata::table_types(c)
    );
    listing!(get_flight_info_sql_info, do_get_sql_info, CommandGetSqlInfo, |_, c| {
        metadata::sql_info(c)
    });
    listing!(
        get_flight_info_xdbc_type_info,
        do_get_xdbc_type_info,
        CommandGetXdbcTypeInfo,
        |_, c| metadata::types(c)
    );
    listing!(
        get_flight_info_primary_keys,
        do_get_primary_keys,
        CommandGetPrimaryKeys,
        |_, _| Ok(metadata::no_primary_keys())
    );
    listing!(
        get_flight_info_exported_keys,
        do_get_exported_keys,
        CommandGetExportedKeys,
        |_, _| Ok(metadata::no_foreign_keys())
    );
    listing!(
        get_flight_info_imported_keys,
        do_get_imported_keys,
        CommandGetImportedKeys,
        |_, _| Ok(metadata::no_foreign_keys())
    );
    listing!(
        get_flight_info_cross_reference,
        do_get_cross_reference,
        CommandGetCrossReference,
        |_, _| Ok(metadata::no_foreign_keys())
    );

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_put_fallback(
        &self,
        _: Request<PeekableFlightDataStream>,
        _: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(Status::unimplemented(READ_ONLY))
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        // Clients take this code for "an older server" and go on without.
        Err(Status::unimplemented(format!(
            "there is no action {:?} here",
            request.get_ref().r#type
        )))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

#[cfg(test)]
mod tests;
