"""Mixes the sound of a window of a reel, while later clips are not there yet.

The result is leveled as a whole, which a window cannot be. So the soundtrack and each speech keep the level at which
they were prepared, and the sound of each clip is leveled against the soundtrack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phoenix.contract import SoundtrackRequest
from phoenix.errors import Stage
from phoenix.media.commands import sound
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, run_ffmpeg
from phoenix.media.reel.spans import ReelTimeline
from phoenix.media.soundtrack import PlacedSound, find_sound, measure_clip_gain_db
from phoenix.media.timeline import SAMPLE_RATE_HZ, SourceStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DUCKED = 10 ** (-11 / 20)
_ATTACK_SAMPLES = round(0.025 * SAMPLE_RATE_HZ)
_RELEASE_SAMPLES = round(0.45 * SAMPLE_RATE_HZ)
_FRAME_BYTES = 4


@dataclass(frozen=True)
class AddedSound:
    """What a reel lets hear in addition to its clips, or in their place.

    `speeches` have their times in the reel. `soundtrack` was prepared for `request`, and begins with the reel.
    """

    keeps_clips: bool = True
    speeches: Sequence[PlacedSound] = ()
    soundtrack: Path | None = None
    request: SoundtrackRequest | None = None


@dataclass(frozen=True)
class WindowMixer:
    """Mixes the sound of a reel. `clips`: the sound of its parts, as far as they have any."""

    timeline: ReelTimeline
    clips: Mapping[int, SourceStream]
    added: AddedSound
    folder: Path
    tools: MediaTools
    callbacks: FfmpegCallbacks

    def mix(self, start: int, end: int) -> bytes:
        """The samples `start` to `end` of the reel, in stereo, with silence where nothing is heard."""
        # It starts threads, and workers are forked from a process that has imported this module.
        import numpy as np  # noqa: PLC0415

        below, voice = np.zeros((end - start, 2), np.float32), np.zeros((end - start, 2), np.float32)
        if self.added.keeps_clips:
            for part in self.clips:
                first = self.timeline.sample_at(self.timeline.start_of(part))
                _add(below, self._read_clip(part), first - start)
        if self.added.soundtrack is not None:
            track, _ = find_sound(self.added.soundtrack, self.tools)
            _add(below, self._read(track, end / SAMPLE_RATE_HZ, skipped=start), 0)
        for speech in self.added.speeches:
            stream, length_s = find_sound(speech.path, self.tools)
            first, length = round(speech.start_s * SAMPLE_RATE_HZ), round(length_s * SAMPLE_RATE_HZ)
            _add(voice, self._read(stream, length_s), first - start)
            times = [first, first + min(_ATTACK_SAMPLES, length), first + length, first + length + _RELEASE_SAMPLES]
            below *= np.interp(np.arange(start, end), times, [1, _DUCKED, _DUCKED, 1]).astype(np.float32)[:, None]
        return (below + voice).round().clip(-32768, 32767).astype("<i2").tobytes()

    def _read_clip(self, part: int) -> "NDArray[np.float32]":
        """The sound of a part, as long as its picture, with its fades, and leveled against the soundtrack."""
        fps, count = self.timeline.picture.fps, self.timeline.counts[part]
        before = self.timeline.overlaps[part - 1] if part > 0 else 0
        after = self.timeline.overlaps[part] if part < len(self.timeline.overlaps) else 0
        source, length_s = self.clips[part], float(count / fps)
        samples = self._read(source, length_s, (float(before / fps), float(after / fps)))
        if self.added.request is None:
            return samples
        gain_db = measure_clip_gain_db(
            source, length_s, self.added.request, tools=self.tools, callbacks=self._without_progress
        )
        return samples * 10 ** (gain_db / 20)

    def _read(
        self, source: SourceStream, length_s: float, fades_s: tuple[float, float] = (0, 0), *, skipped: int = 0
    ) -> "NDArray[np.float32]":
        """The first `length_s` seconds of a sound without its first `skipped` samples."""
        import numpy as np  # noqa: PLC0415 - see `mix`

        raw = self.folder / "sound.raw"
        command = sound.extract(source, length_s, fades_s, raw)
        run_ffmpeg(command, tools=self.tools, stage=Stage.ENCODE, callbacks=self._without_progress)
        return np.fromfile(raw, "<i2", offset=skipped * _FRAME_BYTES).reshape(-1, 2).astype(np.float32)

    @property
    def _without_progress(self) -> FfmpegCallbacks:
        return FfmpegCallbacks(should_stop=self.callbacks.should_stop)


def _add(total: "NDArray[np.float32]", samples: "NDArray[np.float32]", first: int) -> None:
    """Adds samples that begin at sample `first` of a window, as far as they are in it."""
    begin, stop = max(0, first), min(len(total), first + len(samples))
    if begin < stop:
        total[begin:stop] += samples[begin - first : stop - first]
