"""Runs every notebook against the data that `foreshock demo` left, and the reader against the fixture.

    check.py PATH_TO_FORESHOCK DATA_DIRECTORY_OF_A_DEMO
"""
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def flush(binary, data):
    """All acknowledged samples into parts, which is what notebooks read."""
    command = [binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--otlp-http", "off", "--flight-sql", "off"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[2]
        request = urllib.request.Request(
            f"{url}/api/v1/admin/store/flush", method="POST", headers={"X-Scope-OrgID": "demo"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 204, answer.status
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0, "the server did not end well"


def main():
    binary, data = sys.argv[1], sys.argv[2]
    subprocess.run([sys.executable, HERE / "check_reader.py"], check=True)
    flush(binary, data)
    os.environ["FORESHOCK_DATA"] = str(Path(data).resolve())
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
        said = [o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream"]
        print(f"{path.name}: {''.join(said).strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
