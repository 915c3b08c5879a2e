"""A Celery worker with Redis, with the settings that a queue of long tasks needs.

celery --app celery_app worker --pool threads --concurrency 3

`render` sleeps, and puts the times of its start and of its end into a list of Redis. `BROKER` is the URL of the Redis.
"""

import json
import os
import time

from celery import Celery
from redis import Redis

DONE = "bench:done"

app = Celery("peers", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
redis = Redis.from_url(os.environ["BROKER"])


@app.task(name="render")
def render(task_id: str, seconds: float = 0.0) -> None:
    began_s = time.time()
    if seconds:
        time.sleep(seconds)
    redis.rpush(DONE, json.dumps([task_id, began_s, time.time()]))
