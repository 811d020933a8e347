"""The unmodified OpenTelemetry SDK exports over OTLP/HTTP; the values come back by PromQL and by SQL.

    otel_sdk.py PATH_TO_FORESHOCK
"""
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
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


def main():
    with tempfile.TemporaryDirectory() as data:
        server, base = start(sys.argv[1], data)
        try:
            checked = sum(export(base, c) for c in (Compression.NoCompression, Compression.Gzip))
            sql = "SELECT DISTINCT value FROM samples WHERE host = 'py-1' AND metric = 'orders_total' ORDER BY value"
            rows = get(f"{base}/api/v1/sql?" + urllib.parse.urlencode({"query": sql}))["rows"]
            assert rows == [{"value": 3.0}, {"value": 4.0}], rows
        finally:
            server.terminate()
            started = time.monotonic()
            server.wait(timeout=30)
        assert server.returncode == 0, f"the server ended with {server.returncode} after {time.monotonic() - started:.1f} s"
    print(f"OpenTelemetry SDK: {checked} values written over OTLP/HTTP and read back by PromQL, and by SQL")


if __name__ == "__main__":
    main()
