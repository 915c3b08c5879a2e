"""Clips of any rate, start and length: a flash and a tone that come together stay within a frame of each other."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.flashes import FlashingClip, flash_times, tone_times
from fixtures.media_files import MediaMaker
from phoenix.contract import SoundtrackRequest, Transition
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.reel.join import join_clips
from phoenix.media.soundtrack import mux_soundtrack, prepare_soundtrack

FLASH_S = 1.0
FADE_S = 0.4
WISH = SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3"})
CODECS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
}


@st.composite
def flashing_clips(draw: st.DrawFn) -> FlashingClip:
    ending = draw(st.sampled_from(list(CODECS)))
    clip = FlashingClip(
        name=f"clip.{ending}",
        seconds=draw(st.sampled_from([2.0, 2.5])),
        flashes_s=(FLASH_S,),
        # At each of these rates, a frame comes at a second exactly, or a millisecond later.
        fps=draw(st.sampled_from(["10", "15", "24", "30000/1001", "30", "50"])),
        sound_s=draw(st.sampled_from([1.5, 2.0, 4.0])),
        # All frames, or a gap, or a third of the frames for a while.
        kept=draw(st.sampled_from(["1", "lt(t,0.5)+gte(t,0.9)", "1-mod(n,3)+gte(t,0.9)*lt(t,1.3)+gte(t,1.8)"])),
        codecs=CODECS[ending],
    )
    # One stream begins with the file.
    late = draw(st.sampled_from([{}, {"picture_from_s": 0.2}, {"picture_from_s": 0.6}, {"sound_from_s": 0.7}]))
    return replace(clip, **late)


few_examples = settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_all(media: MediaMaker, clips: list[FlashingClip]) -> list[Path]:
    return [replace(clip, name=f"{index}-{clip.name}").write(media) for index, clip in enumerate(clips)]


def slowest_frame_s(clips: list[FlashingClip]) -> float:
    """The longest frame of a source or of the reel, plus what a codec smears."""
    return max(1 / (30 if "/" in clip.fps else float(clip.fps)) for clip in clips) + 0.005


@pytest.mark.parametrize("transition", [Transition(kind="cut"), Transition(kind="crossfade", duration_s=FADE_S)])
@few_examples
@given(clips=st.lists(flashing_clips(), min_size=2, max_size=3))
def test_joined_clips_stay_in_sync(
    media: MediaMaker, media_tools: MediaTools, transition: Transition, clips: list[FlashingClip]
) -> None:
    output = media.folder / "reel.mp4"

    join_clips(write_all(media, clips), output, tools=media_tools, transition=transition)

    overlap_s = FADE_S if transition.kind == "crossfade" else 0
    starts_s = accumulate((clip.seconds - overlap_s for clip in clips[:-1]), initial=0.0)
    expected = [start_s + FLASH_S for start_s in starts_s]
    tolerance_s = slowest_frame_s(clips)
    assert flash_times(output) == pytest.approx(expected, abs=len(clips) * tolerance_s)
    assert tone_times(output) == pytest.approx(flash_times(output), abs=tolerance_s)


@few_examples
@given(clips=st.lists(flashing_clips(), min_size=2, max_size=2))
def test_a_soundtrack_from_a_clip_stays_in_sync_with_the_clip(
    media: MediaMaker, media_tools: MediaTools, clips: list[FlashingClip]
) -> None:
    silent, track, output = media.folder / "silent.mp4", media.folder / "track.m4a", media.folder / "out.mp4"
    paths = write_all(media, clips)

    info = join_clips(paths, silent, tools=media_tools, keep_sound=False)
    prepare_soundtrack(paths[0], track, WISH, duration_s=info.video_duration_s, tools=media_tools)
    mux_soundtrack(silent, track, output, tools=media_tools)

    assert tone_times(output)[0] == pytest.approx(FLASH_S, abs=0.01)
    assert flash_times(output)[0] == pytest.approx(FLASH_S, abs=slowest_frame_s(clips))
