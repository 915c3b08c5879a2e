"""Moves the lips of a clip, after the models that change its frames and before its encoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.contract import CheckCode, ClipCheck, ResolvedClip
from phoenix.engine.interface import RenderedSound
from phoenix.engine.postprocessing.chain import FrameChange
from phoenix.lipsync.faces import FaceBox
from phoenix.lipsync.interface import Pixels, Speech, SyncCounts, TalkingEngine
from phoenix.media.decode import decode_sound
from phoenix.media.timeline import SAMPLE_RATE_HZ
from phoenix.worker.context import WorkerContext, ffmpeg_callbacks
from phoenix.worker.leases import HeldLease
from phoenix.worker.lipsyncs import read_speech


class _CountedFrames:
    """Counts the frames of one clip. `check` raises an error to end the sync between two batches."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.counts = SyncCounts()
        self._check = check

    def on_frames(self, counts: SyncCounts) -> None:
        self.counts = counts
        self._check()


@dataclass(frozen=True)
class ClipLips:
    """The open talking engine of one clip, and what it says."""

    engine: TalkingEngine
    speech: Speech
    sound: RenderedSound | None
    """The sound of the clip; None if it stays as it is, because the assembly adds the narration."""
    is_on_gpu: bool
    watched: _CountedFrames

    @property
    def change(self) -> FrameChange:
        return FrameChange(self._move, self.is_on_gpu)

    def _move(self, frames: Iterator[Pixels], fps: int) -> Iterator[Pixels]:
        return self.engine.sync(frames, float(fps), self.speech, self.watched)

    def find_checks(self) -> list[ClipCheck]:
        """The failed check, once all frames have passed."""
        counts = self.watched.counts
        if not counts.frames or counts.without_face < counts.frames:
            return []
        message = "No frame has a face, so no lips move. Give the box of the face, or describe a face in the prompt."
        return [ClipCheck(code=CheckCode.NO_FACE, message=message)]


def open_clip_lips(
    context: WorkerContext,
    lease: HeldLease,
    clip: ResolvedClip,
    spec: LipModelSpec,
    said: Path,
    check: Callable[[], None],
) -> ClipLips:
    """Opens the lip model of a clip and reads the sound in the file `said`. Raises `TaskFailed`."""
    assert clip.lip_sync is not None
    box = clip.lip_sync.box
    engine = context.talking.open(spec, box and FaceBox(box.x, box.y, box.width, box.height))
    speech = read_speech(context, lease, said)
    sound = _read_sound(context, lease, said) if clip.says_audio and clip.keeps_sound else None
    return ClipLips(engine, speech, sound, context.talking.uses_gpu(spec), _CountedFrames(check))


def _read_sound(context: WorkerContext, lease: HeldLease, said: Path) -> RenderedSound:
    raw = said.with_suffix(".stereo")
    decode_sound(
        said,
        raw,
        rate_hz=SAMPLE_RATE_HZ,
        channels=2,
        tools=context.tools,
        limits=context.limits,
        callbacks=ffmpeg_callbacks(lease),
    )
    return RenderedSound(raw.read_bytes(), channels=2, rate_hz=SAMPLE_RATE_HZ)
