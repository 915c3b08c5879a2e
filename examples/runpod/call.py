"""Renders the reel of test_input.json on a RunPod endpoint that runs `phoenix runpod`, and saves it as reel.mp4.

    RUNPOD_ENDPOINT=https://api.runpod.ai/v2/ENDPOINT_ID RUNPOD_API_KEY=… python call.py

`phoenix runpod` in this folder does the same job without RunPod: its SDK reads test_input.json.
"""

import base64
import json
import os
import sys
import time
from pathlib import Path

import httpx

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}


def main() -> None:
    endpoint = os.environ["RUNPOD_ENDPOINT"].rstrip("/")
    body = json.loads(Path(__file__).with_name("test_input.json").read_text())
    with httpx.Client(headers={"Authorization": f"Bearer {os.environ['RUNPOD_API_KEY']}"}, timeout=60) as runpod:
        job = runpod.post(f"{endpoint}/run", json=body).raise_for_status().json()
        while job["status"] not in ENDED:
            time.sleep(2)
            job = runpod.get(f"{endpoint}/status/{job['id']}").raise_for_status().json()
            print(job["status"], job.get("output") if job["status"] == "IN_PROGRESS" else "")
    if job["status"] != "COMPLETED":
        sys.exit(f"{job['status']}: {job.get('error')}")
    save(job["output"]["video"], Path("reel.mp4"))
    print("reel.mp4")


def save(video: dict[str, str], path: Path) -> None:
    """A link if the endpoint has a bucket, and otherwise base64."""
    if "url" in video:
        path.write_bytes(httpx.get(video["url"], timeout=600).raise_for_status().content)
    else:
        path.write_bytes(base64.b64decode(video["base64"]))


main()
