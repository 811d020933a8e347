"""Runs rule tests through promtool and through foreshock, and compares their verdicts.

    python tests/python/rule_tests.py --promtool promtool --foreshock target/debug/foreshock [--prometheus-2] [FILE ...]

Without files: those of tests/rules/promtool, whose names say what to expect. Files that need Prometheus 3 (pass3, fail3) are left out
with --prometheus-2.
"""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "rules/promtool"


def passes(command, path):
    """Whether the tests of a file pass; they run in its folder, so that paths in it mean the same to both."""
    command = [*command, path.name]
    run = subprocess.run(command, cwd=path.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: exit status {run.returncode}\n{run.stdout}{run.stderr}")
    return run.returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--promtool", required=True)
    parser.add_argument("--foreshock", required=True)
    parser.add_argument("--prometheus-2", action="store_true")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    foreshock = str(Path(options.foreshock).resolve())
    files = options.files or sorted(FOLDER.glob("pass*.yml")) + sorted(FOLDER.glob("fail*.yml"))
    differing = compared = 0
    for path in files:
        if options.prometheus_2 and path.name.startswith(("pass3", "fail3")):
            continue
        verdicts = [passes([options.promtool, "test", "rules"], path), passes([foreshock, "rules", "test"], path)]
        if path.parent == FOLDER and path.name.startswith(("pass", "fail")):
            verdicts.append(path.name.startswith("pass"))
        compared += 1
        if len(set(verdicts)) > 1:
            differing += 1
            print(f"{path.name}: promtool, foreshock and its name say {verdicts}")
    print(f"{compared} files, {differing} differ")
    return 1 if differing or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
