"""The progress reports and the answer of a serverless job. Nothing here does I/O."""

import json
import math
from base64 import b64encode
from typing import Any

from phoenix.client import Event, PhoenixProblem
from phoenix.contract import ClipProgress, ClipSucceeded, Job, JobAssembling, JobOutput, JobSnapshot
from phoenix.errors import FailureCode

MAX_INLINE_BYTES = 7_000_000
"""RunPod accepts results of 10 MB, and base64 turns three bytes into four."""

Answer = dict[str, Any]


def linked(job: Job, output: JobOutput, url: str) -> Answer:
    """The answer with a video that the caller downloads from `url`."""
    return _made(job, output, {"url": url})


def enclosed(job: Job, output: JobOutput, content: bytes) -> Answer:
    """The answer with the video itself, in base64."""
    return _made(job, output, {"base64": b64encode(content).decode()})


def _made(job: Job, output: JobOutput, where: dict[str, str]) -> Answer:
    facts = output.model_dump(include={"duration_s", "width", "height", "fps", "size_bytes", "sha256"})
    video = {**where, "content_type": "video/mp4", **facts}
    return {"job_id": job.id, "request_id": job.request_id, "video": video, "timings": job.timings.model_dump()}


def too_large(job: Job, output: JobOutput, most_bytes: int) -> Answer:
    """The answer for a video that is too large to be enclosed."""
    return error(
        "OUTPUT_TOO_LARGE",
        f"The video has {output.size_bytes:,} bytes, and a result can have at most {most_bytes:,}. Set "
        "PHOENIX_STORAGE__URL to a bucket, such as s3://bucket/prefix, to get a link instead.",
        job_id=job.id,
        request_id=job.request_id,
    )


def refused(problem: PhoenixProblem) -> Answer:
    """The answer for an input that the server refused."""
    faults = [fault.model_dump() for fault in problem.field_errors]
    return error(problem.code, problem.detail, faults=faults, request_id=problem.request_id)


def not_made(job: Job) -> Answer:
    """The answer for a job that failed, was canceled or has expired."""
    code = job.error.code.value if job.error else job.state.value.upper()
    message = job.error.message if job.error else f"The job ended as {job.state.value}."
    faults = [
        {"pointer": f"/clips/{clip.index}", "detail": f"{clip.error.code.value}: {clip.error.message}"}
        for clip in job.clips
        if clip.error
    ]
    stage = job.error.stage.value if job.error else None
    return error(code, message, stage=stage, faults=faults, job_id=job.id, request_id=job.request_id)


def not_served(job: Job, reason: str) -> Answer:
    """The answer for a model that no worker of the container can serve."""
    return error(FailureCode.MODEL_UNAVAILABLE.value, reason, job_id=job.id, request_id=job.request_id)


def server_unavailable(detail: str) -> Answer:
    """The answer after the server in the container has failed. It makes RunPod replace the container."""
    return {**error("UNAVAILABLE", detail), "refresh_worker": True}


def error(code: str, message: str, **details: object) -> Answer:
    """An error in the form of RunPod's SDK (JSON in a string), with a code of Phoenix and without a traceback."""
    given = {name: value for name, value in details.items() if value}
    return {"error": json.dumps({"error_type": code, "error_message": message, **given})}


Progress = dict[str, Any]


def find_progress(event: Event) -> Progress | None:
    """A report with `state`, `progress` from 0 to 1 and `eta_s`. None for terminal events and other event types."""
    match event:
        case JobSnapshot(job=job) if not job.state.is_terminal:
            return _progress(job.id, job.state.value, job.progress, job.eta_s)
        case ClipProgress():
            return _progress(event.job_id, "running", event.job_progress, event.job_eta_s)
        case ClipSucceeded():
            return _progress(event.job_id, "running", event.progress, None)
        case JobAssembling():
            return _progress(event.job_id, "assembling", None, None)
        case _:
            return None


def _progress(job_id: str, state: str, fraction: float | None, eta_s: float | None) -> Progress:
    known = {"progress": fraction, "eta_s": eta_s}
    given = {name: round(value, 3) for name, value in known.items() if value is not None}
    return {"job_id": job_id, "state": state, **given}


class Throttle:
    """Admits one report per `interval_s`, the first report at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_s = -math.inf

    def admits(self, now_s: float) -> bool:
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._interval_s
        return True
