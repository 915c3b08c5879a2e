"""Consumes the dispatch messages of one queue with a bounded number of slots, through outages of Redis."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from arq import ArqRedis
from arq.worker import Retry, Worker, func
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from phoenix.errors import Unavailable
from phoenix.queues.arq_queue import FUNCTION, decode_job, encode_job, is_message_name, open_arq, send_all
from phoenix.queues.queue import ClaimTask, DispatchMessage, Snooze, Work, queue_key, wake_channel
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

# More than the dispatcher ever enqueues. Entries in work stay at the head of the set: with a small limit they would
# hide the entries behind them.
_READ_LIMIT = 5000
_NO_LIMIT = 10**6


class _ArqWorker(Worker):
    """Picks messages for its consumer until an error of Redis ends `main`, or until `allow_pick_jobs` is False.

    Must not be reused after an error: an error inside arq's `start_jobs` leaks a slot forever.
    """

    def __init__(
        self,
        consumer: "QueueConsumer",
        redis: ArqRedis,
        queue_key: str,
        *,
        max_tasks: int,
        wake: asyncio.Event,
        poll_delay_s: float,
        lease_s: float,
    ) -> None:
        super().__init__(
            [func(consumer.handle, name=FUNCTION)],
            queue_name=queue_key,
            redis_pool=redis,
            handle_signals=False,
            max_jobs=max_tasks,
            # Deadlines are kept in SQL; arq's would free the slot while the thread runs on.
            job_timeout=_NO_LIMIT,
            keep_result=0,
            poll_delay=poll_delay_s,
            queue_read_limit=_READ_LIMIT,
            max_tries=_NO_LIMIT,
            allow_abort_jobs=False,
            job_serializer=encode_job,
            job_deserializer=decode_job,
            log_results=False,
        )
        # How long a message stays hidden if this process dies between picking it and claiming its task.
        self.in_progress_timeout_s = lease_s
        self._consumer = consumer
        self._wake = wake

    async def main(self) -> None:
        """Looks for messages when woken, when a slot comes free, and every poll delay."""
        while self.allow_pick_jobs:
            self._wake.clear()
            self._collect_finished()
            self.max_jobs = self._consumer.count_free_slots()
            await self._poll_iteration()
            self._consumer.outages.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_delay_s):
                    await self._wake.wait()

    def _collect_finished(self) -> None:
        """Runs before each look; arq does it after, and would skip a snoozed message once more."""
        for name in [name for name, task in self.tasks.items() if task.done()]:
            self.tasks.pop(name).result()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        foreign = [entry for entry in job_ids if not is_message_name(entry)]
        if foreign:
            _logger.warning(
                "dropped entries that are not dispatch messages", count=len(foreign), first=repr(foreign[0])[:80]
            )
            await self.pool.zrem(self.queue_name, *foreign)  # pyright: ignore[reportUnknownMemberType]
        # arq itself would run an entry twice at once if its in-progress key ran out or was flushed.
        await super().start_jobs([entry for entry in job_ids if entry not in foreign and not self._is_skipped(entry)])

    def _is_skipped(self, entry: bytes) -> bool:
        name = entry.decode()
        return name in self.tasks or self._consumer.should_skip(name)

    async def run_job(self, job_id: str, score: int) -> None:
        try:
            await super().run_job(job_id, score)
        except ResponseError as error:
            # A definition of another Redis type: if it stayed, it would end one worker after another.
            if "WRONGTYPE" not in str(error):
                raise
            _logger.warning("dropped a dispatch message with a malformed definition", message=job_id)
            await self.finish_failed_job(job_id, None)
        await self._consumer.wake_others(job_id)

    async def heart_beat(self) -> None:
        """Does nothing: workers report to SQL, and arq's key per queue could not distinguish them."""

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        # Without this a freed slot would stay empty until the next poll.
        self._wake.set()


CLAIM_PAUSE_S = 1.0
"""Pause in picking after a claim failed because the database was away."""

_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.2, 1.0


class QueueConsumer:
    """Calls `claim` for each message, and does the work that `claim` returns.

    At most `slots` tasks are in their main part at a time, and at most `overlap` more tasks are past it. A message
    without a free slot here stays in the queue for another worker, and so does every message while `is_held`. Setting
    `wake` makes the consumer look at once; otherwise it looks every `poll_delay_s`.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        queue: str,
        claim: ClaimTask,
        *,
        slots: int,
        lease_s: float,
        overlap: int = 0,
        wake: asyncio.Event | None = None,
        poll_delay_s: float = 2,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self.queue = queue
        self.slots = slots
        self.outages = FailureEpisode(_logger, "dispatch messages are not read", "dispatch messages are read again")
        """The failures of reading Redis in a row."""
        self._overlap = overlap
        self._redis = open_arq(redis)
        self._key = queue_key(prefix, queue)
        self._wake_channel = wake_channel(prefix, queue)
        self._claim = claim
        self._lease_s = lease_s
        self._wake = wake or asyncio.Event()
        self._poll_delay_s = poll_delay_s
        self._is_held = is_held
        self._adopted: set[asyncio.Task[None]] = set()
        self._running: set[str] = set()
        self._snoozed: dict[str, asyncio.TimerHandle] = {}
        self._overlapping: set[str] = set()
        self._pause_timer: asyncio.TimerHandle | None = None
        self._worker: _ArqWorker | None = None
        self._is_draining = False

    @property
    def in_progress(self) -> int:
        """Number of messages whose work runs now."""
        return len(self._running)

    def drain(self) -> None:
        """Stops picking for good. `run` returns when all running work has ended."""
        self._is_draining = True
        if self._worker is not None:
            self._worker.allow_pick_jobs = False
        self._wake.set()

    async def run(self) -> None:
        """Runs until drained. Neither an outage of Redis nor a malformed entry ends it."""
        try:
            while not self._is_draining:
                await self._consume()
            while self._adopted:
                await asyncio.wait(self._adopted)
        finally:
            for timer in (*self._snoozed.values(), *filter(None, [self._pause_timer])):
                timer.cancel()
            await self._redis.aclose(close_connection_pool=True)

    async def _consume(self) -> None:
        """Consumes until an error, with a new worker each time: the old worker may have leaked a slot."""
        self._worker = worker = _ArqWorker(
            self,
            self._redis,
            self._key,
            max_tasks=self.slots + self._overlap,
            wake=self._wake,
            poll_delay_s=self._poll_delay_s,
            lease_s=self._lease_s,
        )
        try:
            await worker.main()
        except Exception as error:  # noqa: BLE001 - the failure episode logs it
            is_away = isinstance(error, RedisError | OSError)
            self.outages.fail(error, is_unexpected=not is_away, queue=self.queue)
            await self._back_off()
        finally:
            self._adopt(worker)

    def count_free_slots(self) -> int:
        """How many tasks a new worker may have at once, without the tasks of earlier workers that still run."""
        adopted = sum(not task.done() for task in self._adopted)
        return self.slots + min(self._overlap, len(self._overlapping)) - adopted

    async def _back_off(self) -> None:
        if not self._is_draining:
            await asyncio.sleep(random.uniform(_MIN_BACKOFF_S, _MAX_BACKOFF_S))

    def _adopt(self, worker: _ArqWorker) -> None:
        for task in worker.tasks.values():
            self._adopted.add(task)
            task.add_done_callback(self._drop_adopted)

    def _drop_adopted(self, task: "asyncio.Task[None]") -> None:
        self._adopted.discard(task)
        self._wake.set()
        # A message that arq could not remove does no harm: it is stale, and no claim with it succeeds.
        if not task.cancelled() and (error := task.exception()):
            _logger.info("a handled dispatch message was left in redis", queue=self.queue, error=repr(error))

    async def handle(self, ctx: dict[Any, Any], task_id: str, dispatch_seq: int) -> None:
        """The function that arq runs for each picked message. arq's `Retry` leaves the message in the queue."""
        message = DispatchMessage(task_id, dispatch_seq)
        if ctx["job_id"] != message.name:
            _logger.warning("dropped a dispatch message with a wrong name", message=ctx["job_id"])
            return
        if self._is_draining:
            raise Retry
        try:
            work = await self._claim(message)
        except Unavailable as error:
            self._pause()
            raise Retry from error
        if isinstance(work, Snooze):
            self._snooze(message, work)
            raise Retry
        if work is not None:
            await self._run_work(message, work)

    def _pause(self) -> None:
        """Pauses picking, by the loop's clock.

        arq's `Retry(defer=…)` would write this host's wall clock into Redis: if that clock is an hour ahead and the
        host dies, the message would be hidden from all other workers for an hour.
        """

        def resume() -> None:
            self._pause_timer = None
            self._wake.set()

        if self._pause_timer is None:
            self._pause_timer = asyncio.get_running_loop().call_later(CLAIM_PAUSE_S, resume)

    def should_skip(self, name: str) -> bool:
        """Whether the worker leaves the message in the queue for now."""
        return self._is_held() or self._pause_timer is not None or name in self._running or name in self._snoozed

    def _snooze(self, message: DispatchMessage, snooze: Snooze) -> None:
        def look_again() -> None:
            del self._snoozed[message.name]
            self._wake.set()

        self._snoozed[message.name] = asyncio.get_running_loop().call_later(snooze.for_s, look_again)

    async def wake_others(self, name: str) -> None:
        """After a snooze: other workers skipped the message while this worker held it, and should look again."""
        if name in self._snoozed:
            await send_all(self._redis, [("PUBLISH", self._wake_channel, "")])

    async def _run_work(self, message: DispatchMessage, work: Work) -> None:
        self._running.add(message.name)
        removal = asyncio.create_task(self._remove(message))

        def release_slot() -> None:
            self._overlapping.add(message.name)
            self._wake.set()

        try:
            await work.run(release_slot)
        finally:
            await removal
            self._running.discard(message.name)
            self._overlapping.discard(message.name)

    async def _remove(self, message: DispatchMessage) -> None:
        """Removes the message of a claimed task; arq would leave it in the set, and every worker would read it."""
        try:
            await send_all(self._redis, [("ZREM", self._key, message.name)])
        except (RedisError, OSError):
            _logger.info("a claimed dispatch message is still in the queue", message=message.name)
