"""The rows that every peer writes for a reel: a job, a task per clip, a task that assembles, and an event.

Imports nothing of Phoenix: the peers run in another environment.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

OWNER = "peer"

NUMBER_EVENT = """
INSERT INTO owners (id, last_seq) VALUES ({0}, 1)
ON CONFLICT (id) DO UPDATE SET last_seq = owners.last_seq + 1 RETURNING last_seq
"""
"""The next number of an event of the owner. The placeholder depends on the driver."""

Document = dict[str, Any]


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - without Phoenix


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(13)}"


def rows_of(request: Document, now: datetime) -> tuple[Document, list[Document]]:
    """The job and its tasks."""
    job_id = new_id("job")
    clips = request["clips"]
    tasks = [task_row(job_id, "render", position, now) for position in range(len(clips))]
    return job_row(job_id, request, now), [*tasks, task_row(job_id, "assemble", len(clips), now)]


def job_row(job_id: str, request: Document, now: datetime) -> Document:
    return {
        "id": job_id,
        "owner_id": OWNER,
        "kind": "reel",
        "state": "queued",
        "model": request["model"],
        "priority": "normal",
        "request": request,
        "tags": [],
        "favorite": False,
        "search_title": "",
        "search_text": " ".join(clip["prompt"] for clip in request["clips"]),
        "search_filters": "=peer",
        "options": {},
        "last_seq": 1,
        "ends": 0,
        "created_at": now,
        "queued_at": now,
        "queue_deadline_at": now + timedelta(days=1),
        "run_timeout_s": 3600.0,
    }


def task_row(job_id: str, kind: str, position: int, now: datetime) -> Document:
    return {
        "id": new_id("tsk"),
        "job_id": job_id,
        "kind": kind,
        "position": position,
        "queue": "media" if kind == "assemble" else "gpu",
        "state": "blocked" if kind == "assemble" else "ready",
        "weight": 1.0,
        "prerequisites": list(range(position)) if kind == "assemble" else [],
        "attempt": 0,
        "dispatch_seq": 1,
        "crashes": 0,
        "failures": 0,
        "preemptions": 0,
        "waiting_since": now,
        "eligible_at": now,
        "timings": {},
        "is_reused": False,
        "warnings": [],
        "checks": [],
        "made_with": {},
    }


def event_row(job_id: str, number: int, now: datetime) -> Document:
    data = {"type": "job.queued", "job_id": job_id, "seq": 1, "at": now.isoformat()}
    row = {"job_id": job_id, "seq": 1, "owner_id": OWNER, "owner_seq": number, "type": "job.queued", "at": now}
    return {**row, "data": data}


def insert_statement(table: str, row: Document, placeholders: Sequence[str]) -> str:
    """`placeholders`: one for each column, in the style of the driver."""
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(placeholders)})"


def answer_of(job: Document) -> Document:
    """The body of the response."""
    clips = [{"index": index, "state": "queued", **clip} for index, clip in enumerate(job["request"]["clips"])]
    created_at = job["created_at"].isoformat()
    return {"id": job["id"], "state": "queued", "created_at": created_at, "model": job["model"], "clips": clips}
