"""The unmodified OpenTelemetry SDK exports metrics and logs over OTLP/HTTP; the values come back by PromQL and by SQL, and the rows of
logs lie in files that pyarrow and DuckDB read.

    otel_sdk.py PATH_TO_FORESHOCK
"""
import json
import logging
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource


def start(binary, data):
    """The server on a port of the system's choice; its first line of output says which."""
    server = subprocess.Popen(
        [binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--otlp-http", "off", "--otlp-grpc", "off", "--flight-sql", "off"],
        stdout=subprocess.PIPE,
        text=True,
    )
    line = server.stdout.readline()
    assert line.startswith("listening on http://"), line
    return server, line.split()[2]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def instant(base, expression):
    answer = get(f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    return answer["data"]["result"]


def export(base, compression):
    name = "none" if compression is Compression.NoCompression else "gzip"
    exporter = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", compression=compression)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=Resource({"service.name": f"shop-{name}", "host.name": "py-1"}))
    meter = provider.get_meter("conformance")
    counter = meter.create_counter("orders", unit="1")
    counter.add(3, {"kind": "book"})
    counter.add(4, {"kind": "toy"})
    meter.create_up_down_counter("queue.length").add(-2)
    meter.create_gauge("room.temperature", unit="Cel").set(21.5)
    histogram = meter.create_histogram("http.server.request.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0])
    for seconds in (0.05, 0.5, 5.0):
        histogram.record(seconds)
    assert provider.force_flush(), "the exporter was refused"
    provider.shutdown()

    def one(expression):
        rows = instant(base, expression)
        assert len(rows) == 1, (expression, rows)
        return float(rows[0]["value"][1])

    job = f'job="shop-{name}",host_name="py-1"'
    expected = {
        f'orders_total{{{job},kind="book"}}': 3,
        f'orders_total{{{job},kind="toy"}}': 4,
        f"queue_length{{{job}}}": -2,
        f"room_temperature_celsius{{{job}}}": 21.5,
        f'http_server_request_duration_seconds_bucket{{{job},le="0.1"}}': 1,
        f'http_server_request_duration_seconds_bucket{{{job},le="+Inf"}}': 3,
        f"http_server_request_duration_seconds_sum{{{job}}}": 5.55,
        f"http_server_request_duration_seconds_count{{{job}}}": 3,
    }
    for expression, value in expected.items():
        assert abs(one(expression) - value) < 1e-9, (expression, one(expression), value)
    return len(expected)


def select(base, sql):
    return get(f"{base}/api/v1/sql?" + urllib.parse.urlencode({"query": sql}))["rows"]


def logs(base, data):
    """Python's own logging through the SDK, searched by SQL before and after the rows are in a file."""
    provider = LoggerProvider(resource=Resource({"service.name": "shop", "host.name": "py-1"}))
    for compression in (Compression.NoCompression, Compression.Gzip):
        exporter = OTLPLogExporter(endpoint=f"{base}/v1/logs", compression=compression)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger("conformance")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.error("disk %s failed", "sda", extra={"hw.id": "sda", "errors": 3})
    logger.info("all is well")
    assert provider.force_flush(), "the exporter was refused"
    provider.shutdown()

    # Both exporters sent both records.
    question = (
        "SELECT host, service, severity, level, body, attributes['hw.id'] AS device, attributes['errors'] AS errors, count(*) AS n FROM logs "
        "WHERE timestamp > now() - INTERVAL '1 hour' GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY severity"
    )
    common = {"host": "py-1", "service": "shop", "n": 2}
    expected = [
        common | {"severity": 9, "level": "INFO", "body": "all is well", "device": None, "errors": None},
        common | {"severity": 17, "level": "ERROR", "body": "disk sda failed", "device": "sda", "errors": "3"},
    ]
    assert select(base, question) == expected, select(base, question)
    flush = urllib.request.Request(f"{base}/api/v1/admin/store/flush", method="POST")
    urllib.request.urlopen(flush, timeout=30).close()
    assert select(base, question) == expected, select(base, question)

    (path,) = Path(data, "tenants/default/tables").glob("logs-*.parquet")
    table = pq.read_table(path)
    assert table.num_rows == 4 and table["timestamp"].to_pylist() == sorted(table["timestamp"].to_pylist())
    bodies = sorted(table["body"].to_pylist())
    assert bodies == ["all is well"] * 2 + ["disk sda failed"] * 2, bodies
    failed = [dict(pairs) for pairs, severity in zip(table["attributes"].to_pylist(), table["severity"].to_pylist()) if severity == 17]
    assert all(pairs["hw.id"] == "sda" and pairs["errors"] == "3" for pairs in failed), failed
    found = duckdb.sql(f"SELECT level, count(*) FROM '{path}' WHERE host = 'py-1' GROUP BY level ORDER BY level").fetchall()
    assert found == [("ERROR", 2), ("INFO", 2)], found
    return table.num_rows


def main():
    with tempfile.TemporaryDirectory() as data:
        server, base = start(sys.argv[1], data)
        try:
            checked = sum(export(base, c) for c in (Compression.NoCompression, Compression.Gzip))
            sql = "SELECT DISTINCT value FROM samples WHERE host = 'py-1' AND metric = 'orders_total' ORDER BY value"
            rows = select(base, sql)
            assert rows == [{"value": 3.0}, {"value": 4.0}], rows
            records = logs(base, data)
        finally:
            server.terminate()
            started = time.monotonic()
            server.wait(timeout=30)
        assert server.returncode == 0, f"the server ended with {server.returncode} after {time.monotonic() - started:.1f} s"
    print(f"OpenTelemetry SDK: {checked} values written over OTLP/HTTP and read back by PromQL, and by SQL")
    print(f"OpenTelemetry SDK: {records} log records searched by SQL, and read from their file by pyarrow and DuckDB")


if __name__ == "__main__":
    main()
