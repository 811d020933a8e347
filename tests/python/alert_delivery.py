"""Alert delivery beside Alertmanager: receivers that misbehave, and a server that is killed while it delivers.

    cargo build
    python3 tests/python/alert_delivery.py --alertmanager /usr/bin/prometheus-alertmanager --foreshock target/debug/foreshock

Both read the same configuration, a route for each receiver below, and are told the same alerts, once, over Alertmanager's API. A second
run kills each of them a second later and starts it again. The table says for each receiver how many requests came, when its alert was
first accepted, how often it was accepted again, how many requests came before the time that the receiver had asked for, and how many of the
repeated ones bore the same `Idempotency-Key`. The exit status is 1 where Foreshock lost an alert, came too early, or repeated one
without its key; what Alertmanager does is only printed.
"""

import argparse
import json
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from native_histograms import free_port, started

# How each receiver answers its first requests; after those it accepts.
BEHAVIOURS = {
    "accepts": [],
    "fails": ["500", "500", "500"],
    "limits": ["429", "429"],  # with Retry-After: 5
    "refuses": ["400", "400"],
    "closes": ["close", "close"],
    "halves": ["half"],  # accepts, but the answer breaks off: nobody can know
    "hangs": ["hang"],
}
RETRY_AFTER = 5
# A receiver that hangs, longer than either waits.
HANG = 15


class Receivers:
    def __init__(self):
        self.lock = threading.Lock()
        self.start = time.monotonic()
        self.seen = {name: [] for name in BEHAVIOURS}  # (seconds, verdict, key, whether it came too early)
        self.not_before = dict.fromkeys(BEHAVIOURS, 0.0)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(receivers):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receivers.answer(self, self.path.strip("/"))

            def log_message(self, *_):
                pass

        return Handler

    def answer(self, request, name):
        with self.lock:
            now = time.monotonic() - self.start
            at = len(self.seen[name])
            verdict = BEHAVIOURS[name][at] if at < len(BEHAVIOURS[name]) else "200"
            is_early = now < self.not_before[name]
            self.seen[name].append((now, verdict, request.headers.get("Idempotency-Key"), is_early))
            if verdict == "429":
                self.not_before[name] = now + RETRY_AFTER
        if verdict == "close":
            request.connection.shutdown(socket.SHUT_RDWR)
        elif verdict == "half":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            if verdict == "hang":
                time.sleep(HANG)
                verdict = "200"
            try:
                request.send_response(int(verdict))
                if verdict == "429":
                    request.send_header("Retry-After", str(RETRY_AFTER))
                request.send_header("Content-Length", "0")
                request.end_headers()
            except OSError:
                pass  # Nobody waits for it any more.
        request.close_connection = True

    def has_all(self):
        with self.lock:
            return all(any(verdict in ("200", "half") for _, verdict, _, _ in seen) for seen in self.seen.values())

    def rows(self):
        with self.lock:
            for name, seen in self.seen.items():
                # A request that hung counts as not accepted: its sender was told nothing.
                taken = [(at, key) for at, verdict, key, _ in seen if verdict in ("200", "half")]
                keys = {key for _, key in taken}
                yield {
                    "receiver": name,
                    "requests": len(seen),
                    "accepted": f"{taken[0][0]:.1f} s" if taken else "never",
                    "again": max(0, len(taken) - 1),
                    "early": sum(is_early for *_, is_early in seen),
                    "keyed": len(keys) == 1 and None not in keys,
                }


def configuration(sink):
    routes = "".join(f"  - {{matchers: ['drill=\"{name}\"'], receiver: {name}}}\n" for name in BEHAVIOURS)
    receivers = "".join(f"- {{name: {name}, webhook_configs: [{{url: '{sink}/{name}'}}]}}\n" for name in BEHAVIOURS)
    times = "  group_by: [drill]\n  group_wait: 100ms\n  group_interval: 1s\n  repeat_interval: 1h\n"
    return f"route:\n  receiver: accepts\n{times}  routes:\n{routes}receivers:\n{receivers}"


def drilled(binary, command, seconds, kills):
    """The rows of one server's table."""
    receivers = Receivers()
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        url = f"http://127.0.0.1:{free_port()}"
        rules = Path(folder, "routes.yml")
        rules.write_text(configuration(f"http://127.0.0.1:{receivers.server.server_port}"))
        whole = command(binary, url[7:], folder, rules)
        process = started(whole, url, log)
        try:
            receivers.start = time.monotonic()
            begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            for name in BEHAVIOURS:
                alert = [{"labels": {"alertname": "Drill", "drill": name}, "startsAt": begin}]
                headers = {"Content-Type": "application/json"}
                request = urllib.request.Request(f"{url}/api/v2/alerts", json.dumps(alert).encode(), headers)
                urllib.request.urlopen(request, timeout=10).close()
            if kills:
                time.sleep(1)
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = started(whole, url, log)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not receivers.has_all():
                time.sleep(0.1)
            # What comes twice comes now.
            time.sleep(3)
            return list(receivers.rows())
        finally:
            process.kill()
            process.wait()
            receivers.server.shutdown()


COMMANDS = {
    "Alertmanager": lambda binary, listen, folder, rules: [
        binary, f"--config.file={rules}", f"--storage.path={folder}/data", f"--web.listen-address={listen}", "--cluster.listen-address=",
    ],
    "Foreshock": lambda binary, listen, folder, rules: [
        binary, "serve", "--data", f"{folder}/data", "--listen", listen, "--otlp-http", "off", "--otlp-grpc", "off",
        "--flight-sql", "off", "--alertmanager-config", str(rules),
    ],
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alertmanager", required=True)
    parser.add_argument("--foreshock", required=True)
    parser.add_argument("--seconds", type=float, default=60, help="how long alerts that were not accepted are waited for")
    options = parser.parse_args()
    failures = []
    for kills in (0, 1):
        print(f"\n{'killed a second after it took the alerts' if kills else 'left alone'}")
        print("| receiver | server | requests | accepted after | again | too early | same key |\n|---|---|---:|---:|---:|---:|---|")
        tables = {}
        for server, command in COMMANDS.items():
            tables[server] = drilled(getattr(options, server.lower()), command, options.seconds, kills)
        for at, name in enumerate(BEHAVIOURS):
            for server, rows in tables.items():
                row = rows[at]
                keyed = "-" if row["again"] == 0 else "yes" if row["keyed"] else "no"
                print(f"| {name} | {server} | {row['requests']} | {row['accepted']} | {row['again']} | {row['early']} | {keyed} |")
                if server != "Foreshock":
                    continue
                is_unclear = name in ("halves", "hangs") or kills
                if row["accepted"] == "never" or row["early"] or (row["again"] and not (is_unclear and row["keyed"])):
                    failures.append(f"{name}, {kills} kills: {row}")
    for failure in failures:
        print(f"Foreshock failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
