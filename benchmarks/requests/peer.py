"""What a request costs without Phoenix: FastAPI and SQLAlchemy Core, which write and read the same rows.

No keys, no limits, no quota and no idempotency: the rows and the answer only. `DATABASE` is the URL of a database with
the tables of Phoenix, whose definitions are read from it.
"""

import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from sqlalchemy import MetaData, Table, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

_OWNER = "peer"

engine = create_async_engine(os.environ["DATABASE"], pool_size=20)
tables: dict[str, Table] = {}
answers: dict[str, bytes] = {}


class Clip(BaseModel):
    prompt: str
    duration_s: float = 4
    seed: int | None = None


class Reel(BaseModel):
    model: str = "animatic"
    clips: list[Clip]
    resolution: str = "240p"
    fps: int = 8
    steps: int = 5


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    metadata = MetaData()
    async with engine.connect() as connection:
        await connection.run_sync(metadata.reflect)
    tables.update(metadata.tables)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/reels", status_code=202)
async def create_reel(reel: Reel) -> dict[str, Any]:
    now, job_id = datetime.now(UTC), new_id("job")  # noqa: TID251 - without Phoenix
    tasks = [task_row(job_id, "render", position, now) for position in range(len(reel.clips))]
    tasks.append(task_row(job_id, "assemble", len(tasks), now))
    async with engine.begin() as connection:
        await connection.execute(insert(tables["jobs"]), job_row(job_id, reel, now))
        await connection.execute(insert(tables["tasks"]), tasks)
        await write_event(connection, job_id, now)
    clips = [{"index": index, "state": "queued", **clip.model_dump()} for index, clip in enumerate(reel.clips)]
    return {"id": job_id, "state": "queued", "created_at": now, "model": reel.model, "clips": clips}


async def write_event(connection: AsyncConnection, job_id: str, now: datetime) -> None:
    owners = tables["owners"]
    numbered = (
        insert(owners)
        .values(id=_OWNER, last_seq=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last_seq": owners.c.last_seq + 1})
        .returning(owners.c.last_seq)
    )
    number = (await connection.execute(numbered)).scalar_one()
    event = {"type": "job.queued", "job_id": job_id, "seq": 1, "at": now.isoformat()}
    row = {"job_id": job_id, "seq": 1, "owner_id": _OWNER, "owner_seq": number, "type": "job.queued", "at": now}
    await connection.execute(insert(tables["events"]), {**row, "data": event})


def job_row(job_id: str, reel: Reel, now: datetime) -> dict[str, Any]:
    return {
        "id": job_id,
        "owner_id": _OWNER,
        "kind": "reel",
        "state": "queued",
        "model": reel.model,
        "priority": "normal",
        "request": reel.model_dump(),
        "search_text": " ".join(clip.prompt for clip in reel.clips),
        "options": {},
        "last_seq": 1,
        "created_at": now,
        "queued_at": now,
        "queue_deadline_at": now + timedelta(days=1),
        "run_timeout_s": 3600.0,
    }


def task_row(job_id: str, kind: str, position: int, now: datetime) -> dict[str, Any]:
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
        "warnings": [],
        "made_with": {},
    }


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(13)}"


@app.get("/v1/jobs/{job_id}")
async def get_job(job_id: str) -> Response:
    """One SELECT of the job, and the bytes that Phoenix answers."""
    jobs = tables["jobs"]
    async with engine.connect() as connection:
        row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).one()
    return Response(answers[f"/v1/jobs/{row.id}"], media_type="application/json")


@app.get("/v1/models")
@app.get("/v1/queue")
@app.get("/v1/jobs")
async def get_same(request: Request) -> Response:
    """The bytes that Phoenix answers."""
    return Response(answers[request.url.path], media_type="application/json")


@app.put("/answers")
async def put_answers(given: dict[str, str]) -> None:
    """Takes what Phoenix has answered, by path."""
    answers.update({path: body.encode() for path, body in given.items()})
