"""One clip of a call that others may share: who follows it, and how it ends for it."""

import threading

from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.engine.stopping import RenderStopped

Outcome = RenderedClip | BaseException


class Member:
    """Thread-safe: one thread renders, another may wait. The first outcome is the one that counts."""

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

    def begin(self) -> None:
        """Its call has a place on the device."""
        self._begun.set()

    def settle(self, outcome: Outcome) -> None:
        with self._settling:
            if self._outcome is None:
                self._outcome = outcome
        self._begun.set()
        self._over.set()

    def settle_stopped(self) -> None:
        """It was asked to stop, and has no part in the call any more."""
        assert self.watcher.stop.reason is not None
        self.settle(RenderStopped(self.watcher.stop.reason))

    def result(self) -> RenderedClip:
        """The clip. Raises how it failed or that it was stopped; call it once it is settled."""
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def wait(self) -> RenderedClip:
        """Waits for another thread to settle it. A stop is not waited for: the call drops the clip when it can."""
        with self.watcher.stop.calling(self._begun.set), self.watcher.stop.calling(self._over.set):
            with self.watcher.waiting():
                self._begun.wait()
            self._over.wait()
        if self._outcome is None:
            self.watcher.stop.check()
        return self.result()
