"""Puts one task into the queue of arq or of Celery for each line that it reads, and writes the time of the sending.

python senders.py arq|celery
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable


def arq_sender() -> Callable[[], None]:
    from arq import create_pool  # noqa: PLC0415 - is not there next to Celery
    from arq.connections import RedisSettings  # noqa: PLC0415

    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(create_pool(RedisSettings.from_dsn(os.environ["BROKER"])))
    return lambda: loop.run_until_complete(pool.enqueue_job("render", "task")) and None


def celery_sender() -> Callable[[], None]:
    from celery_app import render  # noqa: PLC0415 - is not there next to arq

    return lambda: render.delay("task") and None


def main() -> None:
    send = {"arq": arq_sender, "celery": celery_sender}[sys.argv[1]]()
    for _ in sys.stdin:
        sent_s = time.time()
        send()
        print(sent_s, flush=True)


if __name__ == "__main__":
    main()
