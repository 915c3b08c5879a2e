"""Where a pipeline class returns its frames and its sound: known before its first step."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from phoenix.catalog.catalog import load_catalog
from phoenix.engine.backends.diffusers.classes.outputs import OutputAdapter, find_output, output_fields
from phoenix.errors import FailureCode, TaskFailed

MODEL = load_catalog().get("ltx-video")


@dataclass
class TalkingPipelineOutput:
    """Frames and sound under the names of Cosmos 3."""

    video: Any
    sound: Any


class TalkingPipeline:
    def __init__(self, **parts: Any) -> None:
        vars(self).update({name: SimpleNamespace(config=SimpleNamespace(**config)) for name, config in parts.items()})


def test_frames_and_sound_are_found_under_other_names_with_the_rate_of_the_part_that_makes_the_sound():
    output = find_output(MODEL, TalkingPipeline(sound_tokenizer={"sampling_rate": 48_000}))
    assert output == OutputAdapter("video", sound="sound", sound_rate_hz=48_000)


def test_a_vocoder_without_a_rate_leaves_it_to_the_next_part():
    output = find_output(MODEL, TalkingPipeline(vocoder={}, audio_vae={"sample_rate": 44_100}))
    assert output.sound_rate_hz == 44_100


def test_a_pipeline_without_the_parts_for_sound_makes_none():
    assert find_output(MODEL, TalkingPipeline()) == OutputAdapter("video")


def test_sound_of_an_unknown_rate_is_refused_at_load():
    with pytest.raises(TaskFailed, match="makes sound, and none of its parts has the rate") as failed:
        find_output(MODEL, TalkingPipeline(vocoder={}))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_class_that_returns_pictures_is_refused():
    with pytest.raises(TaskFailed, match=r"TextToVideoZeroPipeline returns images, .*and no frames under a known name"):
        output_fields(MODEL, diffusers.TextToVideoZeroPipeline)


def test_one_clip_without_a_dimension_for_rows_is_one_row():
    made = SimpleNamespace(video=torch.zeros(9, 3, 8, 8), sound=torch.zeros(2, 100))
    output = OutputAdapter("video", sound="sound", sound_rate_hz=48_000)
    assert output.videos(made, 9).shape == (1, 9, 3, 8, 8)
    sounds = output.sounds(made)
    assert sounds is not None
    assert sounds.shape == (1, 2, 100)


def test_one_channel_without_a_dimension_of_its_own_is_one_channel_of_each_row():
    sounds = OutputAdapter("frames", sound="audio", sound_rate_hz=1).sounds(SimpleNamespace(audio=torch.zeros(3, 100)))
    assert sounds is not None
    assert sounds.shape == (3, 1, 100)


def test_raw_frames_become_frames_before_channels_with_values_from_0_to_1():
    made = SimpleNamespace(frames=torch.full((1, 3, 9, 8, 8), -1.0))
    video = OutputAdapter("frames", is_raw=True).videos(made, 9)
    assert video.shape == (1, 9, 3, 8, 8)
    assert video.max() == 0


def test_frames_over_the_request_are_left_out_where_the_class_makes_whole_windows():
    made = SimpleNamespace(frames=torch.zeros(1, 13, 3, 8, 8))
    assert OutputAdapter("frames", is_longer=True).videos(made, 9).shape[1] == 9
    assert OutputAdapter("frames").videos(made, 9).shape[1] == 13
