"""Gathers clips that can share a call: the first waits a moment for others, then all wait for the device."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import copy_context

from phoenix.engine.backend import renewed
from phoenix.engine.batch_rules import BatchKey, key_of
from phoenix.engine.cancellation import RenderStopped, StopToken
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.spec import Member, RenderedClip
from phoenix.errors import Stage

RenderTogether = Callable[[Sequence[Member]], None]
"""Settles every member, whatever happens."""


GetReady = Callable[[StopToken], AbstractContextManager[None]]
"""Entered before a batch waits for its slot, and left after it: its model is loaded, where that is possible."""


class _Batch:
    """Clips that will share a call. Open to more like them until it gets its slot, or is full."""

    def __init__(self, key: BatchKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.members: list[Member] = []
        self.is_full = threading.Event()
        self.stop = StopToken()


class Gathering:
    """The batches of one device. Each has a slot and a thread of its own, so that any of its clips can be stopped
    without taking the rendering thread from the others.
    """

    def __init__(self, slots: DeviceSlots, *, window_s: float) -> None:
        self._slots = slots
        self._window_s = window_s
        self._lock = threading.Lock()
        self._open: dict[BatchKey, _Batch] = {}
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Batches that have not ended. One may outlive its clips, and hold tensors, for a moment after they are
        done, or until the model's next block after all of them were stopped.
        """
        return self._under_way

    @property
    def gathered(self) -> int:
        """Clips in batches that are still open."""
        with self._lock:
            return sum(len(batch.members) for batch in self._open.values())

    def render(
        self, member: Member, *, limit: int, render: RenderTogether, ready: GetReady | None = None
    ) -> RenderedClip:
        """Renders a clip in a batch of at most `limit` clips. Raises `TaskFailed` or `RenderStopped`."""
        batch = self._join(member, limit, render, ready)
        with member.watcher.stop.calling(lambda: self._reconsider(batch)):
            return member.wait()

    def _join(self, member: Member, limit: int, render: RenderTogether, ready: GetReady | None) -> _Batch:
        key = key_of(member.clip, member.job.model)
        with self._lock:
            batch = self._open.get(key)
            if batch is None:
                batch = self._open[key] = _Batch(key, limit)
                self._under_way += 1
                run = copy_context().run
                threading.Thread(target=run, args=(self._run, batch, render, ready), name="batch", daemon=True).start()
            batch.members.append(member)
            if len(batch.members) == batch.limit:
                self._shut(batch)
        return batch

    def _run(self, batch: _Batch, render: RenderTogether, ready: GetReady | None) -> None:
        batch.is_full.wait(self._window_s)
        try:
            with ExitStack() as device:
                if ready is not None:
                    self._get_ready(batch, ready, device)
                device.enter_context(self._slots.hold(batch.stop))
                render(self._close(batch))
        except BaseException as error:  # noqa: BLE001 - its members wait in other threads, and must hear of it
            for member in self._close(batch):
                member.settle(renewed(error))
        finally:
            with self._lock:
                self._under_way -= 1

    def _get_ready(self, batch: _Batch, ready: GetReady, device: ExitStack) -> None:
        """Others may still join meanwhile: for them it is a wait like any other."""
        with self._lock:
            members = tuple(batch.members)
        _tell(members, Stage.LOAD)
        device.enter_context(ready(batch.stop))
        _tell(members, Stage.QUEUE)

    def _close(self, batch: _Batch) -> list[Member]:
        """Closes the batch. Settles members that were stopped, and returns the others."""
        with self._lock:
            self._shut(batch)
        for member in batch.members:
            if member.is_stopped:
                member.settle_stopped()
            member.begin()
        return [member for member in batch.members if not member.is_settled]

    def _reconsider(self, batch: _Batch) -> None:
        """A clip was stopped: if all are, the batch need not wait for a slot any more."""
        with self._lock:
            reasons = [member.watcher.stop.reason for member in batch.members]
            if all(reasons):
                self._shut(batch)
                batch.stop.stop(next(reason for reason in reasons if reason))

    def _shut(self, batch: _Batch) -> None:
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
        batch.is_full.set()


def _tell(members: Iterable[Member], stage: Stage) -> None:
    for member in members:
        if not member.is_stopped:
            with suppress(RenderStopped):
                member.watcher.on_stage(stage)
