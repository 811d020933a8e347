"""Remote read: a Prometheus without samples of its own answers from here as one answers that has them.

    cargo build
    python3 tests/python/remote_read.py --prometheus /path/to/prometheus --foreshock target/debug/foreshock --seed 1

The generated samples of native_histograms.py (numbers, histograms of every kind, staleness markers, gaps) go into the server and into a
Prometheus 3.5. A second Prometheus has an empty directory and `remote_read` on the server. Both are asked the same random expressions, as
instant and as range queries, and the raw samples of every series. Every difference is printed; the exit status is 1 if there is one.
"""

import random
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from native_histograms import SAMPLES, STEP_MS, ask, asked_for, difference, expression, field, free_port, generated, post, request_of, serving, started

HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}


def series_of_samples_response(url, now_ms):
    """How many series the other kind of answer has: samples in one message."""
    matcher = field(2, b"__name__") + field(3, b"up")
    query = field(1, now_ms - 3_600_000) + field(2, now_ms) + field(3, field(1, 1) + matcher)
    body = field(1, query)
    packed = bytes([len(body), (len(body) - 1) << 2]) + body if len(body) <= 60 else bytes([len(body), 60 << 2, len(body) - 1]) + body
    request = urllib.request.Request(f"{url}/api/v1/read", packed, {"Content-Encoding": "snappy"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["Content-Type"], answer.headers["Content-Encoding"], len(answer.read())


def main():
    options = asked_for(__doc__, 200)
    rng = random.Random(options.seed)
    now_ms = int(time.time() * 1000) // STEP_MS * STEP_MS
    series = generated(rng, now_ms)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        own, reading, ours = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        folder.joinpath("own.yml").write_text("global: {}\n")
        folder.joinpath("reading.yml").write_text(f"remote_read: [{{url: '{ours}/api/v1/read', read_recent: true}}]\n")
        commands = {ours: serving(options.foreshock, ours, folder)}
        for name, url in (("own", own), ("reading", reading)):
            commands[url] = [
                options.prometheus, f"--config.file={folder}/{name}.yml", f"--storage.tsdb.path={folder}/{name}",
                f"--web.listen-address={url[7:]}", "--web.enable-remote-write-receiver", "--enable-feature=native-histograms",
            ]  # fmt: skip
        processes = []
        try:
            for url, command in commands.items():
                processes.append(started(command, url, folder.joinpath(f"{url[-5:]}.log").open("w")))
            return compared(own, reading, ours, series, rng, options, now_ms)
        finally:
            for process in processes:
                process.terminate()
                process.wait()


def compared(own, reading, ours, series, rng, options, now_ms):
    for url in (own, ours):
        for one in series:
            status, body = post(f"{url}/api/v1/write", request_of([one]), HEADERS)
            if status // 100 != 2:
                raise SystemExit(f"{url} refused {one[0]}: {status} {body[:500]}")
    kind, coding, length = series_of_samples_response(ours, now_ms)
    if (kind, coding) != ("application/x-protobuf", "snappy") or length < 10_000:
        raise SystemExit(f"samples are answered as {kind}, {coding}, {length} bytes")
    questions = []
    for labels, _, _ in series:
        selector = "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
        questions.append(("query", f"{selector}[{SAMPLES * STEP_MS // 1000}s]", {"time": now_ms / 1000}))
    for _ in range(options.count):
        query = expression(rng)
        at = now_ms - rng.randrange(0, SAMPLES * STEP_MS)
        questions.append(("query", query, {"time": at / 1000}))
        questions.append(("query_range", query, {"start": (at - 1_200_000) / 1000, "end": at / 1000, "step": rng.choice([15, 60, 97])}))
    found, filled = [], 0
    for path, query, params in questions:
        answers = [ask(url, path, {"query": query, **params}) for url in (own, reading)]
        filled += answers[0]["status"] == "success" and bool(answers[0]["data"]["result"])
        if why := difference(*answers):
            found.append((path, query, params, why))
    # Asked again after all the others: see native_histograms.py on what Prometheus answers one way and then another.
    found, differed = [], found
    for path, query, params, _ in differed:
        if why := difference(*(ask(url, path, {"query": query, **params}) for url in (own, reading))):
            found.append((path, query, params, why))
    for path, query, params, why in found[: options.show]:
        print(f"{path} {query} {params}\n    with samples of its own / reading: {why}")
    print(f"seed {options.seed}: {len(questions)} queries, {filled} with an answer, {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
