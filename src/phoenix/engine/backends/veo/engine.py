"""Renders clips with Veo: waits for a slot, sends one paid request, polls its operation, and decodes the video."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from phoenix.engine.backends.veo.errors import AnswerLost, OperationOver, Throttled, Unreachable, UpstreamFault
from phoenix.engine.backends.veo.frames import read_frames
from phoenix.engine.backends.veo.operation_store import Note, Notes
from phoenix.engine.backends.veo.request import VeoRequest, request_for
from phoenix.engine.backends.veo.retrying import RetryPolicy, call_interruptibly, with_retries
from phoenix.engine.backends.veo.service import Ended, VeoService
from phoenix.engine.slots import DeviceSlots
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import VeoSettings
from phoenix.telemetry.logs import get_logger

log = get_logger(__name__)

TYPICAL_S = 90
"""How long a clip takes if the catalog entry does not say (`typical_s`)."""


class VeoEngine:
    """At most `max_concurrent` clips at a time, over all threads of the process. The sound of a video is dropped.

    An accepted request is not sent again: its operation is recorded in `notes_dir` until it ends, and the next attempt
    at the same clip on this machine resumes it. A stop abandons the operation, since the service cannot cancel one, but
    leaves it recorded, because it is paid for.
    """

    def __init__(self, settings: VeoSettings, *, notes_dir: Path | None = None) -> None:
        self._settings = settings
        self._service = VeoService(settings)
        self._retry_policy = RetryPolicy.from_settings(settings)
        self._slots = DeviceSlots(settings.max_concurrent, wait_limit_s=settings.slot_timeout_s)
        self._temporary = tempfile.TemporaryDirectory()
        self._notes = self._open_notes(notes_dir)

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        """The clip's frames, decoded lazily. Raises `TaskFailed` or `RenderStopped`."""
        clip, request = job.clip, request_for(job)
        with ExitStack() as slot:
            with watcher.waiting():
                slot.enter_context(self._slots.hold(watcher.stop))
            watcher.on_stage(Stage.DENOISE)
            mp4 = self._generate(request, watcher, _Pace(job))
        watcher.on_step(clip.steps, clip.steps)
        watcher.on_stage(Stage.DECODE)
        return RenderedClip(
            frames=read_frames(mp4, clip, watcher.stop),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
        )

    def loaded_models(self) -> tuple[str, ...]:
        """It holds nothing in memory."""
        return ()

    def close(self) -> None:
        self._service.close()
        self._temporary.cleanup()

    def _open_notes(self, notes_dir: Path | None) -> Notes:
        """Falls back to a temporary folder, as in a read-only container: the record then ends with the process."""
        try:
            return Notes(notes_dir or Path(self._temporary.name))
        except OSError as error:
            log.warning("veo_notes_not_kept", folder=str(notes_dir), reason=str(error))
            return Notes(Path(self._temporary.name))

    def _generate(self, request: VeoRequest, watcher: Watcher, pace: "_Pace") -> bytes:
        with self._notes.hold(request.digest) as note:
            if note.operation is None:
                note.write(self._begin(request, watcher))
            outcome = self._follow(note, watcher, pace).outcome
            note.forget()
        if isinstance(outcome, TaskFailed):
            raise outcome
        return outcome

    def _begin(self, request: VeoRequest, watcher: Watcher) -> str:
        """Not interrupted by a stop: the operation of a paid request must be recorded."""
        try:
            return with_retries(
                lambda: self._service.begin(request),
                self._retry_policy,
                watcher.stop,
                again_after=(Throttled, Unreachable),
            )
        except AnswerLost as lost:
            # It may have been accepted: another attempt could be billed as a second clip.
            raise lost.as_failure(retriable=False) from lost

    def _follow(self, note: Note, watcher: Watcher, pace: "_Pace") -> Ended:
        """Polls until the operation is over. If polling fails, only the poll is retried."""
        deadline_s = time.monotonic() + self._settings.time_limit_s
        while (ended := self._find_ended(note, watcher)) is None:
            watcher.on_step(*pace.now())
            if time.monotonic() > deadline_s:
                detail = f"Veo has not finished within {self._settings.time_limit_s:g} s; the next attempt goes on"
                raise TaskFailed(FailureCode.TIMEOUT, detail, stage=Stage.DENOISE, retriable=True)
            watcher.stop.wait(self._settings.poll_interval_s)
        return ended

    def _find_ended(self, note: Note, watcher: Watcher) -> Ended | None:
        operation = note.operation
        assert operation is not None
        try:
            return with_retries(
                lambda: call_interruptibly(lambda: self._service.find_ended(operation), watcher.stop),
                self._retry_policy,
                watcher.stop,
                again_after=(UpstreamFault,),
            )
        except OperationOver:
            note.forget()
            raise


class _Pace:
    """Simulated progress, as the service reports none: elapsed over typical time, never complete before the end."""

    def __init__(self, job: ClipJob) -> None:
        self._steps = job.clip.steps
        self._typical_s = float(job.model.options.get("typical_s", TYPICAL_S))
        self._started_s = time.monotonic()

    def now(self) -> tuple[int, int]:
        share = (time.monotonic() - self._started_s) / self._typical_s
        return max(1, min(self._steps - 1, int(self._steps * share))), self._steps
