"""What Phoenix adds to ffmpeg: encode, join, crossfade and soundtrack, next to the same commands run by hand.

CPU of this process and of the programs that it starts. By hand nothing is checked: no file is probed before or after.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from phoenix.contract import SoundSource, Transition
from phoenix.media.commands import sound, video
from phoenix.media.encode import encode_frames
from phoenix.media.ffmpeg import MediaTools, find_ffmpeg
from phoenix.media.reel.join import CUT, join_clips
from phoenix.media.soundtrack import prepare_soundtrack
from phoenix.media.timeline import SourceStream
from suite.borrowed import child_processes
from suite.groups import Group
from suite.results import Measurement, Round, Row

_SIZE = (640, 360)
_FPS = 24
_FRAMES = 96
_CLIPS = 8
_OVERLAP = 12
_SOUND_S = 60
_BY_HAND = "ffmpeg by hand, the same commands"
_MANY, _FEW = 40, 10
"""Clips of the reels whose memory is compared."""

# Runs in a process of its own, which prints the most memory of itself and of each child, in kB.
_PEAK_MEMORY = """
import resource, sys
from pathlib import Path
from phoenix.contract import Transition
from phoenix.media.ffmpeg import MediaTools, find_ffmpeg
from phoenix.media.reel.join import join_clips
clips = [Path(sys.argv[1])] * int(sys.argv[3])
fade = Transition(kind="crossfade", duration_s=0.25)
join_clips(clips, Path(sys.argv[2]), tools=MediaTools(find_ffmpeg()), transition=fade)
print(sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""

ROWS = (
    Row("media-encode", f"encoding of {_FRAMES} frames of 640x360", "s of CPU", _BY_HAND, 1.1),
    Row("media-join", f"join of {_CLIPS} clips of 4 s by stream copy", "s of CPU", _BY_HAND, 1.1),
    Row("media-crossfade", f"crossfades of {_CLIPS} clips of 4 s", "s of CPU", _BY_HAND, 1.1),
    Row("media-soundtrack", f"soundtrack of {_SOUND_S} s, leveled", "s of CPU", _BY_HAND, 1.1),
    Row("media-memory", f"peak memory of crossfades of {_MANY} clips of 1 s", "MB", f"of {_FEW} clips", 1.1),
)


class _Bench:
    """Each operation by Phoenix and by hand, on the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._output = folder / "output.mp4"
        self._tools = MediaTools(find_ffmpeg())
        self._picture = video.Picture(*_SIZE, Fraction(_FPS))
        self._frames = [self._frame(number) for number in range(_FRAMES)]
        self._clips = [folder / f"clip-{index}.mp4" for index in range(_CLIPS)]
        self.encode()
        for clip in self._clips:
            clip.write_bytes(self._output.read_bytes())
        self._short_clip = folder / "short.mp4"
        encode_frames(self._frames[:_FPS], self._picture, self._short_clip, tools=self._tools, num_frames=_FPS)
        self._tune = folder / "tune.wav"
        graph = f"sine=f=330:d={_SOUND_S},tremolo=f=3,volume=0.4"
        self._run(["-f", "lavfi", "-i", graph, "-ac", "2", str(self._tune)])
        self._list = folder / "list.txt"
        self._list.write_text(video.concat_list_text([(clip, _FRAMES / _FPS) for clip in self._clips]))
        self._measured = sound.parse_loudness(self._run(sound.measure(SourceStream(self._tune), self._shape)))

    @property
    def operations(self) -> Mapping[str, tuple[Callable[[], object], Callable[[], object]]]:
        return {
            "media-encode": (self.encode, self._encode_by_hand),
            "media-join": (lambda: self._join(CUT), self._join_by_hand),
            "media-crossfade": (
                lambda: self._join(Transition(kind="crossfade", duration_s=_OVERLAP / _FPS)),
                self._crossfade_by_hand,
            ),
            "media-soundtrack": (self._prepare, self._prepare_by_hand),
        }

    def peak_mb(self, clips: int) -> float:
        """The most memory of Phoenix and of one child of it, in a process that crossfades so many clips."""
        command = [sys.executable, "-c", _PEAK_MEMORY, self._short_clip, self._output, str(clips)]
        done = child_processes.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout) / 1000

    @property
    def _shape(self) -> sound.SoundShape:
        return sound.SoundShape(start_s=0, sound_s=_SOUND_S, duration_s=_SOUND_S)

    @staticmethod
    def _frame(number: int) -> bytes:
        """A gradient that moves."""
        width, height = _SIZE
        row = bytes((x + 3 * number) % 256 for x in range(3 * width))
        return b"".join(row[3 * (y % 64) :] + row[: 3 * (y % 64)] for y in range(height))

    def encode(self) -> None:
        encode_frames(self._frames, self._picture, self._output, tools=self._tools, num_frames=_FRAMES)

    def _encode_by_hand(self) -> None:
        command = video.encode_frames(self._picture, self._tools.encoding, self._output)
        self._run(command, b"".join(self._frames))

    def _join(self, transition: Transition) -> None:
        join_clips(self._clips, self._output, tools=self._tools, transition=transition)

    def _join_by_hand(self) -> None:
        self._run(video.join_copy(self._list, 0, self._output))

    def _crossfade_by_hand(self) -> None:
        segments = [video.Segment(SourceStream(clip), 0, _FRAMES) for clip in self._clips]
        overlaps = [_OVERLAP] * (_CLIPS - 1)
        self._run(video.join_segments(segments, overlaps, self._picture, self._tools.encoding, self._output))

    def _prepare(self) -> None:
        source = SoundSource(artifact_id="art_" + "0" * 26, loudness_lufs=-16)
        prepare_soundtrack(self._tune, self._output, source, duration_s=_SOUND_S, tools=self._tools)

    def _prepare_by_hand(self) -> None:
        """Two passes: one measures, and one writes."""
        tune = SourceStream(self._tune)
        measured = sound.parse_loudness(self._run(sound.measure(tune, self._shape)))
        self._run(sound.prepare(tune, self._shape, sound.Leveling(measured, -16), self._output))

    def _run(self, command: Sequence[str], stdin: bytes | None = None) -> str:
        argv = (
            [self._tools.ffmpeg, "-nostdin", "-y", *command] if stdin is None else [self._tools.ffmpeg, "-y", *command]
        )
        source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = child_processes.run(argv, check=True, capture_output=True, **source)
        return done.stderr.decode()


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        for row in rows:
            if row.name == "media-memory":
                yield Measurement(row, [Round(bench.peak_mb(_MANY), bench.peak_mb(_FEW)) for _ in range(rounds)])
                continue
            ours, by_hand = bench.operations[row.name]
            _cost_s(ours), _cost_s(by_hand)
            yield Measurement(row, [Round(_cost_s(ours), _cost_s(by_hand)) for _ in range(rounds)])


def _cost_s(operation: Callable[[], object]) -> float:
    before_s = _used_s()
    operation()
    return _used_s() - before_s


def _used_s() -> float:
    """CPU of this process and of the children that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


GROUP = Group("media", ROWS, measure)
