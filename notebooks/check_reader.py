"""Checks foreshock_parts.py against the fixture: every sample, bit for bit.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pyarrow numpy pcodec
    /tmp/venv/bin/python notebooks/check_reader.py
"""

import json
import sys
from pathlib import Path

import numpy as np

import foreshock_parts

FIXTURE = Path(__file__).parent.parent / "fixtures/parts/v1"


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
    return 0


if __name__ == "__main__":
    sys.exit(main())
