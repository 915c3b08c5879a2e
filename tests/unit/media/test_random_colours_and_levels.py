"""Videos of any matrix and range keep their colours, and sounds of any layout, rate and level get their loudness."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fixtures.colour_bars import BARS, BT709_TAGS, TOLERANCE, BarsMaker, deviation, show
from fixtures.media_files import MediaMaker
from phoenix.contract import SoundtrackRequest, Transition
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.reel.join import join_clips
from phoenix.media.soundtrack import prepare_soundtrack

FRAMES = 4
SECONDS = 4.0
TAGS = {
    "bt709": ("bt709", "bt709", "bt709"),
    "bt601": ("smpte170m", "smpte170m", "smpte170m"),
}
few_examples = settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class StoredBars:
    """How a video of the bars is stored. Without tags, its matrix follows the rule that players use for its height."""

    matrix: str
    is_tagged: bool
    range_: str
    pixels: str
    height_px: int

    def write(self, bars: BarsMaker, index: int) -> Path:
        tags = TAGS[self.matrix] if self.is_tagged else ()
        return bars.yuv(
            f"{index}.mp4", self.matrix, *tags, range_=self.range_, pixels=self.pixels, height_px=self.height_px
        )


@st.composite
def differing_bars(draw: st.DrawFn) -> list[StoredBars]:
    """Two or three different ways to store pictures of one size, so that no reel of them is a copy."""
    height_px = draw(st.sampled_from([240, 480, 720]))
    usual = "bt709" if height_px >= 720 else "bt601"
    ways = [(usual, False), *((matrix, True) for matrix in TAGS)]
    pixels = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"]
    stored = st.builds(
        lambda way, range_, pixel: StoredBars(*way, range_, pixel, height_px),
        st.sampled_from(ways),
        st.sampled_from(["tv", "pc"]),
        st.sampled_from(pixels),
    )
    return draw(st.lists(stored, min_size=2, max_size=3, unique=True))


@pytest.mark.parametrize("transition", [Transition(kind="cut"), Transition(kind="crossfade", duration_s=1 / 16)])
@few_examples
@given(stored=differing_bars())
def test_joined_clips_and_their_poster_keep_their_colours(
    bars: BarsMaker, media_tools: MediaTools, transition: Transition, stored: list[StoredBars]
) -> None:
    clips = [each.write(bars, index) for index, each in enumerate(stored)]
    output, poster = bars.media.folder / "reel.mp4", bars.media.folder / "poster.jpg"

    join_clips(clips, output, tools=media_tools, transition=transition)
    write_poster(output, poster, duration_s=1 / 16, tools=media_tools)

    step = FRAMES - (transition.kind == "crossfade")
    for index in range(len(clips)):
        # The last whole frame of a clip before the next one begins.
        shown = show(output, index * step + 2)
        assert deviation(shown.colours) <= TOLERANCE, (stored[index], shown.colours)
        assert (shown.tags, shown.is_full_range) == (BT709_TAGS, False)
    with Image.open(poster) as opened:
        row = np.asarray(opened.convert("RGB"))[opened.height // 2]
    middles = [round(opened.width * (index + 0.5) / len(BARS)) for index in range(len(BARS))]
    assert deviation(tuple(tuple(int(value) for value in row[x]) for x in middles)) <= TOLERANCE


@dataclass(frozen=True)
class StoredSound:
    """How pink noise is stored."""

    layout: str
    rate_hz: int
    gain_db: float
    options: tuple[str, ...]
    ending: str

    def write(self, media: MediaMaker) -> Path:
        path = media.folder / f"noise.{self.ending}"
        noise = f"anoisesrc=c=pink:r=48000:d={SECONDS}:a=0.5:seed=3,volume={self.gain_db}dB"
        shape = f"aformat=channel_layouts={self.layout},aresample={self.rate_hz}"
        media.ffmpeg("-f", "lavfi", "-i", f"{noise},{shape}", *self.options, str(path))
        return path


STORED = [("wav", ("-c:a", "pcm_s16le")), ("flac", ("-c:a", "flac")), ("mka", ("-c:a", "pcm_f32le"))]


@st.composite
def stored_sounds(draw: st.DrawFn) -> StoredSound:
    ending, options = draw(st.sampled_from(STORED))
    layout = draw(st.sampled_from(["mono", "stereo", "5.1", "7.1"]))
    return StoredSound(
        layout, draw(st.sampled_from([16_000, 44_100, 48_000])), draw(st.sampled_from([-24.0, -6.0])), options, ending
    )


@few_examples
@given(stored=stored_sounds(), target_lufs=st.sampled_from([-30.0, -23.0, -16.0]))
def test_a_soundtrack_has_the_requested_loudness(
    media: MediaMaker, media_tools: MediaTools, stored: StoredSound, target_lufs: float
) -> None:
    output = media.folder / "track.m4a"
    request = SoundtrackRequest.model_validate({"url": "https://sounds.example/a.mp3", "loudness_lufs": target_lufs})

    prepare_soundtrack(stored.write(media), output, request, duration_s=SECONDS, tools=media_tools)

    assert media.loudness(output, SECONDS).integrated_lufs == pytest.approx(target_lufs, abs=1)
