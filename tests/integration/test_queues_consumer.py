"""Consuming messages from a real Redis that is flushed, filled with rubbish, cut off, killed and frozen."""

import asyncio
import pickle  # noqa: TID251 - to plant one
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import arq.worker
import pytest
from redis.asyncio import Redis

from fixtures.breakable_redis import BreakableRedis
from fixtures.redis_server import RedisServer
from phoenix.errors import Unavailable
from phoenix.events.pubsub.redis_client import open_redis
from phoenix.ids import new_task_id
from phoenix.queues.arq_queue import ArqTaskQueue
from phoenix.queues.consumer import QueueConsumer
from phoenix.queues.queue import ClaimTask, DispatchMessage, ReleaseSlot, Snooze, Work, queue_key

KEY = queue_key("test", "gpu")
TIMEOUT_S = 100


class FakeWork:
    """Claims messages with work that lasts until it is let go."""

    def __init__(self, *, refuse: int = 0, blocks: bool = True) -> None:
        self.answered: asyncio.Queue[DispatchMessage] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.slot_releases: list[ReleaseSlot] = []
        self._refuse = refuse
        self._blocks = blocks

    async def claim(self, message: DispatchMessage) -> Work | None:
        if self._refuse:
            self._refuse -= 1
            raise Unavailable("The database is away.")
        return FakeAttempt(self, message)

    async def do(self, message: DispatchMessage, release_slot: ReleaseSlot) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.slot_releases.append(release_slot)
        self.answered.put_nowait(message)
        if self._blocks:
            await self.let_go.wait()
        self.at_once -= 1

    async def next(self) -> DispatchMessage:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.answered.get()

    async def next_of(self, count: int) -> list[DispatchMessage]:
        return [await self.next() for _ in range(count)]


@dataclass(frozen=True)
class FakeAttempt:
    work: FakeWork
    message: DispatchMessage

    async def run(self, release_slot: ReleaseSlot) -> None:
        await self.work.do(self.message, release_slot)


@asynccontextmanager
async def consuming(redis: Redis, claim: ClaimTask, **options: Any) -> AsyncGenerator[QueueConsumer]:
    settings = {"slots": 1, "lease_s": 600, "poll_delay_s": 0.1, **options}
    consumer = QueueConsumer(redis, "test", "gpu", claim, **settings)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.drain()
        async with asyncio.timeout(TIMEOUT_S):
            await running


def make_messages(count: int) -> list[DispatchMessage]:
    return [DispatchMessage(new_task_id(), 1) for _ in range(count)]


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def queue(redis_client: Redis) -> ArqTaskQueue:
    return ArqTaskQueue(redis_client, "test")


async def test_messages_are_handled_in_order(redis_client: Redis, queue: ArqTaskQueue) -> None:
    enqueued = make_messages(5)
    await queue.enqueue("gpu", enqueued)
    fake = FakeWork(blocks=False)
    async with consuming(redis_client, fake.claim):
        assert await fake.next_of(5) == enqueued


async def test_a_notification_wakes_the_consumer_long_before_its_poll(redis_client: Redis, queue: ArqTaskQueue) -> None:
    fake, wake = FakeWork(blocks=False), asyncio.Event()
    async with consuming(redis_client, fake.claim, poll_delay_s=3600, wake=wake):
        (first,) = make_messages(1)
        await queue.enqueue("gpu", [first])
        wake.set()
        assert await fake.next() == first


async def test_a_slot_that_comes_free_is_filled_long_before_the_poll(redis_client: Redis, queue: ArqTaskQueue) -> None:
    enqueued, fake = make_messages(3), FakeWork(blocks=False)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim, poll_delay_s=3600):
        assert await fake.next_of(3) == enqueued


async def test_no_more_work_is_begun_than_there_are_slots(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.enqueue("gpu", make_messages(6))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim, slots=2):
        await fake.next_of(2)
        fake.let_go.set()
        await fake.next_of(4)
    assert fake.most_at_once == 2


async def test_a_task_that_releases_its_slot_overlaps_with_the_next_task(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    await queue.enqueue("gpu", make_messages(3))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim, slots=1, overlap=1, poll_delay_s=3600) as consumer:
        await fake.next()
        fake.slot_releases[0]()
        await fake.next()
        # Both places are taken now: the second has not freed its slot, and only one may overlap.
        assert consumer.in_progress == 2
        fake.let_go.set()
        await fake.next()
    assert fake.most_at_once == 2


async def test_a_task_is_left_to_others_while_the_slot_is_not_free(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.enqueue("gpu", make_messages(2))
    here, elsewhere = FakeWork(), FakeWork()
    async with consuming(redis_client, here.claim, overlap=1):
        await here.next()
        async with consuming(redis_client, elsewhere.claim):
            await elsewhere.next()
            here.let_go.set()
            elsewhere.let_go.set()
    assert here.most_at_once == 1


async def test_a_claimed_message_leaves_the_queue_while_its_work_goes_on(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    await queue.enqueue("gpu", make_messages(1))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim):
        await fake.next()

        async def is_empty() -> bool:
            return await redis_client.zcard(KEY) == 0

        await until(is_empty)
        fake.let_go.set()


async def test_nothing_is_left_in_redis_when_the_work_is_done(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.enqueue("gpu", make_messages(3))
    fake = FakeWork(blocks=False)
    async with consuming(redis_client, fake.claim):
        await fake.next_of(3)
    assert await redis_client.keys("*") == []


async def test_a_stale_message_is_dropped(redis_client: Redis, queue: ArqTaskQueue) -> None:
    enqueued = make_messages(2)
    await queue.enqueue("gpu", enqueued)
    fake = FakeWork(blocks=False)

    async def claim(message: DispatchMessage) -> Work | None:
        return None if message == enqueued[0] else await fake.claim(message)

    async with consuming(redis_client, claim):
        assert await fake.next() == enqueued[1]
    assert await redis_client.zcard(KEY) == 0


async def test_a_message_is_kept_while_the_database_is_away(redis_client: Redis, queue: ArqTaskQueue) -> None:
    enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    fake = FakeWork(refuse=2, blocks=False)
    async with consuming(redis_client, fake.claim):
        assert await fake.next() == enqueued[0]


async def test_a_message_that_is_kept_keeps_its_position(redis_client: Redis, queue: ArqTaskQueue) -> None:
    enqueued = make_messages(3)
    await queue.enqueue("gpu", enqueued)
    fake = FakeWork(refuse=1, blocks=False)
    async with consuming(redis_client, fake.claim):
        assert await fake.next_of(3) == enqueued


async def test_no_other_message_is_tried_at_once_while_the_database_is_away(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    enqueued, tried = make_messages(2), asyncio.Queue[DispatchMessage]()

    async def refuse(message: DispatchMessage) -> Work | None:
        tried.put_nowait(message)
        raise Unavailable("The database is away.")

    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, refuse):
        assert [await tried.get(), await tried.get()] == [enqueued[0], enqueued[0]]


async def test_a_message_kept_by_a_host_whose_clock_is_fast_is_not_hidden_from_the_others(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    (message,) = enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    fake, refused, real_timestamp_ms = FakeWork(blocks=False), asyncio.Event(), arq.worker.timestamp_ms

    async def refuse(message: DispatchMessage) -> Work | None:
        refused.set()
        raise Unavailable("The database is away.")

    with pytest.MonkeyPatch.context() as host:
        host.setattr(arq.worker, "timestamp_ms", lambda: real_timestamp_ms() + 3600_000)
        async with consuming(redis_client, refuse):
            await refused.wait()
    async with consuming(redis_client, fake.claim):
        assert await fake.next() == message


async def test_a_message_enqueued_again_while_it_is_handled_does_not_begin_twice(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    fake = FakeWork()
    async with consuming(redis_client, fake.claim, slots=2):
        await fake.next()
        await redis_client.flushall()
        other = make_messages(1)
        await queue.enqueue("gpu", enqueued + other)
        assert await fake.next() == other[0]
        fake.let_go.set()


async def test_after_drain_nothing_more_is_picked_and_the_work_begun_is_finished(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    enqueued, fake = make_messages(2), FakeWork()
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim) as consumer:
        await fake.next()
        consumer.drain()
        assert consumer.in_progress == 1
        fake.let_go.set()
    assert (fake.answered.empty(), consumer.in_progress) == (True, 0)
    assert await queue.find_missing("gpu", enqueued) == enqueued[:1]


RUBBISH = {
    "a name that is no text": (b"\xff\xfe\x00", None),
    "a foreign name": (b"hello", b"world"),
    "no definition": (f"{new_task_id()}:1".encode(), None),
    "a definition that is no JSON": (f"{new_task_id()}:1".encode(), b"not json"),
    "a definition of 5 kB": (f"{new_task_id()}:1".encode(), b'{"f":"claim"}' + b" " * 5000),
    "an unknown function": (f"{new_task_id()}:1".encode(), b'{"f":"os.system","a":["%s",1]}' % new_task_id().encode()),
    "somebody else's definition": (
        f"{new_task_id()}:1".encode(),
        b'{"f":"claim","a":["%s",1]}' % new_task_id().encode(),
    ),
}


@pytest.mark.parametrize("kind", RUBBISH)
async def test_rubbish_is_dropped_and_the_next_message_is_handled(
    redis_client: Redis, queue: ArqTaskQueue, kind: str
) -> None:
    name, definition = RUBBISH[kind]
    await redis_client.zadd(KEY, {name: 1})
    if definition is not None:
        await redis_client.set(b"arq:job:" + name, definition)
    enqueued, fake = make_messages(1), FakeWork(blocks=False)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim):
        assert await fake.next() == enqueued[0]
    assert await redis_client.zcard(KEY) == 0


async def test_a_definition_of_another_type_is_dropped(redis_client: Redis, queue: ArqTaskQueue) -> None:
    name = f"{new_task_id()}:1"
    await redis_client.zadd(KEY, {name: 1})
    await redis_client.rpush(f"arq:job:{name}", "x")
    enqueued, fake = make_messages(1), FakeWork(blocks=False)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim):
        assert await fake.next() == enqueued[0]
    assert await redis_client.keys("*") == []


async def test_a_pickle_is_never_loaded(redis_client: Redis, queue: ArqTaskQueue, tmp_path: Any) -> None:
    trace = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (trace.touch, ())

    name = f"{new_task_id()}:1"
    await redis_client.zadd(KEY, {name: 1})
    await redis_client.set(f"arq:job:{name}", pickle.dumps(Bomb()))
    fake, enqueued = FakeWork(blocks=False), make_messages(1)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim):
        await fake.next()
    assert not trace.exists()


async def test_entries_in_progress_elsewhere_do_not_hide_the_entries_behind_them(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    busy = make_messages(500)
    await queue.enqueue("gpu", busy)
    async with redis_client.pipeline() as pipe:
        for message in busy:
            pipe.set(f"arq:in-progress:{message.name}", b"1", ex=60)
        await pipe.execute()
    enqueued, fake = make_messages(1), FakeWork(blocks=False)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, fake.claim):
        assert await fake.next() == enqueued[0]


@pytest.mark.parametrize("request_number", range(1, 13))
async def test_a_connection_that_breaks_at_any_request_costs_no_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer, request_number: int
) -> None:
    port = int(redis_server.url.rsplit(":", 1)[1].partition("/")[0])
    fake = FakeWork(blocks=False)
    async with BreakableRedis(port) as proxy:
        broken = open_redis(proxy.url, socket_timeout_s=1)
        async with consuming(broken, fake.claim, lease_s=0.5):
            proxy.break_after(request_number)
            first, second = make_messages(1), make_messages(1)
            await queue.enqueue("gpu", first)
            async with asyncio.timeout(TIMEOUT_S):
                await proxy.broke.wait()
            await queue.enqueue("gpu", second)
            # In whatever order, and the first perhaps twice: both are answered by the only slot.
            expected = set(first + second)
            while expected:
                expected.discard(await fake.next())
        await broken.aclose()


async def test_work_goes_on_while_redis_is_restarted_and_keeps_its_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.enqueue("gpu", make_messages(1))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim, slots=2) as consumer:
        await fake.next()
        redis_server.restart()
        await queue.enqueue("gpu", make_messages(2))
        await fake.next()
        # One of the two places is still taken by what was begun before the restart.
        assert (consumer.in_progress, fake.answered.empty()) == (2, True)
        fake.let_go.set()
        await fake.next()
    assert fake.most_at_once == 2


async def test_a_slot_of_an_adopted_task_is_released(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.enqueue("gpu", make_messages(1))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim):
        await fake.next()
        redis_server.restart()
        await queue.enqueue("gpu", make_messages(2))
        fake.let_go.set()
        await fake.next_of(2)


async def test_it_consumes_from_a_start_without_redis(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    redis_server.kill()
    fake = FakeWork(blocks=False)
    async with consuming(redis_client, fake.claim):
        redis_server.start()
        enqueued = make_messages(1)
        await queue.enqueue("gpu", enqueued)
        assert await fake.next() == enqueued[0]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_drain_ends_it_while_redis_is_away(
    hasty_redis_client: Redis, redis_server: RedisServer, fault: str
) -> None:
    fake = FakeWork()
    async with consuming(hasty_redis_client, fake.claim):
        if fault == "killed":
            redis_server.kill()
        else:
            redis_server.pause()
    redis_server.resume()


async def test_work_that_ends_while_redis_is_away_frees_its_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.enqueue("gpu", make_messages(1))
    fake = FakeWork()
    async with consuming(redis_client, fake.claim) as consumer:
        await fake.next()
        redis_server.kill()
        fake.let_go.set()

        async def is_idle() -> bool:
            return consumer.in_progress == 0

        await until(is_idle)
        redis_server.start()
        enqueued = make_messages(1)
        await queue.enqueue("gpu", enqueued)
        assert await fake.next() == enqueued[0]


async def test_a_message_that_one_consumer_snoozes_is_handled_by_another(
    queue: ArqTaskQueue, redis_client: Redis
) -> None:
    fake, left = FakeWork(blocks=False), asyncio.Event()

    async def snooze(message: DispatchMessage) -> Snooze:
        left.set()
        return Snooze(for_s=3600)

    async with consuming(redis_client, snooze):
        (message,) = enqueued = make_messages(1)
        await queue.enqueue("gpu", enqueued)
        async with asyncio.timeout(TIMEOUT_S):
            await left.wait()
        async with consuming(redis_client, fake.claim):
            assert await fake.next() == message


async def test_a_snoozed_message_that_no_other_consumer_handles_comes_again(
    queue: ArqTaskQueue, redis_client: Redis
) -> None:
    fake, was_left = FakeWork(blocks=False), False

    async def claim(message: DispatchMessage) -> Work | Snooze | None:
        nonlocal was_left
        if was_left:
            return await fake.claim(message)
        was_left = True
        return Snooze(for_s=0.05)

    (message,) = enqueued = make_messages(1)
    await queue.enqueue("gpu", enqueued)
    async with consuming(redis_client, claim, poll_delay_s=3600):
        assert await fake.next() == message


async def test_the_next_message_is_not_held_up_by_a_snoozed_one(queue: ArqTaskQueue, redis_client: Redis) -> None:
    fake, (left, taken) = FakeWork(), make_messages(2)

    async def claim(message: DispatchMessage) -> Work | Snooze | None:
        return Snooze(for_s=3600) if message == left else await fake.claim(message)

    await queue.enqueue("gpu", [left, taken])
    async with consuming(redis_client, claim, poll_delay_s=3600):
        assert await fake.next() == taken
        fake.let_go.set()
