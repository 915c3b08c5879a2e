"""An arq worker with its default settings, which looks for jobs every half second.

arq arq_worker.WorkerSettings

`render` sleeps, and puts the times of its start and of its end into a list of Redis. `BROKER` is the URL of the Redis.
"""

import asyncio
import json
import os
import time
from typing import Any, ClassVar

from arq.connections import RedisSettings

DONE = "bench:done"


async def render(context: dict[str, Any], task_id: str, seconds: float = 0.0) -> None:
    began_s = time.time()
    if seconds:
        await asyncio.sleep(seconds)
    await context["redis"].rpush(DONE, json.dumps([task_id, began_s, time.time()]))


class WorkerSettings:
    functions: ClassVar = [render]
    redis_settings = RedisSettings.from_dsn(os.environ["BROKER"])
