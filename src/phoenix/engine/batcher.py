"""Groups clips that can share a call. The first clip waits a short time for others; then the batch waits for a slot."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import copy_context

from phoenix.engine.batch_rules import BatchKey, key_of
from phoenix.engine.interface import RenderedClip, RenderRequest, without_traceback
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopToken
from phoenix.errors import Stage

RenderBatch = Callable[[Sequence[RenderRequest]], None]
"""Renders the requests together. Finishes every request, also after an error."""

Preload = Callable[[StopToken], AbstractContextManager[None]]
"""Loads the model of a batch, if possible. The context covers the wait for the slot and the call."""


class _Batch:
    """Clips that will share a call. Accepts further clips until it has its slot, or is full."""

    def __init__(self, key: BatchKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.requests: list[RenderRequest] = []
        self.is_loading = False
        """Whether its model is being loaded, before the batch has its slot."""
        self.reports = threading.Lock()
        """Held while clips report a load, so that none reports it after its end."""
        self.is_full = threading.Event()
        self.stop = StopToken()


class Batcher:
    """The batches of one device.

    Each batch has its own slot and thread, so that a stopped clip does not end the thread that renders the others.
    """

    def __init__(self, slots: DeviceSlots, *, window_s: float) -> None:
        self._slots = slots
        self._window_s = window_s
        self._lock = threading.Lock()
        self._open: dict[BatchKey, _Batch] = {}
        self._running_batches = 0

    @property
    def running_batches(self) -> int:
        """Number of batches that have not ended.

        A batch can outlive its clips, and use memory: for a moment after they are done, or until the next block of
        the model after all of them were stopped.
        """
        return self._running_batches

    @property
    def waiting_clips(self) -> int:
        """Number of clips in batches that are still open."""
        with self._lock:
            return sum(len(batch.requests) for batch in self._open.values())

    def render(
        self, request: RenderRequest, *, limit: int, render: RenderBatch, preload: Preload | None = None
    ) -> RenderedClip:
        """Renders a clip in a batch of at most `limit` clips. Raises `TaskFailed` or `RenderStopped`.

        Returns as soon as the clip is handed over, while its last frames may still be decoded in the slot.
        """
        with ExitStack() as stack:
            with request.observer.waiting():
                batch = self._join(request, limit, render, preload)
                stack.enter_context(request.observer.stop.on_stop(lambda: self._stop_if_all_stopped(batch)))
                request.wait_for_start()
            return request.wait()

    def _join(self, request: RenderRequest, limit: int, render: RenderBatch, preload: Preload | None) -> _Batch:
        key = key_of(request.clip, request.inputs.model, request.inputs.adapters)
        with self._lock:
            batch = self._open.get(key) if limit > 1 else None
            if batch is None:
                batch = _Batch(key, limit)
                if limit > 1:
                    self._open[key] = batch
                self._running_batches += 1
                run = copy_context().run
                threading.Thread(
                    target=run, args=(self._run, batch, render, preload), name="batch", daemon=True
                ).start()
            batch.requests.append(request)
            joins_load = batch.is_loading
            if len(batch.requests) == batch.limit:
                self._seal(batch)
        if joins_load:
            with batch.reports:
                if batch.is_loading:
                    _report_stage([request], Stage.LOAD)
        return batch

    def _run(self, batch: _Batch, render: RenderBatch, preload: Preload | None) -> None:
        batch.is_full.wait(self._window_s)
        try:
            with ExitStack() as device:
                if preload is not None:
                    self._preload(batch, preload, device)
                device.enter_context(self._slots.acquire(batch.stop))
                render(self._close(batch))
        except BaseException as error:  # noqa: BLE001 - its requests wait in other threads, and must end
            for request in self._close(batch):
                request.finish(without_traceback(error))
        finally:
            with self._lock:
                self._running_batches -= 1

    def _preload(self, batch: _Batch, preload: Preload, device: ExitStack) -> None:
        """Loads the model of the batch, if possible. Further clips may join the batch while it loads."""
        self._report(batch, is_loading=True)
        device.enter_context(preload(batch.stop))
        self._report(batch, is_loading=False)

    def _report(self, batch: _Batch, *, is_loading: bool) -> None:
        with batch.reports:
            with self._lock:
                batch.is_loading = is_loading
                requests = list(batch.requests)
            # Without the lock of the batches: an observer may stop its clip, which takes that lock.
            _report_stage(requests, Stage.LOAD if is_loading else Stage.QUEUE)

    def _close(self, batch: _Batch) -> list[RenderRequest]:
        """Closes the batch. Finishes the stopped requests, and returns the others."""
        with self._lock:
            self._seal(batch)
        for request in batch.requests:
            if request.is_stopped:
                request.finish_stopped()
            request.start()
        return [request for request in batch.requests if not request.is_finished]

    def _stop_if_all_stopped(self, batch: _Batch) -> None:
        """Stops the batch, which may still wait for a slot, if all of its clips were stopped."""
        with self._lock:
            reasons = [request.observer.stop.reason for request in batch.requests]
            if all(reasons):
                self._seal(batch)
                batch.stop.stop(next(reason for reason in reasons if reason))

    def _seal(self, batch: _Batch) -> None:
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
        batch.is_full.set()


def _report_stage(requests: Iterable[RenderRequest], stage: Stage) -> None:
    for request in requests:
        if not request.is_stopped:
            with suppress(RenderStopped):
                request.observer.on_stage(stage)
