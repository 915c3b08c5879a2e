"""Answers the doorbells of one queue with a number of slots, while Redis comes and goes. Knows nothing of tasks."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from arq import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Retry, Worker, func
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from phoenix.errors import Unavailable
from phoenix.queues import payload
from phoenix.queues.commands import open_arq, send_all
from phoenix.queues.queue import Accept, Doorbell, LeftToOthers, Work, queue_key, wake_channel
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


CLOSED_FOR_S = 1.0
"""Pause in picking after a task could not be claimed because the database was away."""

_SHORTEST_REST_S, _LONGEST_REST_S = 0.2, 1.0


class DoorbellListener:
    """Calls `accept` for each doorbell, and does the work that it returns.

    At most `slots` tasks are in their main part at a time, and at most `overlap` more in what follows it: a doorbell
    that would have to wait here is left to another worker. `wake` makes it look at once; otherwise it looks every
    `poll_delay_s`.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        queue: str,
        accept: Accept,
        *,
        slots: int,
        lease_s: float,
        overlap: int = 0,
        wake: asyncio.Event | None = None,
        poll_delay_s: float = 2,
    ) -> None:
        self.queue = queue
        self.slots = slots
        self._overlap = overlap
        self._redis = open_arq(redis)
        self._key = queue_key(prefix, queue)
        self._wake_channel = wake_channel(prefix, queue)
        self._accept = accept
        self._lease_s = lease_s
        self._wake = wake or asyncio.Event()
        self._poll_delay_s = poll_delay_s
        self._carried: set[asyncio.Task[None]] = set()
        self._at_work: set[str] = set()
        self._left: dict[str, asyncio.TimerHandle] = {}
        self._winding_up: set[str] = set()
        self._closed: asyncio.TimerHandle | None = None
        self._worker: BellWorker | None = None
        self._is_paused = False

    @property
    def busy(self) -> int:
        """Doorbells that are being answered now."""
        return len(self._at_work)

    def pause(self) -> None:
        """Stops picking for good. `run` returns when all running work has ended."""
        self._is_paused = True
        if self._worker is not None:
            self._worker.stop_picking()
        self._wake.set()

    async def run(self) -> None:
        """Runs until paused. Does not end because Redis is away, nor because of what it finds there."""
        try:
            while not self._is_paused:
                await self._listen()
            while self._carried:
                await asyncio.wait(self._carried)
        finally:
            for timer in (*self._left.values(), *filter(None, [self._closed])):
                timer.cancel()
            await self._redis.aclose(close_connection_pool=True)

    async def _listen(self) -> None:
        """Listens until an error, with a new Worker each time: an old one may have leaked a slot (see BellWorker)."""
        self._worker = worker = BellWorker(
            self._redis,
            self._key,
            self._answer,
            most_tasks=self.slots + self._overlap,
            count_room=self._count_room,
            passes_over=self._passes_over,
            on_kept=self._tell_others,
            wake=self._wake,
            poll_delay_s=self._poll_delay_s,
            lease_s=self._lease_s,
        )
        try:
            await worker.main()
        except (RedisError, OSError) as error:
            _logger.warning("redis is away; looking again", queue=self.queue, error=repr(error))
            await self._rest()
        except Exception:
            _logger.exception("listening failed; starting anew", queue=self.queue)
            await self._rest()
        finally:
            self._carry(worker)

    def _count_room(self) -> int:
        carried = sum(not task.done() for task in self._carried)
        return self.slots + min(self._overlap, len(self._winding_up)) - carried

    async def _rest(self) -> None:
        if not self._is_paused:
            await asyncio.sleep(random.uniform(_SHORTEST_REST_S, _LONGEST_REST_S))

    def _carry(self, worker: BellWorker) -> None:
        for task in worker.tasks.values():
            self._carried.add(task)
            task.add_done_callback(self._put_down)

    def _put_down(self, task: "asyncio.Task[None]") -> None:
        self._carried.discard(task)
        self._wake.set()
        # If arq could not remove the doorbell, that does no harm: it is stale, and nobody can claim with it.
        if not task.cancelled() and (error := task.exception()):
            _logger.info("an answered doorbell was left in redis", queue=self.queue, error=repr(error))

    async def _answer(self, ctx: dict[Any, Any], task_id: str, dispatch: int) -> None:
        doorbell = Doorbell(task_id, dispatch)
        if ctx["job_id"] != doorbell.name:
            _logger.warning("dropped a doorbell with another's name", doorbell=ctx["job_id"])
            return
        if self._is_paused:
            raise Retry
        try:
            work = await self._accept(doorbell)
        except Unavailable as error:
            self._close()
            raise Retry from error
        if isinstance(work, LeftToOthers):
            self._leave(doorbell, work)
            raise Retry
        if work is not None:
            await self._do(doorbell, work)

    def _close(self) -> None:
        """Pauses picking, by the loop's clock. arq's `Retry(defer=…)` would write this host's wall clock into Redis: if
        that is an hour ahead, and the host dies, the doorbell would be hidden from all others for an hour.
        """

        def open_again() -> None:
            self._closed = None
            self._wake.set()

        if self._closed is None:
            self._closed = asyncio.get_running_loop().call_later(CLOSED_FOR_S, open_again)

    def _passes_over(self, name: str) -> bool:
        return self._closed is not None or name in self._at_work or name in self._left

    def _leave(self, doorbell: Doorbell, left: LeftToOthers) -> None:
        def look_again() -> None:
            del self._left[doorbell.name]
            self._wake.set()

        self._left[doorbell.name] = asyncio.get_running_loop().call_later(left.for_s, look_again)

    async def _tell_others(self, name: str) -> None:
        """Wakes other workers, which skipped the doorbell while this one held it."""
        if name in self._left:
            await send_all(self._redis, [("PUBLISH", self._wake_channel, "")])

    async def _do(self, doorbell: Doorbell, work: Work) -> None:
        self._at_work.add(doorbell.name)
        removal = asyncio.create_task(self._take_out(doorbell))

        def free_slot() -> None:
            self._winding_up.add(doorbell.name)
            self._wake.set()

        try:
            await work(free_slot)
        finally:
            await removal
            self._at_work.discard(doorbell.name)
            self._winding_up.discard(doorbell.name)

    async def _take_out(self, doorbell: Doorbell) -> None:
        """Removes the doorbell once its task is claimed; arq would leave it in the set for every worker to look at."""
        try:
            await send_all(self._redis, [("ZREM", self._key, doorbell.name)])
        except (RedisError, OSError):
            _logger.info("an answered doorbell is still in the queue", doorbell=doorbell.name)
