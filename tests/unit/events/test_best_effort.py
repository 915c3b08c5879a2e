"""Calls to a Redis that may be away."""

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError

from phoenix.events.pubsub.redis_client import BestEffort


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def works() -> str:
    return "answer"


async def is_refused() -> str:
    raise RedisConnectionError("refused")


async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_the_result_of_a_call_is_returned() -> None:
    assert await BestEffort(1).attempt(works, otherwise="away") == "answer"


async def test_a_refusal_is_not_raised() -> None:
    assert await BestEffort(1).attempt(is_refused, otherwise="away") == "away"


async def test_a_refusal_does_not_delay_the_next_call() -> None:
    effort = BestEffort(1)
    await effort.attempt(is_refused, otherwise="away")
    assert await effort.attempt(works, otherwise="away") == "answer"


async def test_a_frozen_redis_gets_no_call_for_a_second() -> None:
    clock = Clock()
    effort = BestEffort(0.01, clock)
    await effort.attempt(hangs, otherwise="away")
    assert await effort.attempt(works, otherwise="away") == "away"
    clock.now_s += 1.1
    assert await effort.attempt(works, otherwise="away") == "answer"
