"""Checks foreshock_parts.py against the fixture: every sample, bit for bit.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pyarrow numpy pcodec
    /tmp/venv/bin/python notebooks/check_reader.py
"""

import json
import sys
from pathlib import Path

import numpy as np

import foreshock_parts

FIXTURES = Path(__file__).parent.parent / "fixtures/parts"
FIXTURE = FIXTURES / "v1"


def main():
    part = FIXTURE / "parts/0000000001.parquet"
    series = foreshock_parts.read_series(part).to_pylist()
    rows = foreshock_parts.read_part(part)
    number = rows["series"].to_numpy()
    timestamps = rows["timestamp"].cast("int64").to_numpy()
    bits = rows["value"].to_numpy().view(np.uint64)

    samples = 0
    lines = FIXTURE.joinpath("samples.jsonl").read_text().splitlines()
    assert len(lines) == len(series), f"{len(series)} series, {len(lines)} expected"
    for expected, found in zip(map(json.loads, lines), series):
        labels = dict(found["labels"]) | {"__name__": found["metric"]}
        assert labels == expected["labels"], f"{labels} is not {expected['labels']}"
        of_series = number == found["series"]
        assert of_series.sum() == found["samples"]
        assert timestamps[of_series].tolist() == expected["timestamps"], f"timestamps of {labels}"
        assert [f"{b:016x}" for b in bits[of_series]] == expected["values"], f"values of {labels}"
        samples += len(expected["values"])

    one = foreshock_parts.read_part(part, metric="up", host="a")
    assert one.num_rows == 480 and set(one["metric"].to_pylist()) == {"up"}
    print(f"{len(series)} series, {samples} samples: same to the bit")
    check_histograms(FIXTURES / "v2")
    check_histograms(FIXTURES / "v3")
    check_rollups(FIXTURES / "v4")
    return 0


def check_histograms(fixture):
    """Versions 2 and 3: numbers as before, native histograms beside them."""
    part = fixture / "parts/0000000001.parquet"
    series = foreshock_parts.read_series(part).to_pylist()
    rows = foreshock_parts.read_part(part)
    number, bits = rows["series"].to_numpy(), rows["value"].to_numpy().view(np.uint64)
    histograms = foreshock_parts.read_histograms(part)

    count = 0
    for expected, found in zip(map(json.loads, fixture.joinpath("samples.jsonl").read_text().splitlines()), series, strict=True):
        assert [f"{b:016x}" for b in bits[number == found["series"]]] == expected["values"]
        own = [shown(at, h) for of, at, h in histograms if of == found["series"]]
        assert own == expected["histograms"], f"histograms of {found['metric']}"
        count += len(own)
    print(f"{fixture.name}: {len(bits)} numbers, {count} native histograms: same to the bit")


def check_rollups(fixture):
    """Version 4: buckets, the samples of them that were kept, and histograms."""
    part = fixture / "parts/0000000001.parquet"
    series = foreshock_parts.read_series(part).to_pylist()
    rollups = foreshock_parts.read_rollups(part)
    histograms = foreshock_parts.read_histograms(part)
    assert foreshock_parts.read_part(part).num_rows == 0

    def hexadecimal(values):
        return [f"{b:016x}" for b in values.view(np.uint64)]

    count = 0
    for expected, found in zip(map(json.loads, fixture.joinpath("samples.jsonl").read_text().splitlines()), series, strict=True):
        own = [buckets for of, buckets in rollups if of == found["series"]]
        joined = {name: np.concatenate([buckets[name] for buckets in own]) for name in own[0]}
        assert joined["timestamps"].tolist() == expected["timestamps"], f"kept samples of {found['metric']}"
        assert hexadecimal(joined["values"]) == expected["values"], f"kept samples of {found['metric']}"
        assert joined["ends"].tolist() == expected["buckets"]["ends"]
        for name in ("counts", "sums", "mins", "maxs"):
            assert hexadecimal(joined[name]) == expected["buckets"][name], f"{name} of {found['metric']}"
        assert [shown(at, h) for of, at, h in histograms if of == found["series"]] == expected["histograms"]
        count += len(joined["ends"])
    print(f"{fixture.name}: {count} buckets: same to the bit")


def shown(at, histogram):
    def hexadecimal(number):
        return f"{np.float64(number).view(np.uint64):016x}"

    floats = {name: hexadecimal(histogram[name]) for name in ("zero_threshold", "zero_count", "count", "sum")}
    sides = {side: [[i, hexadecimal(n)] for i, n in sorted(histogram[side].items())] for side in ("positive", "negative")}
    bounds = [hexadecimal(bound) for bound in histogram["bounds"]]
    return {"timestamp": at, "hint": histogram["hint"], "schema": histogram["schema"], **floats, **sides, "bounds": bounds}


if __name__ == "__main__":
    sys.exit(main())
