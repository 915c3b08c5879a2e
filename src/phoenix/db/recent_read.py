"""Shares the result of a read for a moment among the callers that come then."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_Made = TypeVar("_Made")

_TTL_PER_READ_SECOND = 20
_MIN_TTL_S, _MAX_TTL_S = 0.1, 2.0
"""A result is kept for `_TTL_PER_READ_SECOND` times as long as reading it took, within these bounds.

Nobody sees a queue move a tenth of a second late, and most of what an answer costs is spared.
"""


def _ends_with_commits(_result: object) -> bool:
    return False


class RecentRead(Generic[_T]):
    """One read that many callers need, and its last result. Nothing is read twice at the same time.

    After a commit of this process the result is read again, unless `outlives_commits` says that nobody would notice.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[_T]],
        *,
        outlives_commits: Callable[[_T], bool] = _ends_with_commits,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._outlives_commits = outlives_commits
        self._clock_s = clock_s
        self._reading = asyncio.Lock()
        self._results: list[_T] = []
        """The last result, or nothing."""
        self._made: dict[Callable[[_T], Any], Any] = {}
        """What was made of the last result, by the function that made it."""
        self._read_from_s = -math.inf
        self._expires_s = -math.inf
        self._committed_s = -math.inf

    def record_commit(self) -> None:
        """Notes that this process has just changed what is read."""
        self._committed_s = self._clock_s()

    async def get(self) -> _T:
        """The last result, or a new one. If reading fails, only the caller that reads gets the error."""
        requested_s = self._clock_s()
        async with self._reading:
            if not self._is_fresh(requested_s):
                read_from_s = self._clock_s()
                self._results = [await self._read()]
                self._made.clear()
                ended_s = self._clock_s()
                ttl_s = min(max(_TTL_PER_READ_SECOND * (ended_s - read_from_s), _MIN_TTL_S), _MAX_TTL_S)
                self._read_from_s, self._expires_s = read_from_s, ended_s + ttl_s
            return self._results[0]

    async def get_made(self, make: Callable[[_T], _Made]) -> _Made:
        """What `make` makes of the result, made once for each result. Give the same function each time."""
        result = await self.get()
        if make not in self._made:
            self._made[make] = make(result)
        return self._made[make]

    def _is_fresh(self, requested_s: float) -> bool:
        """Whether the result has not expired, or was read while the caller waited and is as fresh as a new one."""
        if self._read_from_s >= requested_s:
            return True
        if not self._results or self._clock_s() >= self._expires_s:
            return False
        return self._read_from_s >= self._committed_s or self._outlives_commits(self._results[0])
