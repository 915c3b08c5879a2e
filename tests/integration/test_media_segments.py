"""The segments of a reel, made clip by clip by a real ffmpeg: together they are one video without a gap."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.media_files import MediaMaker, decode
from fixtures.speech import VOICE_HZ, loudness_of
from phoenix.contract import SoundtrackRequest, Transition
from phoenix.ids import new_artifact_id
from phoenix.media.commands.video import Picture
from phoenix.media.errors import MediaStopped
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools
from phoenix.media.reel.playlist import SegmentedFile
from phoenix.media.reel.segments import write_segments
from phoenix.media.reel.spans import plan_timeline
from phoenix.media.reel.window_sound import AddedSound
from phoenix.media.soundtrack import PlacedSound

PICTURE = Picture(128, 72, Fraction(16))
CLIPS_ALONE = AddedSound()
CUT, FADE = Transition(kind="cut"), Transition(kind="crossfade", duration_s=0.5)
RATE_HZ = 48_000


def make_segments(
    clips: list[Path],
    counts: list[int],
    transition: Transition,
    tools: MediaTools,
    folder: Path,
    added: AddedSound = CLIPS_ALONE,
) -> list[tuple[Path, SegmentedFile]]:
    """One file per clip, each made on its own, as by workers that know nothing of each other."""
    timeline = plan_timeline(counts, transition, PICTURE)
    made: list[tuple[Path, SegmentedFile]] = []
    for part in range(len(clips)):
        span = timeline.span_of(range(part, part + 1))
        heard = [clips[each] for each in timeline.parts_heard(span)]
        output = folder / f"segments-{part}.mp4"
        file = write_segments(timeline, span, heard, output, tools=tools, added_sound=added, callbacks=NO_CALLBACKS)
        made.append((output, file))
    return made


def as_player_joins_them(made: list[tuple[Path, SegmentedFile]], output: Path) -> Path:
    """The header of the first file, and the segments of all."""
    first, described = made[0]
    header = first.read_bytes()[: described.header_bytes]
    output.write_bytes(header + b"".join(path.read_bytes()[file.header_bytes :] for path, file in made))
    return output


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def packet_times(path: Path, kind: str) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})[0]
        assert stream.time_base
        return [packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None]


@pytest.mark.parametrize(("transition", "frames"), [(CUT, 32 + 32 + 32), (FADE, 32 + 32 + 32 - 2 * 8)])
def test_segments_play_as_one_video_without_a_gap(
    media: MediaMaker, media_tools: MediaTools, tmp_path: Path, transition: Transition, frames: int
) -> None:
    silent, heard = media.video("silent.mp4"), media.video_with_sound("heard.mp4")

    made = make_segments([heard, silent, heard], [32, 32, 32], transition, media_tools, tmp_path)

    joined = as_player_joins_them(made, tmp_path / "joined.mp4")
    found = decode(joined)
    assert len({file.header_sha256 for _, file in made}) == 1
    assert (found.num_frames, found.steps) == (frames, {Fraction(1, 16)})
    assert found.sound_s == pytest.approx(frames / 16, abs=1024 / RATE_HZ)
    gaps = [later - earlier for earlier, later in pairwise(packet_times(joined, "audio"))]
    assert set(gaps) == {Fraction(1024, RATE_HZ)}


def test_picture_and_sound_begin_together(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    made = make_segments([media.video_with_sound("heard.mp4")] * 2, [32, 32], CUT, media_tools, tmp_path)

    joined = as_player_joins_them(made, tmp_path / "joined.mp4")

    assert packet_times(joined, "video")[0] == packet_times(joined, "audio")[0] == 10


def test_no_click_is_heard_where_clips_meet(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    # 660 whole periods: the tone goes on without a step from clip to clip.
    clip = media.video_with_sound("heard.mp4", seconds=2)
    made = make_segments([clip] * 3, [32] * 3, CUT, media_tools, tmp_path)

    sound = sound_of(as_player_joins_them(made, tmp_path / "joined.mp4"))

    steps = np.abs(np.diff(sound))
    usual = steps[RATE_HZ // 2 : RATE_HZ].max()
    at_joins = max(steps[second * RATE_HZ - 9600 : second * RATE_HZ + 9600].max() for second in (2, 4))
    assert at_joins < 2.5 * usual


def test_a_speech_is_heard_at_its_time_over_quieter_music_and_clips(
    media: MediaMaker, media_tools: MediaTools, tmp_path: Path
) -> None:
    music = media.sound("music.wav", seconds=6, source="sine=220")
    spoken = media.sound("spoken.wav", seconds=1.5, source=f"sine={VOICE_HZ}")
    request = SoundtrackRequest(artifact_id=new_artifact_id(), clip_sound_db=-3)
    added = AddedSound(speeches=[PlacedSound(spoken, 2.0)], soundtrack=music, request=request)

    clips = [media.video_with_sound("heard.mp4")] * 3
    joined = as_player_joins_them(
        make_segments(clips, [32] * 3, CUT, media_tools, tmp_path, added), tmp_path / "joined.mp4"
    )

    heard = {hz: loudness_of(joined, hz) for hz in (220, 330, VOICE_HZ)}
    # Clip 1 begins after two seconds, and windows are a quarter of a second long.
    during, before, after = slice(9, 13), slice(1, 7), slice(18, 23)
    assert min(heard[VOICE_HZ][during]) > 20 * max(*heard[VOICE_HZ][before], *heard[VOICE_HZ][after])
    for below in (heard[220], heard[330]):
        assert np.mean(below[during]) < 0.5 * np.mean(below[before])
        assert np.mean(below[after]) == pytest.approx(np.mean(below[before]), rel=0.2)


def test_no_click_of_the_soundtrack_is_heard_where_clips_meet(
    media: MediaMaker, media_tools: MediaTools, tmp_path: Path
) -> None:
    added = AddedSound(soundtrack=media.sound("music.wav", seconds=6, source="sine=330"))
    made = make_segments([media.video("silent.mp4")] * 3, [32] * 3, CUT, media_tools, tmp_path, added)

    steps = np.abs(np.diff(sound_of(as_player_joins_them(made, tmp_path / "joined.mp4"))))

    usual = steps[RATE_HZ // 2 : RATE_HZ].max()
    at_joins = max(steps[second * RATE_HZ - 9600 : second * RATE_HZ + 9600].max() for second in (2, 4))
    assert at_joins < 1.5 * usual


def test_a_crossfade_shows_both_clips(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    red, blue = (media.video(f"{name}.mp4", source=f"color={name}") for name in ("red", "blue"))

    made = make_segments([red, blue], [32, 32], FADE, media_tools, tmp_path)

    colours = decode(as_player_joins_them(made, tmp_path / "joined.mp4")).colours
    reds = [colour[0] for colour in colours]
    assert len(colours) == 56
    assert (min(reds[:24]), max(reds[33:])) == pytest.approx((254, 0), abs=4)
    assert 64 < reds[28] < 192
    assert reds[23:33] == sorted(reds[23:33], reverse=True)


def test_a_long_clip_has_several_segments_of_two_seconds(
    media: MediaMaker, media_tools: MediaTools, tmp_path: Path
) -> None:
    [(path, file)] = make_segments([media.video("long.mp4", frames=80)], [80], CUT, media_tools, tmp_path)

    assert file.segment_frames == (32, 32, 16)
    assert file.header_bytes + sum(file.segment_bytes) == path.stat().st_size


def test_a_clip_of_another_size_and_rate_fits_in(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    other = media.video("other.mp4", frames=24, size="96x96", fps="12")

    made = make_segments([media.video("first.mp4"), other], [32, 32], CUT, media_tools, tmp_path)

    found = decode(as_player_joins_them(made, tmp_path / "joined.mp4"))
    assert (found.num_frames, found.width, found.height, found.steps) == (64, 128, 72, {Fraction(1, 16)})


def test_a_stop_ends_it(media: MediaMaker, media_tools: MediaTools, tmp_path: Path) -> None:
    clip = media.video("clip.mp4")
    timeline = plan_timeline([32], CUT, PICTURE)
    stopped = FfmpegCallbacks(should_stop=lambda: True)

    with pytest.raises(MediaStopped):
        write_segments(
            timeline,
            timeline.span_of(range(1)),
            [clip],
            tmp_path / "s.mp4",
            tools=media_tools,
            added_sound=AddedSound(),
            callbacks=stopped,
        )
