"""The requests of all sessions that wait for an engine. Batches them, and retries the batch of a lost engine."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from phoenix.errors import PhoenixError, Unavailable
from phoenix.frames.batching import BatchWindow, EngineLoad, choose_engine
from phoenix.frames.interface import EngineLost, FrameEngine, FrameRequest
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_MOST_ENGINES_LOST = 3
"""A request that was with so many engines when they ended may be what ends them."""


@dataclass(eq=False)
class PendingFrame:
    """A request and its image. The image is None if the request was withdrawn."""

    request: FrameRequest
    image: "asyncio.Future[bytes | None]"
    since_s: float
    engines_lost: int = 0

    @property
    def is_open(self) -> bool:
        return not self.image.done()


@dataclass(eq=False)
class _Member:
    engine: FrameEngine
    frames_made: int = 0
    rendering: int = 0


@dataclass(eq=False)
class FrameQueue:
    """Engines join and leave while requests wait. All calls are made on one event loop."""

    window: BatchWindow
    _waiting: deque[PendingFrame] = field(default_factory=deque[PendingFrame])
    _members: list[_Member] = field(default_factory=list[_Member])
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])
    _timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def rendering(self) -> int:
        return sum(member.rendering for member in self._members)

    def frames_made_by(self, engine: FrameEngine) -> int:
        return sum(member.frames_made for member in self._members if member.engine is engine)

    def join(self, engine: FrameEngine) -> None:
        self._members.append(_Member(engine))
        self._start_batches()

    def leave(self, engine: FrameEngine) -> None:
        """No further batch is given to the engine. Its batch under way ends by itself."""
        self._members = [member for member in self._members if member.engine is not engine]

    def submit(self, request: FrameRequest) -> PendingFrame:
        pending = PendingFrame(request, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.append(pending)
        self._start_batches()
        return pending

    def withdraw(self, pending: PendingFrame) -> bool:
        """Takes a request back that no engine has begun. Returns whether it was taken back."""
        try:
            self._waiting.remove(pending)
        except ValueError:
            return False
        self.drop(pending)
        return True

    def drop(self, pending: PendingFrame) -> None:
        """Gives up the image. If no engine has begun it, none will."""
        if pending.is_open:
            pending.image.set_result(None)

    async def close(self) -> None:
        """Fails what waits, and returns when the batches under way have ended."""
        self._members = []
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            _fail(self._waiting.popleft(), Unavailable("the service has ended"))
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start_batches(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            idle = [member for member in self._members if not member.rendering]
            if not idle:
                return
            wait_s = self.window.find_wait_s(len(self._waiting), time.monotonic() - self._waiting[0].since_s)
            if wait_s:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._start_batches)
                return
            batch = self._take(self.window.choose_size(len(self._waiting), len(idle)))
            if batch:
                self._start(idle[choose_engine([self._load_of(member) for member in idle])], batch)

    def _load_of(self, member: _Member) -> EngineLoad:
        device = member.engine.device
        frames = sum(other.rendering for other in self._members if other.engine.device == device)
        return EngineLoad(frames, member.frames_made)

    def _take(self, most: int) -> Sequence[PendingFrame]:
        """The oldest requests of the model of the oldest one. A request whose caller has gone is dropped."""
        taken: list[PendingFrame] = []
        others: list[PendingFrame] = []
        while self._waiting and len(taken) < most:
            pending = self._waiting.popleft()
            if not pending.is_open:
                continue
            is_alike = not taken or pending.request.model == taken[0].request.model
            (taken if is_alike else others).append(pending)
        self._waiting.extendleft(reversed(others))
        return taken

    def _start(self, member: _Member, batch: Sequence[PendingFrame]) -> None:
        member.rendering = len(batch)
        task = asyncio.create_task(self._render(member, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _render(self, member: _Member, batch: Sequence[PendingFrame]) -> None:
        try:
            images = await member.engine.render(batch[0].request.model, [pending.request for pending in batch])
        except EngineLost as lost:
            self.leave(member.engine)
            self._retry(batch, lost)
        except PhoenixError as error:
            for pending in batch:
                _fail(pending, error)
        else:
            for pending, image in zip(batch, images, strict=True):
                if pending.is_open:
                    pending.image.set_result(image)
        finally:
            member.frames_made += len(batch)
            member.rendering = 0
            self._start_batches()

    def _retry(self, batch: Sequence[PendingFrame], lost: EngineLost) -> None:
        _logger.warning("an engine was lost; its batch is rendered by another one", frames=len(batch))
        for pending in reversed(batch):
            pending.engines_lost += 1
            if pending.engines_lost >= _MOST_ENGINES_LOST:
                _fail(
                    pending, Unavailable(f"{_MOST_ENGINES_LOST} engines ended while they rendered this frame: {lost}")
                )
            else:
                self._waiting.appendleft(pending)


def _fail(pending: PendingFrame, error: PhoenixError) -> None:
    if pending.is_open:
        pending.image.set_exception(error)
        # Its caller may have gone; asyncio would complain of an error that nobody reads.
        pending.image.exception()
