"""arq's Worker reduced to picking doorbells: woken by bells, ignores foreign entries, without arq's own extras."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from arq import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func
from redis.exceptions import ResponseError

from phoenix.queues import payload
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

# More than feeders ever ring: entries that are being answered stay at the head of the set, and with a small limit
# would hide those behind them.
_READ_LIMIT = 5000
_NO_LIMIT = 10**6


class BellWorker(Worker):
    """Picks doorbells until an error of Redis ends `main`, or until `stop_picking`.

    Must not be reused after an error: one inside `start_jobs` leaks a slot forever. `count_room` says how many tasks it
    may have at once, not counting those of earlier Workers that still run. `passes_over` says by name whether to skip
    a doorbell for now, and `on_kept` is told of those that stay in the queue.
    """

    def __init__(
        self,
        redis: ArqRedis,
        queue_key: str,
        answer: WorkerCoroutine,
        *,
        most_tasks: int,
        count_room: Callable[[], int],
        passes_over: Callable[[str], bool],
        on_kept: Callable[[str], Awaitable[None]],
        wake: asyncio.Event,
        poll_delay_s: float,
        lease_s: float,
    ) -> None:
        super().__init__(
            [func(answer, name=payload.FUNCTION)],
            queue_name=queue_key,
            redis_pool=redis,
            handle_signals=False,
            max_jobs=most_tasks,
            # Deadlines are kept in SQL; arq's would free the slot while the thread runs on.
            job_timeout=_NO_LIMIT,
            keep_result=0,
            poll_delay=poll_delay_s,
            queue_read_limit=_READ_LIMIT,
            max_tries=_NO_LIMIT,
            allow_abort_jobs=False,
            job_serializer=payload.encode,
            job_deserializer=payload.decode,
            log_results=False,
        )
        # How long a doorbell stays hidden if this process dies between picking it and claiming its task.
        self.in_progress_timeout_s = lease_s
        self._count_room = count_room
        self._passes_over = passes_over
        self._on_kept = on_kept
        self._wake = wake

    def stop_picking(self) -> None:
        self.allow_pick_jobs = False
        self._wake.set()

    async def main(self) -> None:
        """Looks for doorbells when woken, when a slot comes free, and every poll delay."""
        while self.allow_pick_jobs:
            self._wake.clear()
            self._put_away()
            self.max_jobs = self._count_room()
            await self._poll_iteration()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_delay_s):
                    await self._wake.wait()

    def _put_away(self) -> None:
        """Before looking, not after it as arq does: otherwise a postponed doorbell would be skipped once more."""
        for name in [name for name, task in self.tasks.items() if task.done()]:
            self.tasks.pop(name).result()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        foreign = [entry for entry in job_ids if not payload.is_name(entry)]
        if foreign:
            _logger.warning("dropped entries that are no doorbells", count=len(foreign), first=repr(foreign[0])[:80])
            await self.pool.zrem(self.queue_name, *foreign)  # pyright: ignore[reportUnknownMemberType]
        # arq itself would run an entry twice at once if its in-progress key ran out or was flushed.
        await super().start_jobs(
            [entry for entry in job_ids if entry not in foreign and not self._is_passed_over(entry)]
        )

    def _is_passed_over(self, entry: bytes) -> bool:
        name = entry.decode()
        return name in self.tasks or self._passes_over(name)

    async def run_job(self, job_id: str, score: int) -> None:
        try:
            await super().run_job(job_id, score)
        except ResponseError as error:
            # A definition of another type: left in place, it would end one Worker after another.
            if "WRONGTYPE" not in str(error):
                raise
            _logger.warning("dropped a doorbell whose definition is none", doorbell=job_id)
            await self.finish_failed_job(job_id, None)
        await self._on_kept(job_id)

    async def heart_beat(self) -> None:
        """Does nothing: workers report to SQL, and arq's key per queue could not tell them apart."""

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        # Without this a freed slot would stay empty until the next poll.
        self._wake.set()
