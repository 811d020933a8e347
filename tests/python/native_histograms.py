"""Native histograms against Prometheus: the same samples into both by remote write, the same expressions to both.

    cargo build
    python3 tests/python/native_histograms.py --prometheus /path/to/prometheus --foreshock target/debug/foreshock --seed 1

Needs a Prometheus 3.5 binary and nothing from outside Python's standard library. Both servers run on free ports of the loopback
interface with data in a temporary directory, which goes afterwards. Every difference is printed; the exit status is 1 if there is one.

Not asked, because Prometheus 3.5 itself answers by how its storage has cut its chunks, in which empty buckets stay that were never sent:
quantiles of histograms with negative counts (the first bucket is found, whether or not it is empty), of histograms with NaN observations
whose highest bucket is empty (3.5 goes on with the last bucket of all instead of the one that it has found), and within the bucket around
zero before there are negative observations (a bucket that will have some later makes its lower end count). What Prometheus answers
differently when it is asked again is counted on its own: 3.5 sometimes hands out histograms without their buckets, next to a query that
needs none.
"""

import argparse
import json
import math
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

STEP_MS = 15_000
SAMPLES = 240
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


# Remote write 1.0 -----------------------------------------------------------------------------------------------------------------


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return (number << 1) ^ (number >> 63)


def field(number, content):
    if isinstance(content, float):
        return varint(number << 3 | 1) + struct.pack("<d", content)
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def message_of(at, h):
    """A histogram; counts are integers unless it says `float`."""
    out = field(2, float(h["count"])) if h.get("float") else field(1, h["count"])
    out += field(3, float(h["sum"])) + field(4, zigzag(h["schema"])) + field(5, float(h.get("threshold", 0.0)))
    zero = h.get("zero", 0)
    out += field(7, float(zero)) if h.get("float") else field(6, zero)
    for spans_field, side in ((8, "negative"), (11, "positive")):
        buckets = sorted(h.get(side, {}).items())
        at_index, before, deltas, counts = 0, 0, b"", b""
        for i, (index, count) in enumerate(buckets):
            offset = index if i == 0 else index - at_index
            out += field(spans_field, field(1, zigzag(offset)) + field(2, 1))
            at_index = index + 1
            deltas += varint(zigzag(int(count) - before))
            counts += struct.pack("<d", float(count))
            before = int(count)
        if buckets and h.get("float"):
            out += field(spans_field + 2, counts)
        elif buckets:
            out += field(spans_field + 1, deltas)
    out += field(14, h.get("hint", 0)) + field(15, at)
    if "bounds" in h:
        out += field(16, b"".join(struct.pack("<d", b) for b in h["bounds"]))
    return out


def request_of(series):
    """A WriteRequest of (labels, numbers, histograms), compressed by snappy's block format, of literals alone."""
    body = b""
    for labels, numbers, histograms in series:
        message = b"".join(field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items()))
        message += b"".join(field(2, field(1, v) + field(2, at)) for at, v in numbers)
        message += b"".join(field(4, message_of(at, h)) for at, h in histograms)
        body += field(1, message)
    out = varint(len(body))
    for start in range(0, len(body), 65_536):
        piece = body[start : start + 65_536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return out


def post(url, body, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


# Samples ---------------------------------------------------------------------------------------------------------------------------


def counter(rng, times, schema, threshold=0.001, resets=(), negative=False, schema_from=None, wide=1, full=False):
    """A cumulative histogram whose buckets fill; it restarts at `resets`, and is cut coarser from `schema_from` on.

    Where it is `full`, every bucket that will ever be has an observation from the start."""
    out, state = [], None
    for i, at in enumerate(times):
        own = schema_from[1] if schema_from and i >= schema_from[0] else schema
        if state is None or i in resets or (schema_from and i == schema_from[0]):
            state = {"positive": dict.fromkeys(range(-20, 21), 1) if full else {}, "negative": {}, "zero": 0, "sum": 0.0}
            if negative:
                state["negative"][1] = 1
        for _ in range(rng.randrange(1, 12)):
            index = max(-20 * wide, min(20 * wide, round(rng.gauss(0, 4 * wide))))
            state["positive"][index] = state["positive"].get(index, 0) + 1
            state["sum"] += 2.0 ** (index / 2**own)
        if negative and rng.random() < 0.5:
            index = round(rng.gauss(1, 2))
            state["negative"][index] = state["negative"].get(index, 0) + 1
            state["sum"] -= 2.0 ** (index / 2**own)
        if rng.random() < 0.3:
            state["zero"] += 1
        out.append((at, shown(state, own, threshold)))
    return out


def shown(state, schema, threshold, **more):
    positive, negative = dict(state["positive"]), dict(state["negative"])
    count = sum(positive.values()) + sum(negative.values()) + state["zero"]
    total = round(state["sum"] * 1024) / 1024
    told = {"schema": schema, "threshold": threshold, "zero": state["zero"], "sum": total, "count": count}
    return {**told, "positive": positive, "negative": negative, **more}


def gauge(rng, times, schema):
    out = []
    for at in times:
        positive = {i: rng.randrange(1, 9) for i in rng.sample(range(-6, 7), rng.randrange(1, 8))}
        state = {"positive": positive, "negative": {}, "zero": rng.randrange(3), "sum": rng.uniform(0, 50)}
        out.append((at, shown(state, schema, 0.001, hint=3)))
    return out


def floats(rng, times, schema):
    out, buckets, total = [], {}, 0.0
    for at in times:
        for index in rng.sample(range(-5, 6), 3):
            buckets[index] = buckets.get(index, 0.0) + rng.uniform(0.1, 2)
        total += rng.uniform(0.1, 3)
        told = {"schema": schema, "threshold": 0.01, "zero": 0.5, "sum": total, "count": sum(buckets.values()) + 0.5}
        out.append((at, {**told, "positive": dict(buckets), "float": True}))
    return out


def custom(rng, times, bounds, resets=()):
    out, buckets, total = [], {}, 0.0
    for i, at in enumerate(times):
        if i in resets:
            buckets, total = {}, 0.0
        for _ in range(rng.randrange(1, 6)):
            index = rng.randrange(len(bounds) + 1)
            buckets[index] = buckets.get(index, 0) + 1
            total += index * 0.75
        out.append((at, {"schema": -53, "sum": total, "count": sum(buckets.values()), "positive": dict(buckets), "bounds": bounds}))
    return out


def generated(rng, now_ms):
    times = [now_ms - (SAMPLES - i) * STEP_MS for i in range(SAMPLES)]
    series = []

    def add(name, labels, numbers=(), histograms=()):
        series.append(({"__name__": name, **labels}, list(numbers), list(histograms)))

    for i, (schema, resets) in enumerate([(0, ()), (3, (100, 180)), (3, ()), (8, ()), (-2, (60,)), (5, ())]):
        labels = {"host": f"h{i}", "zone": "ab"[i % 2]}
        add("requests_seconds", labels, histograms=counter(rng, times, schema, resets=resets, negative=i == 2, wide=2 ** max(0, schema - 3)))
    add("requests_seconds", {"host": "h6", "zone": "a"}, histograms=counter(rng, times, 4, schema_from=(150, 2)))
    add("requests_seconds", {"host": "h7", "zone": "b"}, histograms=counter(rng, times, 3, threshold=2.0))
    gone = counter(rng, times[:120], 3)
    gone.append((times[120], {"schema": 0, "sum": STALE, "count": 0}))
    add("requests_seconds", {"host": "h8", "zone": "b"}, histograms=gone)
    add("gaps_seconds", {"host": "h0"}, histograms=[s for i, s in enumerate(counter(rng, times, 2)) if i % 40 < 25])
    for i in range(2):
        add("sizes", {"host": f"h{i}"}, histograms=gauge(rng, times, 1 + i))
        add("shares", {"host": f"h{i}"}, histograms=floats(rng, times, i))
    # Numbers first, histograms later; numbers and histograms side by side under one name; classic buckets beside a native histogram.
    for i, (bounds, resets) in enumerate([([0.5, 1.0, 2.5], ()), ([0.5, 1.0, 2.5], (90,)), ([-1.0, 1.0, 3.0], ())]):
        add("own_bounds", {"host": f"h{i}", "zone": "ab"[i // 2]}, (), custom(rng, times, bounds, resets))
    half = len(times) // 2
    add("turned_total", {"host": "h0"}, [(t, float(i)) for i, t in enumerate(times[:half])], counter(rng, times[half:], 3))
    add("both", {"kind": "number"}, [(t, float(i % 17)) for i, t in enumerate(times)])
    add("both", {"kind": "histogram"}, (), counter(rng, times, 3))
    for le in ("0.5", "1", "2", "+Inf"):
        add("latency", {"le": le}, [(t, float(int(i * (1 + len(le))))) for i, t in enumerate(times)])
    add("latency", {}, (), counter(rng, times, 3))
    add("hosts", {"host": "h0"}, [(t, 2.0 + i % 3) for i, t in enumerate(times)])
    add("hosts", {"host": "h1"}, [(t, 0.0) for t in times])
    empty = {"schema": 3, "threshold": 0.001, "zero": 0, "sum": 0.0, "count": 0}
    add("empty", {"host": "h0"}, (), [(t, empty) for t in times])
    lost = counter(rng, times, 3, full=True)
    add("nan_seconds", {}, (), [(t, {**h, "sum": math.nan, "count": h["count"] + i}) for i, (t, h) in enumerate(lost)])
    return series


# Expressions -----------------------------------------------------------------------------------------------------------------------

SELECTORS = [
    "requests_seconds", 'requests_seconds{host="h1"}', 'requests_seconds{host=~"h[23]"}', 'requests_seconds{zone="b"}', "gaps_seconds",
    "sizes", "shares", "turned_total", "both", "latency", "empty", "nan_seconds", 'requests_seconds{host="h8"}', 'requests_seconds{host="h6"}',
    '{__name__=~"sizes|shares"}', "own_bounds", 'own_bounds{zone="a"}', '{__name__=~"own_bounds|gaps_seconds"}',
]
RANGES = ["30s", "1m", "5m", "17m", "40m"]
RANGE_FUNCTIONS = [
    "rate", "increase", "delta", "irate", "idelta", "resets", "changes", "count_over_time", "sum_over_time", "avg_over_time", "last_over_time",
    "present_over_time", "min_over_time", "max_over_time", "stddev_over_time", "stdvar_over_time", "deriv", "absent_over_time",
]
OF_HISTOGRAM = ["histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]
GROUPS = ["", " by (zone)", " by (host)", " without (host)"]
PLAIN = ["abs", "ceil", "-", "sort", "timestamp", "absent", "scalar", "ln", "round", "sgn", "day_of_week"]
OPERATORS = ["+", "-", "*", "/", "==", "!=", ">", "<", "%", "^", "and", "or", "unless", "== bool", "!= bool", "> bool", "atan2"]


def expression(rng, depth=0):
    pick = rng.choice
    vector = pick(SELECTORS)
    if rng.random() < 0.15:
        vector += pick([" offset 3m", " offset 20m", " @ end()", " @ start()"])
    if depth < 2 and rng.random() < 0.5:
        vector = expression(rng, depth + 1)
    kind = rng.randrange(11)
    if kind == 0:
        return vector
    if kind in (1, 2):
        return f"{pick(RANGE_FUNCTIONS)}({pick(SELECTORS)}[{pick(RANGES)}])"
    if kind == 3:
        return f"{pick(OF_HISTOGRAM)}({vector})"
    if kind == 4:
        # What subtracts may leave negative counts.
        while re.search(r"-(?!Inf|1,)|delta|NaN", vector):
            vector = pick(SELECTORS)
        return f"histogram_quantile({pick([-0.1, 0, 0.1, 0.25, 0.5, 0.9, 0.99, 1, 1.2])}, {vector})"
    if kind == 5:
        low = pick(["-Inf", "-1", "0", "0.3", "1"])
        return f"histogram_fraction({low}, {pick(['0.5', '2', '7', '+Inf'])}, {vector})"
    if kind == 6:
        return f"{pick(AGGREGATIONS)}{pick(GROUPS)}({vector})"
    if kind == 7:
        # Of equal values, which one is on top depends on the order of series; and a label shows every last digit.
        own = f"histogram_sum({pick(SELECTORS)})"
        ranked = [f"topk(2, {own})", f"bottomk(1, {own})", f"topk(1, {pick(SELECTORS)})"]
        return pick([*ranked, f"quantile(0.5, {vector})", f'count_values("v", {pick(SELECTORS)})'])
    if kind == 8:
        return f"{pick(PLAIN)}({vector})"
    if kind == 9:
        number = pick(["2", "0", "-1.5", "hosts", vector, pick(SELECTORS)])
        sides = [vector, number]
        if "bool" not in (operator := pick(OPERATORS)):
            rng.shuffle(sides)
        matching = pick(["", " on (host)", " ignoring (zone)"]) if not number[0] in "-012" else ""
        if operator in ("and", "or", "unless") and number[0] in "-012":
            operator = "+"
        return f"({sides[0]}) {operator}{matching} ({sides[1]})"
    return f"{pick(RANGE_FUNCTIONS)}({vector}[{pick(['5m:1m', '20m:30s', '10m:'])}])"


# Comparison ------------------------------------------------------------------------------------------------------------------------


def close(a, b):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-6)


def same_histogram(a, b):
    left, right = a.get("buckets", []), b.get("buckets", [])
    return (
        close(a["count"], b["count"])
        and close(a["sum"], b["sum"])
        and len(left) == len(right)
        and all(x[0] == y[0] and all(close(p, q) for p, q in zip(x[1:], y[1:])) for x, y in zip(left, right))
    )


def rows(data):
    if data["resultType"] == "scalar":
        return {"scalar": ([data["result"]], [])}
    out = {}
    for row in data["result"]:
        numbers = row.get("values") or ([row["value"]] if "value" in row else [])
        histograms = row.get("histograms") or ([row["histogram"]] if "histogram" in row else [])
        out[json.dumps(row["metric"], sort_keys=True)] = (numbers, histograms)
    return out


def difference(a, b):
    """Why two answers are not the same; None where they are."""
    if a["status"] != b["status"]:
        return f"{a.get('error', 'an answer')} / {b.get('error', 'an answer')}"
    if a["status"] == "error":
        # Which of two duplicates is met first depends on the order of series.
        left, right = (answer["error"].partition(" hand-side of the operation:")[0] for answer in (a, b))
        left, right = (text.partition(" for the match group")[0] for text in (left, right))
        return None if left == right or all("parse error" in text for text in (left, right)) else f"{a['error']} / {b['error']}"
    left, right = rows(a["data"]), rows(b["data"])
    if left.keys() != right.keys():
        return f"series {sorted(left.keys() ^ right.keys())[:3]}"
    for key, (numbers, histograms) in left.items():
        others, other_histograms = right[key]
        if [t for t, _ in numbers] != [t for t, _ in others] or [t for t, _ in histograms] != [t for t, _ in other_histograms]:
            return f"times of {key}"
        for (t, x), (_, y) in zip(numbers, others):
            if not close(x, y):
                return f"{key} at {t}: {x} / {y}"
        for (t, x), (_, y) in zip(histograms, other_histograms):
            if not same_histogram(x, y):
                return f"{key} at {t}: {json.dumps(x)[:300]} / {json.dumps(y)[:300]}"
    for kind in ("warnings", "infos"):
        if sorted(a.get(kind) or []) != sorted(b.get(kind) or []):
            return f"{kind} {a.get(kind)} / {b.get(kind)}"
    return None


def ask(url, path, params):
    _, body = post(f"{url}/api/v1/{path}", urllib.parse.urlencode(params).encode(), {})
    return json.loads(body)


# Servers ---------------------------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def started(arguments, url, log):
    process = subprocess.Popen(arguments, stdout=log, stderr=log)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{arguments[0]} did not start; its log is {log.name}")


def asked_for(description, count):
    """The command line's options, `count` expressions unless it says another number."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True, help="a Prometheus 3.5 binary")
    parser.add_argument("--foreshock", required=True, help="the server's binary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=count, help="expressions, each asked as an instant and as a range query")
    parser.add_argument("--show", type=int, default=20, help="differences to print")
    return parser.parse_args()


def serving(binary, url, folder):
    """The command that serves Foreshock at `url` with its data below `folder`."""
    ports = ["--otlp-http", "off", "--otlp-grpc", "off", "--flight-sql", "off"]
    return [binary, "serve", "--data", f"{folder}/foreshock", "--listen", url[7:], *ports]


def main():
    options = asked_for(__doc__, 400)
    rng = random.Random(options.seed)
    now_ms = int(time.time() * 1000) // STEP_MS * STEP_MS
    series = generated(rng, now_ms)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.joinpath("prometheus.yml").write_text("global: {}\n")
        theirs, ours = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        commands = {
            theirs: [
                options.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus",
                f"--web.listen-address={theirs[7:]}", "--web.enable-remote-write-receiver", "--enable-feature=native-histograms",
            ],
            ours: serving(options.foreshock, ours, folder),
        }  # fmt: skip
        processes = []
        try:
            for url, command in commands.items():
                processes.append(started(command, url, folder.joinpath(f"{Path(command[0]).name}.log").open("w")))
            return compared(theirs, ours, series, rng, options, now_ms)
        finally:
            for process in processes:
                process.terminate()
                process.wait()


def compared(theirs, ours, series, rng, options, now_ms):
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    for url in (theirs, ours):
        for one in series:
            status, body = post(f"{url}/api/v1/write", request_of([one]), headers)
            if status // 100 != 2:
                raise SystemExit(f"{url} refused {one[0]}: {status} {body[:500]}")
    found, asked, filled, unsteady = [], 0, 0, 0
    for _ in range(options.count):
        query = expression(rng)
        at = now_ms - rng.randrange(0, SAMPLES * STEP_MS)
        for path, params in (
            ("query", {"time": at / 1000}),
            ("query_range", {"start": (at - 1_200_000) / 1000, "end": at / 1000, "step": rng.choice([15, 60, 97])}),
        ):
            answers = [ask(url, path, {"query": query, **params}) for url in (theirs, ours)]
            asked += 1
            filled += answers[0]["status"] == "success" and bool(answers[0]["data"]["result"])
            if why := difference(*answers):
                found.append((path, query, params, why, answers[1]))
    # Asked again after all the others, as what went wrong lasts for a few queries.
    found, differed = [], found
    for path, query, params, why, own in differed:
        if difference(ask(theirs, path, {"query": query, **params}), own):
            found.append((path, query, params, why))
        else:
            unsteady += 1
    for path, query, params, why in found[: options.show]:
        print(f"{path} {query} {params}\n    Prometheus / foreshock: {why}")
    print(
        f"seed {options.seed}: {asked} queries of {options.count} expressions, {filled} with an answer, {len(found)} differ; "
        f"{unsteady} Prometheus answered otherwise first and the same when asked again"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
