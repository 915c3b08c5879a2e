"""Renders clips in Google's service: waits for a slot, sends a paid request, polls its operation, decodes the video."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from phoenix.clock import in_seconds
from phoenix.engine.backends.veo.errors import OperationUnusable, ResponseLost, Throttled, Unreachable, UpstreamError
from phoenix.engine.backends.veo.frames import read_frames
from phoenix.engine.backends.veo.operation_store import OperationRecord, OperationStore
from phoenix.engine.backends.veo.outcome import OperationResult
from phoenix.engine.backends.veo.request import VeoRequest, request_for
from phoenix.engine.backends.veo.retrying import VeoRetryPolicy, call_interruptibly, with_retries
from phoenix.engine.backends.veo.service import VeoService
from phoenix.engine.backends.veo.sound import read_sound
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import VeoSettings
from phoenix.telemetry.logs import get_logger

log = get_logger(__name__)

TYPICAL_S = 90
"""Expected duration of a clip if the catalog entry has no option `typical_s`."""


class VeoEngine:
    """Renders at most `max_concurrent` clips at a time in this process.

    An accepted request is paid for, and is not sent again: its operation is recorded in `operations_dir` until the
    operation ends, and the next attempt at the same clip on this machine resumes it. The service cannot cancel an
    operation: a stop abandons the operation, and the record stays.
    """

    def __init__(self, settings: VeoSettings, *, operations_dir: Path | None = None) -> None:
        self._settings = settings
        self._service = VeoService(settings)
        self._retry_policy = VeoRetryPolicy.from_settings(settings)
        self._slots = DeviceSlots(settings.max_concurrent, wait_limit_s=settings.slot_timeout_s)
        self._temporary = tempfile.TemporaryDirectory()
        self._operations = self._open_operations(operations_dir)

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        """Returns frames that are decoded lazily. Raises `TaskFailed` or `RenderStopped`."""
        clip, request = inputs.clip, request_for(inputs)
        with ExitStack() as slot:
            with observer.waiting():
                slot.enter_context(self._slots.acquire(observer.stop))
            observer.on_stage(Stage.DENOISE)
            mp4 = self._generate(request, observer, _SimulatedProgress(inputs))
        observer.on_step(clip.steps, clip.steps)
        observer.on_stage(Stage.DECODE)
        return RenderedClip(
            frames=read_frames(mp4, clip, observer.stop),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
            sound=read_sound(mp4, clip) if clip.keeps_sound else None,
        )

    def loaded_models(self) -> tuple[str, ...]:
        """Returns no model: the models are remote."""
        return ()

    def close(self) -> None:
        self._service.close()
        self._temporary.cleanup()

    def _open_operations(self, operations_dir: Path | None) -> OperationStore:
        """Uses a temporary folder if `operations_dir` is not writable: the records then end with the process."""
        try:
            return OperationStore(operations_dir or Path(self._temporary.name))
        except OSError as error:
            log.warning("veo_operations_not_persisted", folder=str(operations_dir), reason=str(error))
            return OperationStore(Path(self._temporary.name))

    def _generate(self, request: VeoRequest, observer: RenderObserver, progress: "_SimulatedProgress") -> bytes:
        with self._operations.lock(request.digest) as record:
            if record.operation is None:
                record.write(self._start_operation(request, observer))
            outcome = self._poll(request, record, observer, progress).outcome
            record.delete()
        if isinstance(outcome, TaskFailed):
            raise outcome
        return outcome

    def _start_operation(self, request: VeoRequest, observer: RenderObserver) -> str:
        """Ignores stops, because the operation of a paid request has to be recorded."""
        try:
            return with_retries(
                lambda: self._service.start_operation(request),
                self._retry_policy,
                observer.stop,
                retry_on=(Throttled, Unreachable),
            )
        except ResponseLost as lost:
            # The service may have accepted the request: another attempt could be billed as a second clip.
            raise lost.as_failure(retriable=False) from lost

    def _poll(
        self, request: VeoRequest, record: OperationRecord, observer: RenderObserver, progress: "_SimulatedProgress"
    ) -> OperationResult:
        """Polls until the operation is over. If polling fails, only the poll is retried."""
        deadline_s = time.monotonic() + self._settings.timeout_s
        while (result := self._find_result(request, record, observer)) is None:
            observer.on_step(*progress.now())
            if time.monotonic() > deadline_s:
                detail = (
                    f"Google has not finished within {in_seconds(self._settings.timeout_s)}; the next attempt resumes"
                )
                raise TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.DENOISE, retriable=True)
            observer.stop.wait(self._settings.poll_interval_s)
        return result

    def _find_result(
        self, request: VeoRequest, record: OperationRecord, observer: RenderObserver
    ) -> OperationResult | None:
        operation = record.operation
        assert operation is not None
        try:
            return with_retries(
                lambda: call_interruptibly(lambda: self._service.find_result(request, operation), observer.stop),
                self._retry_policy,
                observer.stop,
                retry_on=(UpstreamError,),
            )
        except OperationUnusable:
            record.delete()
            raise


class _SimulatedProgress:
    """Simulates progress, which the service does not report: elapsed over typical time, below 100 % until the end."""

    def __init__(self, inputs: ClipInputs) -> None:
        self._steps = inputs.clip.steps
        self._typical_s = float(cast("float", inputs.model.options.get("typical_s", TYPICAL_S)))
        self._started_s = time.monotonic()

    def now(self) -> tuple[int, int]:
        """Returns the current step and the number of steps."""
        share = (time.monotonic() - self._started_s) / self._typical_s
        return max(1, min(self._steps - 1, int(self._steps * share))), self._steps
