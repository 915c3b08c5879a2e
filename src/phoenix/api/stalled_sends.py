"""The time limit on sending to clients, watched by one timer for all of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from phoenix.api.background import in_background


class StalledSends:
    """Drops clients that stop reading. Checks all pending sends once a second; most end at once."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self._since_s: dict[Callable[[], object], float] = {}
        self._clock_s = asyncio.get_running_loop().time

    def begin(self, drop: Callable[[], object]) -> None:
        """Marks the start of a send; `drop` is called if it takes too long."""
        self._since_s[drop] = self._clock_s()

    def end(self, drop: Callable[[], object]) -> None:
        self._since_s.pop(drop, None)

    def hurry(self) -> None:
        """Shortens the limit to a second at most: the process is shutting down."""
        self._time_limit_s = min(self._time_limit_s, 1.0)

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator["StalledSends"]:
        """Enforces the limit during the block."""
        async with in_background(self._look_forever(), name="stalled-sends"):
            yield self

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._time_limit_s / 2))
            limit_s = self._clock_s() - self._time_limit_s
            for drop in [drop for drop, since_s in self._since_s.items() if since_s < limit_s]:
                self.end(drop)
                drop()
