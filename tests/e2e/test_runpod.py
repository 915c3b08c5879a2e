"""`phoenix runpod` with a stand-in for RunPod's SDK, and a bucket."""

import hashlib
import json
import os
import sys
from pathlib import Path

import httpx

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
