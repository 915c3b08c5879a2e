"""Bells between processes over a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fixtures.redis_server import RedisServer
from phoenix.events.pubsub.channels import Channels
from phoenix.events.pubsub.notifier import Bell
from phoenix.events.pubsub.subscriber import Line

STOP = Channels("test").stop


@pytest.fixture
async def line(redis_client: Redis) -> AsyncIterator[Line]:
    async with Line(redis_client, silence_s=0.5) as line:
        yield line


async def test_every_ring_is_heard_with_its_payload(line: Line, redis_client: Redis) -> None:
    bell = Bell(redis_client, STOP)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with bell.heard(line, heard.put_nowait):
        assert await bell.ring("task_1")
        assert await bell.ring("task_2")
        assert [await asyncio.wait_for(heard.get(), 100) for _ in range(2)] == ["task_1", "task_2"]


async def test_a_ring_wakes_whoever_waits(line: Line, redis_client: Redis) -> None:
    bell = Bell(redis_client, STOP)
    async with bell.waking(line) as rung:
        assert not rung.is_set()
        await bell.ring()
        await asyncio.wait_for(rung.wait(), 100)


async def test_after_an_outage_listeners_are_told_to_look(
    line: Line, redis_client: Redis, redis_server: RedisServer
) -> None:
    bell = Bell(redis_client, STOP)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with bell.heard(line, heard.put_nowait):
        redis_server.kill()
        assert not await bell.ring("task_1")
        redis_server.start()
        assert await asyncio.wait_for(heard.get(), 100) == ""
        assert await bell.ring("task_2")
        assert await asyncio.wait_for(heard.get(), 100) == "task_2"


async def test_ringing_a_frozen_redis_gives_up_in_time(redis_client: Redis, redis_server: RedisServer) -> None:
    bell = Bell(redis_client, STOP, time_limit_s=0.1)
    redis_server.pause()
    async with asyncio.timeout(100):
        assert not await bell.ring()


async def test_who_has_left_hears_nothing(line: Line, redis_client: Redis) -> None:
    bell = Bell(redis_client, STOP)
    heard: list[str] = []
    async with bell.heard(line, heard.append):
        pass
    async with bell.waking(line) as rung:
        await bell.ring("task_1")
        await asyncio.wait_for(rung.wait(), 100)
    assert heard == []
