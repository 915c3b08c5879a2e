"""The client of Redis: time limits that hold, connections that are replaced, cancellations that arrive."""

import asyncio
import ssl
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fixtures.redis_server import RedisServer
from phoenix.events.pubsub.redis_client import open_redis, send

# More than the kernel's socket buffers take, so that writing it waits for the reader.
LARGE = b"x" * 50_000_000


async def test_commands_are_answered_in_order(redis_client: Redis) -> None:
    assert await send(redis_client, ("SET", "key", 1), ("INCR", "key"), ("GET", "key")) == [True, 2, b"2"]


async def test_a_frozen_redis_costs_a_command_its_time_limit(redis_server: RedisServer) -> None:
    redis = open_redis(redis_server.url, socket_timeout_s=0.2)
    redis_server.pause()
    with pytest.raises(RedisTimeoutError):
        await asyncio.wait_for(send(redis, ("PING",)), 100)
    await redis.aclose()


async def test_a_write_that_the_server_does_not_take_ends_at_the_time_limit(redis_server: RedisServer) -> None:
    redis = open_redis(redis_server.url, socket_timeout_s=0.2)
    await send(redis, ("PING",))
    redis_server.pause()
    with pytest.raises(RedisTimeoutError, match="writing"):
        await asyncio.wait_for(send(redis, ("SET", "key", LARGE)), 100)
    redis_server.resume()
    assert await send(redis, ("PING",)) == [True]
    await redis.aclose()


async def test_a_connection_that_was_cut_is_replaced_without_an_error(redis_client: Redis) -> None:
    own_id = await redis_client.client_id()
    async with Redis.from_url(f"redis://127.0.0.1:{port_of(redis_client)}") as other:
        await other.client_kill_filter(_id=str(own_id))
    assert await send(redis_client, ("PING",)) == [True]


async def test_a_cancellation_during_a_command_is_never_swallowed(redis_client: Redis) -> None:
    await send(redis_client, ("PING",))
    for turns in range(40):
        pinging = asyncio.create_task(ping_for_ever(redis_client))
        for _ in range(turns):
            await asyncio.sleep(0)
        pinging.cancel()
        done, _ = await asyncio.wait([pinging], timeout=100)
        assert done


async def test_a_unix_socket_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    redis = open_redis(f"unix://{tmp_path}/missing.sock?db=0", socket_timeout_s=1)
    with pytest.raises(RedisConnectionError):
        await send(redis, ("PING",))
    await redis.aclose()


async def test_tls_to_a_server_without_it_is_an_error(redis_server: RedisServer) -> None:
    redis = open_redis(redis_server.url.replace("redis://", "rediss://"), socket_timeout_s=1)
    with pytest.raises((RedisConnectionError, RedisTimeoutError, ssl.SSLError)):
        await send(redis, ("PING",))
    await redis.aclose()


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(ValueError, match="URL"):
        open_redis("http://127.0.0.1", socket_timeout_s=1)


async def ping_for_ever(redis: Redis) -> None:
    while True:
        await send(redis, ("PING",))


def port_of(redis: Redis) -> int:
    return redis.connection_pool.connection_kwargs["port"]
