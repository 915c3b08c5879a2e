"""Reads of several callers at once: one query for all, and an error only for the callers of its key."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from phoenix.errors import NewerVersionError, Unavailable
from phoenix.events.log_interface import BatchLoader


class Log:
    """Reads of the key `newer` fail, and with it the whole read. If `is_away`, every read fails."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.reads: list[list[str]] = []
        self._is_away = is_away

    async def read(self, keys: Collection[str]) -> Mapping[str, str]:
        self.reads.append(sorted(keys))
        await asyncio.sleep(0)
        if self._is_away:
            raise Unavailable("The database is away.")
        if "newer" in keys:
            raise NewerVersionError
        return {key: key.upper() for key in keys}


async def ask(log: Log, *keys: str) -> list[str | BaseException | None]:
    loader = BatchLoader(log.read)
    return await asyncio.gather(*map(loader.get, keys), return_exceptions=True)


async def test_requests_during_a_read_are_one_read() -> None:
    log = Log()
    assert await ask(log, "a", "a", "b", "a") == ["A", "A", "B", "A"]
    assert log.reads == [["a"], ["a", "b"]]


async def test_a_reader_that_is_canceled_leaves_the_others_their_read() -> None:
    log = Log()
    loader = BatchLoader(log.read)
    first, second = asyncio.create_task(loader.get("a")), asyncio.create_task(loader.get("b"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "B"


async def test_a_row_of_a_newer_version_fails_only_its_own_callers() -> None:
    a, newer, b = await ask(Log(), "a", "newer", "b")
    assert (a, type(newer), b) == ("A", NewerVersionError, "B")


@pytest.mark.parametrize("count", [1, 50])
async def test_a_database_that_is_away_gets_one_query_for_all_callers_that_wait(count: int) -> None:
    log = Log(is_away=True)
    answers = await ask(log, "first", *map(str, range(count)))
    assert {type(answer) for answer in answers} == {Unavailable}
    assert len(log.reads) == 2
