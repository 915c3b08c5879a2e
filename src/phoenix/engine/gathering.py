"""Brings clips together that can share a call: the first waits a moment for others, and all wait for the device."""

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context

from phoenix.engine.backend import renewed
from phoenix.engine.batching import BatchKey, key_of
from phoenix.engine.member import Member
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.spec import RenderedClip
from phoenix.engine.stopping import StopToken

RenderTogether = Callable[[Sequence[Member]], None]
"""Settles every member, whatever happens."""


class _Batch:
    """Clips on their way to the device. Open to others like them until it has its slot, or is full."""

    def __init__(self, key: BatchKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.members: list[Member] = []
        self.is_full = threading.Event()
        self.stop = StopToken()


class Gathering:
    """The open batches of one device. A batch holds one slot, and a thread of its own: any clip of it may be stopped
    without the others losing the thread that renders them.
    """

    def __init__(self, slots: DeviceSlots, *, window_s: float) -> None:
        self._slots = slots
        self._window_s = window_s
        self._lock = threading.Lock()
        self._open: dict[BatchKey, _Batch] = {}
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Batches that have not ended. One may outlast its clips, and hold its tensors, for a moment after they are
        there, and up to the next block after all of them were stopped.
        """
        return self._under_way

    @property
    def gathered(self) -> int:
        """Clips in batches that others may still join."""
        with self._lock:
            return sum(len(batch.members) for batch in self._open.values())

    def render(self, member: Member, *, limit: int, render: RenderTogether) -> RenderedClip:
        """Renders a clip with up to `limit` like it. Raises `TaskFailed` or `RenderStopped`."""
        batch = self._join(member, limit, render)
        with member.watcher.stop.calling(lambda: self._reconsider(batch)):
            return member.wait()

    def _join(self, member: Member, limit: int, render: RenderTogether) -> _Batch:
        key = key_of(member.clip, member.job.model)
        with self._lock:
            batch = self._open.get(key)
            if batch is None:
                batch = self._open[key] = _Batch(key, limit)
                self._under_way += 1
                run = copy_context().run
                threading.Thread(target=run, args=(self._run, batch, render), name="batch", daemon=True).start()
            batch.members.append(member)
            if len(batch.members) == batch.limit:
                self._shut(batch)
        return batch

    def _run(self, batch: _Batch, render: RenderTogether) -> None:
        batch.is_full.wait(self._window_s)
        try:
            with self._slots.hold(batch.stop):
                render(self._close(batch))
        except BaseException as error:  # noqa: BLE001 - its members wait in other threads, and must hear of it
            for member in self._close(batch):
                member.settle(renewed(error))
        finally:
            with self._lock:
                self._under_way -= 1

    def _close(self, batch: _Batch) -> list[Member]:
        """Lets nobody in any more. Returns those who still want their clip; of the others the last word is said."""
        with self._lock:
            self._shut(batch)
        for member in batch.members:
            if member.is_stopped:
                member.settle_stopped()
            member.begin()
        return [member for member in batch.members if not member.is_settled]

    def _reconsider(self, batch: _Batch) -> None:
        """A clip was stopped: nobody waits for a slot on behalf of clips that nobody wants."""
        with self._lock:
            reasons = [member.watcher.stop.reason for member in batch.members]
            if all(reasons):
                self._shut(batch)
                batch.stop.stop(next(reason for reason in reasons if reason))

    def _shut(self, batch: _Batch) -> None:
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
        batch.is_full.set()
