"""The stack that Phoenix replaces: Flask under gunicorn with one process and eight threads, psycopg, Celery and Redis.

    gunicorn --workers 1 --threads 8 seeds_app:app

Writes the same rows as Phoenix, and sends one Celery task per clip. Checks the fields of the request by hand, as such
applications do. `DATABASE` is a plain URL of PostgreSQL, and `BROKER` a Redis.
"""

import os
from typing import Any

from celery_app import render
from flask import Flask, Response, jsonify, request
from psycopg.types.json import Json
from psycopg_pool import ConnectionPool
from rows import NUMBER_EVENT, OWNER, Document, answer_of, event_row, insert_statement, rows_of, utc_now

app = Flask(__name__)
pool = ConnectionPool(os.environ["DATABASE"], min_size=1, max_size=8, open=True)


@app.post("/v1/reels")
def create_reel() -> tuple[Response, int]:
    given: dict[str, Any] = request.get_json()
    clips = given.get("clips")
    if not isinstance(clips, list) or not all(isinstance(clip.get("prompt"), str) for clip in clips):
        return jsonify(error="clips need prompts"), 422
    now = utc_now()
    job, tasks = rows_of(given, now)
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement("jobs", job), values(job))
        cursor.executemany(statement("tasks", tasks[0]), [values(task) for task in tasks])
        cursor.execute(NUMBER_EVENT.format("%s"), [OWNER])
        found = cursor.fetchone()
        assert found is not None
        event = event_row(job["id"], found[0], now)
        cursor.execute(statement("events", event), values(event))
    for task in tasks[:-1]:
        render.delay(task["id"])
    return jsonify(answer_of(job)), 202


def statement(table: str, row: Document) -> str:
    return insert_statement(table, row, ["%s"] * len(row))


def values(row: Document) -> list[object]:
    return [Json(value) if isinstance(value, dict | list) else value for value in row.values()]
