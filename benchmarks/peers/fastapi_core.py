"""What a request costs without Phoenix: FastAPI and SQLAlchemy Core, which write and read the same rows.

No keys, no limits, no quota and no idempotency: the rows and the answer only. `DATABASE` is the URL of a database with
the tables of Phoenix, whose definitions are read from it. `PUT /answers` takes what Phoenix has answered, by path.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from rows import OWNER, answer_of, event_row, rows_of, utc_now
from sqlalchemy import MetaData, Table, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

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
    now = utc_now()
    job, tasks = rows_of(reel.model_dump(), now)
    owners = tables["owners"]
    numbered = (
        insert(owners)
        .values(id=OWNER, last_seq=1)
        .on_conflict_do_update(index_elements=["id"], set_={"last_seq": owners.c.last_seq + 1})
        .returning(owners.c.last_seq)
    )
    async with engine.begin() as connection:
        await connection.execute(insert(tables["jobs"]), job)
        await connection.execute(insert(tables["tasks"]), tasks)
        number = (await connection.execute(numbered)).scalar_one()
        await connection.execute(insert(tables["events"]), event_row(job["id"], number, now))
    return answer_of(job)


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
    answers.update({path: body.encode() for path, body in given.items()})
