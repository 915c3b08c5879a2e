"""Previews of a clip: their rate, their size and their bytes."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fixtures.renders import Recorder, make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.animatic.engine import AnimaticEngine
from phoenix.engine.interface import ClipInputs
from phoenix.engine.previews import MAX_PREVIEW_BYTES, PreviewThrottle, preview_size, to_jpeg


class HandTurned:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_picture_is_due_once_an_interval():
    clock = HandTurned()
    pace = PreviewThrottle(1.0, clock)
    due = []
    for clock.now_s in (0.0, 0.5, 1.0, 1.5, 1.9, 2.1):
        due.append(pace.is_due())
    assert due == [False, False, True, False, False, True]


def test_an_interval_of_0_means_no_previews():
    assert not PreviewThrottle(0).is_due()


@pytest.mark.parametrize(
    ("size", "small"), [((832, 480), (192, 111)), ((480, 832), (111, 192)), ((64, 64), (192, 192))]
)
def test_a_preview_has_the_shape_of_its_clip(size, small):
    assert preview_size(*size) == small


@pytest.mark.parametrize("size", [(192, 192), (1024, 1024)])
def test_a_picture_of_noise_is_made_coarser_until_it_fits(size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    jpeg = to_jpeg(Image.fromarray(noise))
    assert len(jpeg) <= MAX_PREVIEW_BYTES
    assert Image.open(BytesIO(jpeg)).format == "JPEG"


def test_an_animatic_shows_its_frames_while_it_is_paced():
    engine = AnimaticEngine(seconds_per_step=0.005, preview_interval_s=0.001)
    recorder = Recorder()
    clip = make_clip(width=854, height=480, num_frames=48, steps=4)
    engine.render(ClipInputs(clip, load_catalog().get("animatic")), recorder)
    pictures = [Image.open(BytesIO(preview)) for preview in recorder.previews]
    assert {picture.size for picture in pictures} == {(192, 108)}
    assert len(set(recorder.previews)) > 1


def test_an_animatic_without_seconds_per_step_shows_none():
    recorder = Recorder()
    AnimaticEngine(preview_interval_s=1).render(ClipInputs(make_clip(), load_catalog().get("animatic")), recorder)
    assert recorder.previews == []
