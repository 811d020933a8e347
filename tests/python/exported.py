"""JSON lines in, Parquet out: pyarrow and DuckDB read from it what this script made, and VictoriaMetrics' form goes round.

    python tests/python/exported.py target/debug/foreshock
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

START = 1_795_305_600_000
ODD = [None, "NaN", "Infinity", "-Infinity", -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22]


def made(random):
    """Series by metric and labels; samples by timestamp, values as JSON says them."""
    series = {}
    for i in range(120):
        labels = {"host": f"host-{i % 7}", "name": f'é"\\ {i}'} | ({"job": "a,b"} if i % 3 else {})
        values = [random.choice(ODD) if random.random() < 0.05 else round(random.gauss(50, 20), 3) for _ in range(500)]
        at = [START + 15_000 * n + i % 5 for n in range(len(values))]
        series[(f"metric_{i % 10}", tuple(sorted(labels.items())))] = dict(zip(at, values))
    return series


def main(binary):
    def store(*arguments):
        subprocess.run([binary, "--log", "warn", "store", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)

    expected = made(random.Random(1))
    samples = sum(map(len, expected.values()))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        lines, parquet, back, data = (folder / name for name in ("in.jsonl", "out.parquet", "back.jsonl", "data"))
        with open(lines, "w") as file:
            for (metric, labels), values in expected.items():
                row = {"metric": {"__name__": metric} | dict(labels), "values": list(values.values()), "timestamps": list(values)}
                file.write(json.dumps(row) + "\n")
        store("import", "--data", data, lines)
        store("export", "--data", data, "--out", parquet)
        store("export", "--data", data, "--out", back)

        # JSON lines: the same texts for the same values.
        for line in back.read_text().splitlines():
            # "-0" is a number with a sign, which Python's integers have not.
            row = json.loads(line, parse_int=float)
            labels = row["metric"]
            key = (labels.pop("__name__"), tuple(sorted(labels.items())))
            assert same(dict(zip(row["timestamps"], row["values"])), expected[key]), f"JSON lines of {key}"

        # pyarrow: every sample.
        found = {}
        for batch in pq.ParquetFile(parquet).iter_batches():
            columns = [batch.column(name) for name in ("timestamp", "value", "metric", "labels", "host")]
            columns[0] = columns[0].cast("int64")
            for at, value, metric, labels, host in zip(*(column.to_pylist() for column in columns)):
                assert host == dict(labels)["host"], f"{host} is not in {labels}"
                found.setdefault((metric, tuple(sorted(labels))), {})[at] = value
        assert found.keys() == expected.keys(), "pyarrow finds other series"
        for key, values in expected.items():
            assert same(found[key], values), f"pyarrow finds other samples of {key}"

        # DuckDB: counts, and every sample of one series.
        rows = duckdb.sql(f"SELECT count(*), count(value), count(DISTINCT (metric, labels)) FROM '{parquet}'").fetchall()[0]
        values = sum(value is not None for series in expected.values() for value in series.values())
        assert rows == (samples, values, len(expected)), f"DuckDB counts {rows}, not {(samples, values, len(expected))}"
        (metric, labels), values = next(iter(expected.items()))
        where = " AND ".join(f"labels[{text(name)}] = {text(value)}" for name, value in [("name", dict(labels)["name"])])
        of_one = duckdb.sql(f"SELECT epoch_ms(timestamp), value FROM '{parquet}' WHERE metric = {text(metric)} AND {where}").fetchall()
        assert same(dict(of_one), values), f"DuckDB finds other samples of {metric}"
    print(f"{len(expected)} series, {samples} samples out and back: the same by pyarrow, DuckDB and JSON")


def number(value):
    if isinstance(value, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    return value


def same(a, b):
    def one(a, b):
        a, b = number(a), number(b)
        if a is None or b is None:
            return a is b
        return math.isnan(b) if math.isnan(a) else (a == b and math.copysign(1, a) == math.copysign(1, b))

    return a.keys() == b.keys() and all(one(a[at], b[at]) for at in a)


def text(value):
    return "'" + value.replace("'", "''") + "'"


if __name__ == "__main__":
    main(*sys.argv[1:])
