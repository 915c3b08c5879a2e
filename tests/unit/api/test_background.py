"""A task that ends with its block."""

import asyncio

import pytest

from phoenix.async_tasks import in_background


async def test_work_runs_until_the_block_is_left() -> None:
    said: list[str] = []

    async def work() -> None:
        said.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            said.append("ended")

    async with in_background(work(), name="work"):
        await asyncio.sleep(0)
        assert said == ["begun"]

    assert said == ["begun", "ended"]


async def test_work_that_failed_says_so_when_the_block_is_left() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with in_background(work(), name="work"):
            await asyncio.sleep(0)
