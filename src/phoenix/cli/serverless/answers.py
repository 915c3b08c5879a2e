"""What a serverless job reports while it runs, and what it answers: a video, or an error with its place. No I/O."""

import json
import math
from base64 import b64encode
from typing import Any

from phoenix.client import Event, PhoenixProblem
from phoenix.contract.events import ClipProgress, ClipSucceeded, JobAssembling, JobSnapshot
from phoenix.contract.jobs import Job, JobOutput
from phoenix.errors import FailureCode

MAX_INLINE_BYTES = 7_000_000
"""RunPod takes results of 10 MB, and base64 makes four bytes of three."""

Answer = dict[str, Any]


def linked(job: Job, output: JobOutput, url: str) -> Answer:
    """A video that the caller fetches from `url`."""
    return _made(job, output, {"url": url})


def enclosed(job: Job, output: JobOutput, content: bytes) -> Answer:
    return _made(job, output, {"base64": b64encode(content).decode()})


def _made(job: Job, output: JobOutput, where: dict[str, str]) -> Answer:
    facts = output.model_dump(include={"duration_s", "width", "height", "fps", "size_bytes", "sha256"})
    video = {**where, "content_type": "video/mp4", **facts}
    return {"job_id": job.id, "video": video, "timings": job.timings.model_dump()}


def too_large(job: Job, output: JobOutput, most_bytes: int) -> Answer:
    return error(
        "OUTPUT_TOO_LARGE",
        f"The video has {output.size_bytes:,} bytes, and at most {most_bytes:,} fit into a result. Set "
        "PHOENIX_STORAGE__URL to s3://bucket/prefix: then the result is a link.",
        job_id=job.id,
    )


def refused(problem: PhoenixProblem) -> Answer:
    """The server did not take the input, or could not answer."""
    faults = [fault.model_dump() for fault in problem.field_errors]
    return error(problem.code, problem.detail, faults=faults, request_id=problem.request_id)


def not_made(job: Job) -> Answer:
    """The job failed, was canceled or has expired."""
    code = job.error.code.value if job.error else job.state.value.upper()
    message = job.error.message if job.error else f"The job ended as {job.state.value}."
    faults = [
        {"pointer": f"/clips/{clip.index}", "detail": f"{clip.error.code.value}: {clip.error.message}"}
        for clip in job.clips
        if clip.error
    ]
    stage = job.error.stage.value if job.error else None
    return error(code, message, stage=stage, faults=faults, job_id=job.id, request_id=job.request_id)


def not_served(job_id: str, reason: str) -> Answer:
    """No worker of the container can make it, however long it waits."""
    return error(FailureCode.MODEL_UNAVAILABLE.value, reason, job_id=job_id)


def server_unavailable(detail: str) -> Answer:
    """The container's server cannot be used any more. RunPod is asked for another container."""
    return {**error("UNAVAILABLE", detail), "refresh_worker": True}


def error(code: str, message: str, **details: object) -> Answer:
    """As RunPod's SDK reports what a handler raises, JSON in a string, but with our code and without a traceback."""
    given = {name: value for name, value in details.items() if value}
    return {"error": json.dumps({"error_type": code, "error_message": message, **given})}


Progress = dict[str, Any]


def find_progress(event: Event) -> Progress | None:
    """`state`, `progress` from 0 to 1 and `eta_s`; None for events that say nothing of it, and for the last one."""
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
    """Admits one report in `interval_s`, the first one at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_s = -math.inf

    def admits(self, now_s: float) -> bool:
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._interval_s
        return True
