"""Reads the parts of a foreshock store with pyarrow, numpy and pcodec, without foreshock.

    import foreshock_parts
    table = foreshock_parts.read_part("data/tenants/default/parts/0000000007.parquet", metric="hw_temperature_celsius")

What the bytes mean is drawn in store/FORMAT.md; this file follows it, section by section.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pcodec import wrapped

FORMAT_VERSIONS = (b"1", b"2", b"3", b"4")
STALE_BITS = 0x7FF0000000000002
CUSTOM = -53
BLOCK = 64


def live_parts(store):
    """Paths of the live parts of a store's directory (the one with manifest.json), those that win last."""
    manifest = json.loads(Path(store, "manifest.json").read_text())["manifest"]
    return [Path(store, "parts", f"{part['id']:010}.parquet") for part in manifest["parts"]]


def live_rollups(store):
    """Paths of the live parts of rollups of a store's directory, with the seconds that their buckets are long."""
    manifest = json.loads(Path(store, "manifest.json").read_text())["manifest"]
    folder = Path(store, "rollups", "parts")
    return [(folder / f"{part['id']:010}.parquet", part["resolution_ms"] // 1000) for part in manifest.get("rollups", [])]


def read_series(path):
    """The table of a part's series: series, key, metric, host, device, labels, chunks, samples."""
    path = Path(path)
    return _open(path.with_name(path.name.removesuffix(".parquet") + ".series.parquet")).read()


def read_part(path, metric=None, host=None):
    """Long rows of a part: series, metric, host, timestamp, value; of one metric and one host where they are given.
    Native histograms are read by read_histograms."""
    series = read_series(path)
    for column, asked in (("metric", metric), ("host", host)):
        if asked is not None:
            series = series.filter(pc.equal(series[column], asked))
    wanted = series["series"].combine_chunks()
    chunks = _open(path).read()
    chunks = chunks.filter(pc.is_in(chunks["series"], value_set=wanted))
    chunks = chunks.filter(pc.less(pc.bit_wise_and(chunks["codec"], 0x7F), 64))
    numbers, timestamps, values = [], [], []
    for row in chunks.to_pylist():
        numbers.append(np.full(row["n"], row["series"], np.uint32))
        timestamps.append(decode_timestamps(row["ts"], row["n"]))
        values.append(decode_values(row["codec"], row["values"], row["n"]))
    number = pa.array(_joined(numbers, np.uint32))
    at = pc.index_in(number, value_set=wanted)
    instants = pa.array(_joined(timestamps, np.int64)).cast(pa.timestamp("ms", "UTC"))
    return pa.table(
        {
            "series": number,
            "metric": series["metric"].combine_chunks().take(at),
            "host": series["host"].combine_chunks().take(at),
            "timestamp": instants,
            "value": pa.array(_joined(values, np.float64), pa.float64()),
        }
    )


def read_histograms(path, metric=None):
    """Native histograms of a part, of one metric where it is given: a list of (series, timestamp in ms, histogram), a histogram as a
    dict of hint, schema, zero_threshold, zero_count, count, sum, positive and negative (index to count), bounds."""
    series = read_series(path)
    if metric is not None:
        series = series.filter(pc.equal(series["metric"], metric))
    chunks = _open(path).read()
    chunks = chunks.filter(pc.is_in(chunks["series"], value_set=series["series"].combine_chunks()))
    chunks = chunks.filter(_are_histograms(chunks["codec"]))
    found = []
    for row in chunks.to_pylist():
        timestamps = decode_timestamps(row["ts"], row["n"])
        histograms = decode_histograms(row["codec"], row["values"], row["n"])
        found += [(row["series"], int(t), h) for t, h in zip(timestamps, histograms, strict=True)]
    return found


def read_rollups(path, metric=None):
    """Rollups of a part of them, of one metric where it is given: a list of (series, buckets), buckets as a dict of ends (milliseconds),
    counts, sums, mins, maxs, and timestamps and values of the samples that were kept. A series has several where there are many."""
    series = read_series(path)
    if metric is not None:
        series = series.filter(pc.equal(series["metric"], metric))
    chunks = _open(path).read()
    chunks = chunks.filter(pc.is_in(chunks["series"], value_set=series["series"].combine_chunks()))
    chunks = chunks.filter(pc.equal(chunks["codec"], 80))
    return [(row["series"], decode_rollups(row["ts"], row["values"], row["n"])) for row in chunks.to_pylist()]


def decode_rollups(ts, blob, n):
    """Buckets of a chunk."""
    found, at = {"ends": decode_timestamps(ts, n)}, 0
    for name in ("counts", "sums", "mins", "maxs"):
        found[name], at = _column(blob, at, n)
    (kept,), at = _varints(blob, at, 1)
    found["timestamps"], found["values"] = np.array([], np.int64), np.array([], np.float64)
    if kept:
        (length,), at = _varints(blob, at, 1)
        found["timestamps"] = decode_timestamps(blob[at : at + length], kept)
        found["values"], at = _column(blob, at + length, kept)
    return found


def decode_histograms(codec, blob, n):
    """Native histograms of a chunk."""
    found, at = [], 0
    if codec == 64:
        while len(found) < n:
            at = _segment(blob, at, found)
    elif codec == 65:
        frame = None
        for _ in range(n):
            histogram, frame, at = _row(blob, at, frame)
            found.append(histogram)
    else:
        raise ValueError(f"unknown codec {codec} of histograms")
    return found


def decode_timestamps(blob, n):
    """Milliseconds of a chunk's samples."""
    kind, at = blob[0], 1
    grid = np.int64(0)
    if kind in (0, 1):
        (first, step), at = _varints(blob, at, 2)
        with np.errstate(over="ignore"):
            grid = np.int64(_signed(first)) + np.int64(_signed(step)) * np.arange(n, dtype=np.int64)
    if kind == 0:
        return grid
    if kind in (1, 2):
        return grid + _numbers(blob, at, n)
    if kind == 3:
        return _pco(blob[at:], n, "i64", np.int64)
    raise ValueError(f"unknown timestamps {kind}")


def decode_values(codec, blob, n):
    """Values of a chunk's samples."""
    if codec == 0:
        return np.frombuffer(blob, "<f8")
    if codec == 1:
        return np.full(n, np.frombuffer(blob.ljust(8, b"\0"), ">f8")[0])
    if codec == 5:
        return _pco(blob, n, "f64", np.float64)
    if codec == 7:
        return _pco_pages(blob, 0, n, "f64", np.float64)
    exceptions, at = [], 0
    if codec & 0x80:
        (count,), at = _varints(blob, at, 1)
        place = -1
        for _ in range(count):
            (distance,), at = _varints(blob, at, 1)
            place += distance + 1
            exceptions.append((place, blob[at : at + 8]))
            at += 8
    decimals, at = blob[at], at + 1
    if codec & 0x7F == 2:
        (first, step), at = _varints(blob, at, 2)
        mantissas = _signed(first) + _signed(step) * np.arange(n, dtype=np.int64)
    elif codec & 0x7F == 3:
        mantissas = _numbers(blob, at, n)
    elif codec & 0x7F == 4:
        mantissas = _pco(blob[at:], n, "i64", np.int64)
    elif codec & 0x7F == 6:
        mantissas = _pco_pages(blob, at, n, "i64", np.int64)
    else:
        raise ValueError(f"unknown codec {codec}")
    values = mantissas / 10.0**decimals
    for place, bits in exceptions:
        # As bits: a float on its way through Python could lose what kind of NaN it is.
        values.view(np.uint64)[place] = int.from_bytes(bits, "little")
    return values


def _column(blob, at, n):
    codec = blob[at]
    (length,), at = _varints(blob, at + 1, 1)
    return decode_values(codec, blob[at : at + length], n), at + length


def _are_histograms(codecs):
    return pc.and_(pc.greater_equal(codecs, 64), pc.less(codecs, 80))


def _frame(blob, at):
    """Schema, zero threshold and bounds."""
    schema, at = int.from_bytes(blob[at : at + 1], "little", signed=True), at + 1
    if schema != CUSTOM:
        return (schema, _float(blob, at), []), at + 8
    (count,), at = _varints(blob, at, 1)
    return (schema, 0.0, [_float(blob, at + 8 * i) for i in range(count)]), at + 8 * count


def _histogram(frame, hint, total, zero_count, positive, negative, count):
    if np.float64(total).view(np.uint64) == STALE_BITS:
        frame, zero_count, positive, negative, count = (0, 0.0, []), 0.0, {}, {}, 0.0
    elif count is None:
        count = zero_count
        for bucket in (*positive.values(), *negative.values()):
            count = count + bucket
    schema, zero_threshold, bounds = frame
    names = ("hint", "schema", "zero_threshold", "zero_count", "count", "sum", "positive", "negative", "bounds")
    return dict(zip(names, (hint, schema, zero_threshold, zero_count, count, total, positive, negative, bounds)))


def _segment(blob, at, found):
    (count,), at = _varints(blob, at, 1)
    frame, at = _frame(blob, at)
    sides = []
    for _ in range(2):
        (size,), at = _varints(blob, at, 1)
        indexes = []
        for i in range(size):
            (number,), at = _varints(blob, at, 1)
            indexes.append(_signed(number) if i == 0 else indexes[-1] + number + 1)
        sides.append(indexes)

    def column():
        nonlocal at
        values, at = _column(blob, at, count)
        return values

    hints, sums, zero_counts = column(), column(), column()
    told, at = blob[at], at + 1
    counts = column()
    positive, negative = ({index: column() for index in indexes} for indexes in sides)
    for i in range(count):
        buckets = [{index: values[i] for index, values in side.items() if values[i] != 0} for side in (positive, negative)]
        histogram = _histogram(frame, int(hints[i]), sums[i], zero_counts[i], *buckets, None if told else counts[i])
        if told and np.float64(sums[i]).view(np.uint64) != STALE_BITS:
            # What the column says is added to the sum of the buckets, not the other way round.
            histogram["count"] = counts[i] + histogram["count"]
        found.append(histogram)
    return at


def _row(blob, at, frame):
    flags, at = blob[at], at + 1
    if flags & 4:
        stale = np.uint64(STALE_BITS).view(np.float64)
        return _histogram((0, 0.0, []), flags & 3, stale, 0.0, {}, {}, 0.0), frame, at
    if not flags & 8:
        frame, at = _frame(blob, at)
    total, at = _float(blob, at), at + 8
    before = 0

    def number():
        nonlocal at, before
        if not flags & 16:
            value, at = _float(blob, at), at + 8
            return value
        (difference,), at = _varints(blob, at, 1)
        before += _signed(difference)
        return float(before)

    def buckets():
        nonlocal at
        (size,), at = _varints(blob, at, 1)
        found, index = {}, None
        for _ in range(size):
            (step,), at = _varints(blob, at, 1)
            index = _signed(step) if index is None else index + step + 1
            found[index] = number()
        return found

    custom = frame[0] == CUSTOM
    zero_count = 0.0 if custom else number()
    count = number() if flags & 32 else None
    positive = buckets()
    negative = {} if custom else buckets()
    return _histogram(frame, flags & 3, total, zero_count, positive, negative, count), frame, at


def _float(blob, at):
    return np.frombuffer(blob, "<f8", 1, at)[0]


def _open(path):
    file = pq.ParquetFile(path)
    version = (file.metadata.metadata or {}).get(b"foreshock.format_version")
    if version not in FORMAT_VERSIONS:
        raise ValueError(f"{path} has format version {version}, this reader knows {FORMAT_VERSIONS}")
    return file


def _joined(arrays, dtype):
    return np.concatenate(arrays) if arrays else np.array([], dtype)


def _signed(number):
    return (number >> 1) ^ -(number & 1)


def _varints(blob, at, count):
    found = []
    for _ in range(count):
        number = shift = 0
        while True:
            byte, at = blob[at], at + 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(number)
    return found, at


def _numbers(blob, at, n):
    """Packed integers: order, first of each order, least, factor, residuals."""
    order, at = blob[at], at + 1
    firsts, at = _varints(blob, at, order)
    (least, factor), at = _varints(blob, at, 2)
    residuals = _unpack(blob, at, n - order)
    numbers = (residuals * np.uint64(factor)).view(np.int64) + np.int64(_signed(least))
    for first in reversed(firsts):
        numbers = np.cumsum(np.concatenate(([np.int64(_signed(first))], numbers)), dtype=np.int64)
    return numbers


def _unpack(blob, at, n):
    """Blocks of 64: a byte with the width, then the numbers at that width, lowest bit first."""
    blocks = []
    for start in range(0, n, BLOCK):
        count, width = min(BLOCK, n - start), blob[at]
        size = (count * width + 7) // 8
        bits = np.unpackbits(np.frombuffer(blob, np.uint8, size, at + 1), bitorder="little")
        bits = bits[: count * width].reshape(count, width).astype(np.uint64)
        blocks.append((bits << np.arange(width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64))
        at += 1 + size
    return np.concatenate(blocks) if blocks else np.array([], np.uint64)


def _pco(blob, n, kind, dtype):
    """A wrapped pco file of one chunk and one page."""
    file, at = wrapped.FileDecompressor.new(blob)
    chunk, more = file.chunk_decompressor(blob[at:], kind)
    numbers = np.empty(n, dtype)
    chunk.read_page_into(blob[at + more :], n, numbers)
    return numbers


def _pco_pages(blob, at, n, kind, dtype):
    """A wrapped pco file of one chunk and several pages, behind their lengths."""
    (size,), at = _varints(blob, at, 1)
    lengths, at = _varints(blob, at, -(-n // size) - 1)
    file, more = wrapped.FileDecompressor.new(blob[at:])
    at += more
    chunk, more = file.chunk_decompressor(blob[at:], kind)
    at += more
    pages = []
    for length, first in zip([*lengths, len(blob)], range(0, n, size)):
        page = np.empty(min(size, n - first), dtype)
        chunk.read_page_into(blob[at : at + length], len(page), page)
        pages.append(page)
        at += length
    return np.concatenate(pages)
