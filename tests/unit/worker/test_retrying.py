"""Waits for the database, and waits that a stop cancels."""

import asyncio

import pytest

from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import NewerVersionError, Unavailable
from phoenix.worker.context import cancel_on_stop, retry_until_available


class AwayFor:
    def __init__(self, calls: int) -> None:
        self.left = calls

    async def __call__(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise Unavailable("The database is away.")
        return "answer"


async def test_what_comes_back_is_waited_for() -> None:
    assert await retry_until_available(AwayFor(1)) == "answer"


async def test_what_only_a_newer_version_can_read_is_not_waited_for() -> None:
    async def attempt() -> None:
        raise NewerVersionError

    with pytest.raises(NewerVersionError):
        await retry_until_available(attempt)


async def test_waiting_ends_with_a_stop() -> None:
    stop = StopToken()
    stop.stop(StopReason.PREEMPT)
    with pytest.raises(RenderStopped):
        await retry_until_available(AwayFor(1000), stop)


async def test_work_that_is_not_stopped_gives_its_result() -> None:
    async def work() -> int:
        return 3

    assert await cancel_on_stop(work(), StopToken()) == 3


async def test_a_stop_from_another_thread_ends_the_work_at_once() -> None:
    stop, begun = StopToken(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(cancel_on_stop(work(), stop))
    await begun.wait()
    await asyncio.to_thread(stop.stop, StopReason.CANCEL)
    with pytest.raises(RenderStopped) as caught:
        await waiting
    assert caught.value.reason is StopReason.CANCEL


async def test_work_is_not_begun_in_earnest_after_a_stop() -> None:
    stop = StopToken()
    stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        await cancel_on_stop(asyncio.Event().wait(), stop)


async def test_a_failure_of_the_work_is_passed_on() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await cancel_on_stop(work(), StopToken())
