"""Answering doorbells out of a real Redis, while that is emptied, filled with rubbish, cut off, killed and frozen."""

import asyncio
import pickle  # noqa: TID251 - to plant one
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
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
from phoenix.queues.consumer import DoorbellListener
from phoenix.queues.queue import Accept, Doorbell, FreeSlot, LeftToOthers, Work, queue_key

KEY = queue_key("test", "gpu")
PATIENCE_S = 100


class Hands:
    """Answers doorbells with work that lasts until it is let go."""

    def __init__(self, *, refuse: int = 0, blocks: bool = True) -> None:
        self.answered: asyncio.Queue[Doorbell] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.free_slots: list[FreeSlot] = []
        self._refuse = refuse
        self._blocks = blocks

    async def accept(self, doorbell: Doorbell) -> Work | None:
        if self._refuse:
            self._refuse -= 1
            raise Unavailable("The database is away.")

        async def work(free_slot: FreeSlot) -> None:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.free_slots.append(free_slot)
            self.answered.put_nowait(doorbell)
            if self._blocks:
                await self.let_go.wait()
            self.at_once -= 1

        return work

    async def next(self) -> Doorbell:
        async with asyncio.timeout(PATIENCE_S):
            return await self.answered.get()

    async def next_of(self, count: int) -> list[Doorbell]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def listening(redis: Redis, accept: Accept, **options: Any) -> AsyncGenerator[DoorbellListener]:
    settings = {"slots": 1, "lease_s": 2, "poll_delay_s": 0.1, **options}
    listener = DoorbellListener(redis, "test", "gpu", accept, **settings)
    running = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        listener.pause()
        async with asyncio.timeout(PATIENCE_S):
            await running


def bells(count: int) -> list[Doorbell]:
    return [Doorbell(new_task_id(), 1) for _ in range(count)]


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def queue(redis_client: Redis) -> ArqTaskQueue:
    return ArqTaskQueue(redis_client, "test")


async def test_doorbells_are_answered_in_order(redis_client: Redis, queue: ArqTaskQueue) -> None:
    rung = bells(5)
    await queue.ring("gpu", rung)
    hands = Hands(blocks=False)
    async with listening(redis_client, hands.accept):
        assert await hands.next_of(5) == rung


async def test_a_bell_wakes_the_listener_long_before_its_poll(redis_client: Redis, queue: ArqTaskQueue) -> None:
    hands, wake = Hands(blocks=False), asyncio.Event()
    async with listening(redis_client, hands.accept, poll_delay_s=60, wake=wake):
        (first,) = bells(1)
        await queue.ring("gpu", [first])
        wake.set()
        assert await hands.next() == first


async def test_a_slot_that_comes_free_is_filled_long_before_the_poll(redis_client: Redis, queue: ArqTaskQueue) -> None:
    rung, hands = bells(3), Hands(blocks=False)
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept, poll_delay_s=60):
        assert await hands.next_of(3) == rung


async def test_no_more_work_is_begun_than_there_are_slots(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.ring("gpu", bells(6))
    hands = Hands()
    async with listening(redis_client, hands.accept, slots=2):
        await hands.next_of(2)
        hands.let_go.set()
        await hands.next_of(4)
    assert hands.most_at_once == 2


async def test_a_task_that_frees_its_slot_lets_the_next_begin_beside_it(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    await queue.ring("gpu", bells(3))
    hands = Hands()
    async with listening(redis_client, hands.accept, slots=1, overlap=1, poll_delay_s=60) as listener:
        await hands.next()
        hands.free_slots[0]()
        await hands.next()
        # Both places are taken now: the second has not freed its slot, and only one may overlap.
        assert listener.busy == 2
        hands.let_go.set()
        await hands.next()
    assert hands.most_at_once == 2


async def test_a_task_is_left_to_others_while_the_slot_is_not_free(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.ring("gpu", bells(2))
    here, elsewhere = Hands(), Hands()
    async with listening(redis_client, here.accept, overlap=1):
        await here.next()
        async with listening(redis_client, elsewhere.accept):
            await elsewhere.next()
            here.let_go.set()
            elsewhere.let_go.set()
    assert here.most_at_once == 1


async def test_an_answered_doorbell_leaves_the_queue_while_its_work_goes_on(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    await queue.ring("gpu", bells(1))
    hands = Hands()
    async with listening(redis_client, hands.accept):
        await hands.next()

        async def is_empty() -> bool:
            return await redis_client.zcard(KEY) == 0

        await until(is_empty)
        hands.let_go.set()


async def test_nothing_is_left_in_redis_when_the_work_is_done(redis_client: Redis, queue: ArqTaskQueue) -> None:
    await queue.ring("gpu", bells(3))
    hands = Hands(blocks=False)
    async with listening(redis_client, hands.accept):
        await hands.next_of(3)
    assert await redis_client.keys("*") == []


async def test_a_stale_doorbell_is_dropped(redis_client: Redis, queue: ArqTaskQueue) -> None:
    rung = bells(2)
    await queue.ring("gpu", rung)
    hands = Hands(blocks=False)

    async def accept(doorbell: Doorbell) -> Work | None:
        return None if doorbell == rung[0] else await hands.accept(doorbell)

    async with listening(redis_client, accept):
        assert await hands.next() == rung[1]
    assert await redis_client.zcard(KEY) == 0


async def test_a_doorbell_is_kept_while_the_database_is_away(redis_client: Redis, queue: ArqTaskQueue) -> None:
    rung = bells(1)
    await queue.ring("gpu", rung)
    hands = Hands(refuse=2, blocks=False)
    async with listening(redis_client, hands.accept):
        assert await hands.next() == rung[0]


async def test_a_doorbell_that_is_kept_keeps_its_place(redis_client: Redis, queue: ArqTaskQueue) -> None:
    rung = bells(3)
    await queue.ring("gpu", rung)
    hands = Hands(refuse=1, blocks=False)
    async with listening(redis_client, hands.accept):
        assert await hands.next_of(3) == rung


async def test_no_other_doorbell_is_tried_at_once_while_the_database_is_away(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    rung, tried = bells(2), asyncio.Queue[Doorbell]()

    async def refuse(doorbell: Doorbell) -> Work | None:
        tried.put_nowait(doorbell)
        raise Unavailable("The database is away.")

    await queue.ring("gpu", rung)
    async with listening(redis_client, refuse):
        assert [await tried.get(), await tried.get()] == [rung[0], rung[0]]


async def test_a_doorbell_kept_by_a_host_whose_clock_is_fast_is_not_hidden_from_the_others(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    (bell,) = rung = bells(1)
    await queue.ring("gpu", rung)
    hands, refused, tell_ms = Hands(blocks=False), asyncio.Event(), arq.worker.timestamp_ms

    async def refuse(doorbell: Doorbell) -> Work | None:
        refused.set()
        raise Unavailable("The database is away.")

    with pytest.MonkeyPatch.context() as host:
        host.setattr(arq.worker, "timestamp_ms", lambda: tell_ms() + 3600_000)
        async with listening(redis_client, refuse):
            await refused.wait()
    async with listening(redis_client, hands.accept):
        assert await hands.next() == bell


async def test_a_doorbell_rung_again_while_it_is_answered_does_not_begin_twice(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    rung = bells(1)
    await queue.ring("gpu", rung)
    hands = Hands()
    async with listening(redis_client, hands.accept, slots=2):
        await hands.next()
        await redis_client.flushall()
        other = bells(1)
        await queue.ring("gpu", rung + other)
        assert await hands.next() == other[0]
        hands.let_go.set()


async def test_after_pause_nothing_more_is_picked_and_the_work_begun_is_finished(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    rung, hands = bells(2), Hands()
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept) as listener:
        await hands.next()
        listener.pause()
        assert listener.busy == 1
        hands.let_go.set()
    assert (hands.answered.empty(), listener.busy) == (True, 0)
    assert await queue.find_missing("gpu", rung) == rung[:1]


RUBBISH = {
    "a name that is no text": (b"\xff\xfe\x00", None),
    "a foreign name": (b"hello", b"world"),
    "no definition": (f"{new_task_id()}:1".encode(), None),
    "a definition that is no JSON": (f"{new_task_id()}:1".encode(), b"not json"),
    "a definition of 5 kB": (f"{new_task_id()}:1".encode(), b'{"f":"answer"}' + b" " * 5000),
    "an unknown function": (f"{new_task_id()}:1".encode(), b'{"f":"os.system","a":["%s",1]}' % new_task_id().encode()),
    "somebody else's definition": (
        f"{new_task_id()}:1".encode(),
        b'{"f":"answer","a":["%s",1]}' % new_task_id().encode(),
    ),
}


@pytest.mark.parametrize("kind", RUBBISH)
async def test_rubbish_is_dropped_and_the_next_doorbell_is_answered(
    redis_client: Redis, queue: ArqTaskQueue, kind: str
) -> None:
    name, definition = RUBBISH[kind]
    await redis_client.zadd(KEY, {name: 1})
    if definition is not None:
        await redis_client.set(b"arq:job:" + name, definition)
    rung, hands = bells(1), Hands(blocks=False)
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept):
        assert await hands.next() == rung[0]
    assert await redis_client.zcard(KEY) == 0


async def test_a_definition_of_another_type_is_dropped(redis_client: Redis, queue: ArqTaskQueue) -> None:
    name = f"{new_task_id()}:1"
    await redis_client.zadd(KEY, {name: 1})
    await redis_client.rpush(f"arq:job:{name}", "x")
    rung, hands = bells(1), Hands(blocks=False)
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept):
        assert await hands.next() == rung[0]
    assert await redis_client.keys("*") == []


async def test_a_pickle_is_never_loaded(redis_client: Redis, queue: ArqTaskQueue, tmp_path: Any) -> None:
    trace = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (trace.touch, ())

    name = f"{new_task_id()}:1"
    await redis_client.zadd(KEY, {name: 1})
    await redis_client.set(f"arq:job:{name}", pickle.dumps(Bomb()))
    hands, rung = Hands(blocks=False), bells(1)
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept):
        await hands.next()
    assert not trace.exists()


async def test_entries_in_progress_elsewhere_do_not_hide_those_behind_them(
    redis_client: Redis, queue: ArqTaskQueue
) -> None:
    busy = bells(500)
    await queue.ring("gpu", busy)
    async with redis_client.pipeline() as pipe:
        for bell in busy:
            pipe.set(f"arq:in-progress:{bell.name}", b"1", ex=60)
        await pipe.execute()
    rung, hands = bells(1), Hands(blocks=False)
    await queue.ring("gpu", rung)
    async with listening(redis_client, hands.accept):
        assert await hands.next() == rung[0]


@pytest.mark.parametrize("request_number", range(1, 13))
async def test_a_connection_that_breaks_at_any_request_costs_no_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer, request_number: int
) -> None:
    port = int(redis_server.url.rsplit(":", 1)[1].partition("/")[0])
    hands = Hands(blocks=False)
    async with BreakableRedis(port) as proxy:
        broken = open_redis(proxy.url, socket_timeout_s=1)
        async with listening(broken, hands.accept, lease_s=0.5):
            proxy.break_after(request_number)
            first, second = bells(1), bells(1)
            await queue.ring("gpu", first)
            async with asyncio.timeout(PATIENCE_S):
                await proxy.broke.wait()
            await queue.ring("gpu", second)
            # In whatever order, and the first perhaps twice: both are answered by the only slot.
            expected = set(first + second)
            while expected:
                expected.discard(await hands.next())
        await broken.aclose()


async def test_work_goes_on_while_redis_is_restarted_and_keeps_its_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.ring("gpu", bells(1))
    hands = Hands()
    async with listening(redis_client, hands.accept, slots=2) as listener:
        await hands.next()
        redis_server.restart()
        await queue.ring("gpu", bells(2))
        await hands.next()
        # One of the two places is still taken by what was begun before the restart.
        assert (listener.busy, hands.answered.empty()) == (2, True)
        hands.let_go.set()
        await hands.next()
    assert hands.most_at_once == 2


async def test_a_carried_slot_comes_free_again(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.ring("gpu", bells(1))
    hands = Hands()
    async with listening(redis_client, hands.accept):
        await hands.next()
        redis_server.restart()
        await queue.ring("gpu", bells(2))
        hands.let_go.set()
        await hands.next_of(2)


async def test_it_listens_from_a_start_without_redis(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    redis_server.kill()
    hands = Hands(blocks=False)
    async with listening(redis_client, hands.accept):
        redis_server.start()
        rung = bells(1)
        await queue.ring("gpu", rung)
        assert await hands.next() == rung[0]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_pause_ends_it_promptly_while_redis_is_away(
    redis_client: Redis, redis_server: RedisServer, fault: str
) -> None:
    hands = Hands()
    async with listening(redis_client, hands.accept):
        if fault == "killed":
            redis_server.kill()
        else:
            redis_server.pause()
        started_s = time.monotonic()
    # The socket's time limit is 1 s here, and a dead connection is replaced once.
    assert time.monotonic() - started_s < 5
    redis_server.resume()


async def test_work_that_ends_while_redis_is_away_frees_its_slot(
    redis_client: Redis, queue: ArqTaskQueue, redis_server: RedisServer
) -> None:
    await queue.ring("gpu", bells(1))
    hands = Hands()
    async with listening(redis_client, hands.accept) as listener:
        await hands.next()
        redis_server.kill()
        hands.let_go.set()

        async def is_idle() -> bool:
            return listener.busy == 0

        await until(is_idle)
        redis_server.start()
        rung = bells(1)
        await queue.ring("gpu", rung)
        assert await hands.next() == rung[0]


async def test_a_doorbell_that_one_listener_leaves_is_answered_by_another(
    queue: ArqTaskQueue, redis_client: Redis
) -> None:
    hands, left = Hands(blocks=False), asyncio.Event()

    async def leave(doorbell: Doorbell) -> LeftToOthers:
        left.set()
        return LeftToOthers(for_s=3600)

    async with listening(redis_client, leave):
        (bell,) = rung = bells(1)
        await queue.ring("gpu", rung)
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        async with listening(redis_client, hands.accept):
            assert await hands.next() == bell


async def test_a_doorbell_that_nobody_else_answers_comes_again(queue: ArqTaskQueue, redis_client: Redis) -> None:
    hands, was_left = Hands(blocks=False), False

    async def accept(doorbell: Doorbell) -> Work | LeftToOthers | None:
        nonlocal was_left
        if was_left:
            return await hands.accept(doorbell)
        was_left = True
        return LeftToOthers(for_s=0.05)

    (bell,) = rung = bells(1)
    await queue.ring("gpu", rung)
    async with listening(redis_client, accept, poll_delay_s=3600):
        assert await hands.next() == bell


async def test_the_next_doorbell_is_not_held_up_by_one_that_was_left(queue: ArqTaskQueue, redis_client: Redis) -> None:
    hands, (left, taken) = Hands(), bells(2)

    async def accept(doorbell: Doorbell) -> Work | LeftToOthers | None:
        return LeftToOthers(for_s=3600) if doorbell == left else await hands.accept(doorbell)

    await queue.ring("gpu", [left, taken])
    async with listening(redis_client, accept, poll_delay_s=3600):
        assert await hands.next() == taken
        hands.let_go.set()
