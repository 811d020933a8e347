//! What clients ask about the server, its tables and its types.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::{FlightError, Result};
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType,
};

use crate::engine::{CATALOG, SCHEMA};

const TABLE: &str = "TABLE";

/// What the server is and can do.
static SQL_INFO: LazyLock<std::result::Result<SqlInfoData, String>> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Foreshock");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    // The version of Arrow's format, not of a library: 1.3 (Schema.fbs).
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.build().map_err(|error| error.to_string())
});

/// The types of the columns here, for JDBC. Sizes as ODBC counts them (SQLGetTypeInfo): digits, or characters.
static TYPES: LazyLock<std::result::Result<XdbcTypeInfoData, String>> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let quoted = Some("'");
    for (name, of, size, quote) in [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
        ("INTEGER", XdbcDataType::XdbcInteger, 10, None),
        ("BIGINT", XdbcDataType::XdbcBigint, 19, None),
        ("DOUBLE", XdbcDataType::XdbcDouble, 15, None),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, quoted),
        ("DATE", XdbcDataType::XdbcDate, 10, quoted),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, quoted),
    ] {
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: of,
            column_size: Some(size),
            literal_prefix: quote.map(str::to_owned),
            literal_suffix: quote.map(str::to_owned),
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: quote.is_some(),
            searchable: Searchable::Full,
            unsigned_attribute: quote.is_none().then_some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: of,
            datetime_subcode: None,
            num_prec_radix: quote.is_none().then_some(10),
            interval_precision: None,
        });
    }
    types.build().map_err(|error| error.to_string())
});

pub(super) fn sql_info(command: CommandGetSqlInfo) -> Result<RecordBatch> {
    let info = SQL_INFO
        .as_ref()
        .map_err(|error| FlightError::protocol(error.clone()))?;
    command.into_builder(info).build()
}

pub(super) fn types(command: CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    let types = TYPES.as_ref().map_err(|error| FlightError::protocol(error.clone()))?;
    command.into_builder(types).build()
}

pub(super) fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut names = command.into_builder();
    names.append(CATALOG);
    names.build()
}

pub(super) fn schemas(command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut names = command.into_builder();
    names.append(CATALOG, SCHEMA);
    names.build()
}

pub(super) fn tables(command: CommandGetTables, tables: &[(String, SchemaRef)]) -> Result<RecordBatch> {
    let mut list = command.into_builder();
    for (name, schema) in tables {
        list.append(CATALOG, SCHEMA, name, TABLE, schema)?;
    }
    list.build()
}

pub(super) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut types = command.into_builder();
    types.append(TABLE);
    types.build()
}

/// Nothing, in the columns of `GetPrimaryKeys` (FlightSql.proto).
pub(super) fn no_primary_keys() -> RecordBatch {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ])))
}

/// Nothing, in the columns of `GetExportedKeys`, `GetImportedKeys` and `GetCrossReference` (FlightSql.proto).
pub(super) fn no_foreign_keys() -> RecordBatch {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])))
}
