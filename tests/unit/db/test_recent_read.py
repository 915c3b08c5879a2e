"""How long the result of a read is shared, and what makes it be read again."""

from collections.abc import Callable
from functools import partial
from itertools import count

import pytest

from phoenix.db import RecentRead


class Counter:
    """Stands for the database: returns how often it was read, and may advance the clock."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.reads = 0
        self.now_s = 0.0
        self._takes_s = takes_s

    async def read(self) -> int:
        self.reads += 1
        self.now_s += self._takes_s
        return self.reads

    def clock_s(self) -> float:
        return self.now_s


def milliseconds() -> Callable[[], float]:
    """A clock that is a millisecond later each time."""
    return partial(next, count(0, 0.001))


async def test_a_result_is_shared_for_a_moment() -> None:
    recent = RecentRead(Counter().read, clock_s=milliseconds())

    assert [await recent.get() for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(("takes_s", "kept_s"), [(0.0, 0.1), (0.05, 1.0), (60.0, 2.0)])
async def test_a_slow_read_is_shared_for_longer_within_bounds(takes_s: float, kept_s: float) -> None:
    counter = Counter(takes_s)
    recent = RecentRead(counter.read, clock_s=counter.clock_s)
    await recent.get()
    counter.now_s += kept_s - 0.01
    before_its_end = await recent.get()
    counter.now_s += 0.02

    assert (before_its_end, await recent.get()) == (1, 2)


async def test_a_commit_of_this_process_makes_the_result_old() -> None:
    recent = RecentRead(Counter().read, clock_s=milliseconds())
    await recent.get()
    recent.record_commit()

    assert await recent.get() == 2


async def test_a_result_may_outlive_commits() -> None:
    recent = RecentRead(Counter().read, outlives_commits=lambda _result: True, clock_s=milliseconds())
    await recent.get()
    recent.record_commit()

    assert await recent.get() == 1


async def test_what_is_made_of_a_result_is_made_once_for_each_result() -> None:
    made = list[int]()

    def write(result: int) -> str:
        made.append(result)
        return f"result {result}"

    recent = RecentRead(Counter().read, clock_s=milliseconds())
    first = [await recent.get_made(write) for _ in range(2)]
    recent.record_commit()

    assert (*first, await recent.get_made(write)) == ("result 1", "result 1", "result 2")
    assert made == [1, 2]
