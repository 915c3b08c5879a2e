"""One clip of a possibly shared call: its watcher and its outcome."""

import threading

from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.engine.stopping import RenderStopped

Outcome = RenderedClip | BaseException


class Member:
    """Thread-safe: one thread renders, another may wait. Only the first outcome counts."""

    def __init__(self, job: ClipJob, watcher: Watcher) -> None:
        self.job = job
        self.watcher = watcher
        self._settling = threading.Lock()
        self._outcome: Outcome | None = None
        self._begun = threading.Event()
        self._over = threading.Event()

    @property
    def clip(self) -> ResolvedClip:
        return self.job.clip

    @property
    def is_stopped(self) -> bool:
        return self.watcher.stop.reason is not None

    @property
    def is_settled(self) -> bool:
        return self._outcome is not None

    @property
    def has_clip(self) -> bool:
        return isinstance(self._outcome, RenderedClip)

    def begin(self) -> None:
        """Its call has a slot on the device."""
        self._begun.set()

    def settle(self, outcome: Outcome) -> None:
        with self._settling:
            if self._outcome is None:
                self._outcome = outcome
        self._begun.set()
        self._over.set()

    def settle_stopped(self) -> None:
        """It was asked to stop, and has left the call."""
        assert self.watcher.stop.reason is not None
        self.settle(RenderStopped(self.watcher.stop.reason))

    def result(self) -> RenderedClip:
        """The rendered clip. Raises its failure, or `RenderStopped`. Call it once the member is settled."""
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait(self) -> RenderedClip:
        """Waits for another thread to settle it; returns at once if stopped: the call drops the clip when it can."""
        with self.watcher.stop.calling(self._begun.set), self.watcher.stop.calling(self._over.set):
            with self.watcher.waiting():
                self._begun.wait()
            self._over.wait()
        if self._outcome is None:
            self.watcher.stop.check()
        return self.result()
