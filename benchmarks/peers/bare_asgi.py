"""The least that a POST of a reel can cost in Python: an ASGI function and asyncpg, which write the same rows.

Checks nothing. `DATABASE` is a plain URL of PostgreSQL, with the tables of Phoenix.
"""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from rows import NUMBER_EVENT, OWNER, Document, answer_of, event_row, insert_statement, rows_of, utc_now

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

pools: list[asyncpg.Pool] = []


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await run_lifespan(receive, send)
        return
    body = await read_body(receive)
    answer = json.dumps(await create_reel(json.loads(body))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def run_lifespan(receive: Receive, send: Send) -> None:
    await receive()
    pools.append(await asyncpg.create_pool(os.environ["DATABASE"]))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pools[0].close()
    await send({"type": "lifespan.shutdown.complete"})


async def read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def create_reel(request: Document) -> Document:
    now = utc_now()
    job, tasks = rows_of(request, now)
    async with pools[0].acquire() as connection, connection.transaction():
        await connection.execute(statement("jobs", job), *values(job))
        await connection.executemany(statement("tasks", tasks[0]), [values(task) for task in tasks])
        number = await connection.fetchval(NUMBER_EVENT.format("$1"), OWNER)
        event = event_row(job["id"], number, now)
        await connection.execute(statement("events", event), *values(event))
    return answer_of(job)


def statement(table: str, row: Document) -> str:
    return insert_statement(table, row, [f"${number}" for number in range(1, len(row) + 1)])


def values(row: Document) -> list[object]:
    return [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
