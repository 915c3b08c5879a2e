"""`phoenix runpod` with a stand-in for RunPod's SDK, and a bucket."""

import hashlib
import json
import os
import sys
from pathlib import Path

import httpx

from fixtures import child_processes
from fixtures.repository import REPOSITORY
from fixtures.s3_server import Bucket
from fixtures.up_process import PhoenixStarter

SDK = """
import asyncio, json

def start(config):
    job = {"id": "runpod-1", "input": {"clips": [{"prompt": "a red balloon"}], "duration_s": 1, "steps": 1}}
    print(json.dumps(asyncio.run(config["handler"](job))), flush=True)
"""


def test_a_job_is_answered_with_a_link_into_a_folder_of_the_containers_own(
    start_phoenix: PhoenixStarter, bucket: Bucket, tmp_path: Path
):
    package = tmp_path / "runpod"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "serverless.py").write_text(SDK)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    run = start_phoenix(
        "runpod",
        "--rp_log_level",
        "ERROR",
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
        PHOENIX_STORAGE=json.dumps(bucket.settings.model_dump(mode="json") | {"s3_secret_access_key": "a-secret"}),
        RUNPOD_POD_ID="pod-7",
        TMPDIR=str(temporary),
    )
    line = run.read_line()
    assert run.wait() == 0, run.log
    video = json.loads(line)["video"]

    assert hashlib.sha256(httpx.get(video["url"], timeout=100).content).hexdigest() == video["sha256"]
    assert {key.partition("pod-7-")[0] for key in bucket.keys()} == {"a/prefix/"}  # noqa: SIM118 - no mapping
    assert list(temporary.iterdir()) == []


ENDPOINT = """
import asyncio, http.server, json, queue, threading

jobs, answers, fetched = queue.Queue(), {}, threading.Event()

class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        jobs.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer({"id": "runpod-1", "status": "IN_QUEUE"})

    def do_GET(self):
        assert self.path == "/status/runpod-1"
        self.answer({"id": "runpod-1", **answers.get("runpod-1", {"status": "IN_PROGRESS"})})
        if answers:
            fetched.set()

    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

def start(config):
    server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    output = asyncio.run(config["handler"]({"id": "runpod-1", **jobs.get()}))
    answers["runpod-1"] = {"status": "COMPLETED", "output": output}
    fetched.wait()
"""


def test_the_example_gets_its_reel_from_an_endpoint_without_a_bucket(
    start_phoenix: PhoenixStarter, tmp_path: Path
) -> None:
    package = tmp_path / "runpod"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "serverless.py").write_text(ENDPOINT)
    run = start_phoenix("runpod", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    port = run.read_line()

    call = child_processes.run(
        [sys.executable, str(REPOSITORY / "examples" / "runpod" / "call.py")],
        cwd=tmp_path,
        env={**os.environ, "RUNPOD_ENDPOINT": f"http://127.0.0.1:{port}", "RUNPOD_API_KEY": "a-key"},
        check=False,
    )

    assert run.wait() == 0, run.log
    assert call.returncode == 0
    assert (tmp_path / "reel.mp4").read_bytes()[4:8] == b"ftyp"
