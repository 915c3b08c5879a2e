"""Reads that several ask for at once: one read for all, and a fault is only of those whom it concerns."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from phoenix.errors import NewerVersionError, Unavailable
from phoenix.events.log import BatchLoader


class Log:
    """Its entry `newer` is of a newer version, and takes a whole read with it. While it is `away` every read fails."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.reads: list[list[str]] = []
        self._is_away = is_away

    async def read(self, keys: Collection[str]) -> Mapping[str, str]:
        self.reads.append(sorted(keys))
        if self._is_away:
            raise Unavailable("The database is away.")
        if "newer" in keys:
            raise NewerVersionError
        return {key: key.upper() for key in keys}


async def ask(log: Log, *keys: str) -> list[str | BaseException | None]:
    loader = BatchLoader(log.read)
    return await asyncio.gather(*map(loader.get, keys), return_exceptions=True)


async def test_what_is_asked_for_at_once_is_read_at_once() -> None:
    log = Log()
    assert await ask(log, "a", "b", "a") == ["A", "B", "A"]
    assert log.reads == [["a", "b"]]


async def test_what_only_a_newer_version_can_read_keeps_nobody_else_from_an_answer() -> None:
    a, newer, b = await ask(Log(), "a", "newer", "b")
    assert (a, type(newer), b) == ("A", NewerVersionError, "B")


@pytest.mark.parametrize("count", [1, 50])
async def test_a_database_that_is_away_is_asked_once_for_all(count: int) -> None:
    log = Log(is_away=True)
    answers = await ask(log, *map(str, range(count)))
    assert {type(answer) for answer in answers} == {Unavailable}
    assert len(log.reads) == 1
