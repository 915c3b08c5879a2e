"""LTX-2 in two stages on a tiny pipeline: half the size first, then its latents, enlarged and refined, with sound."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip
from fixtures.tiny_pipelines import tiny_spec
from fixtures.video_classes.folders import write_folder
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.catalog.tuning import SecondStage
from phoenix.engine.conditions.trial import make_trial_conditions
from phoenix.engine.interface import ClipInputs, NullObserver, RenderedClip
from phoenix.errors import FailureCode, TaskFailed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

SIGMAS = (0.9, 0.4)
CLIP = make_clip(width=64, height=64, num_frames=9, steps=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of one stage, with an upsampler beside it that its index does not name: so is the published one."""
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel  # noqa: PLC0415

    from fixtures.video_classes import ltx  # noqa: PLC0415 (diffusers takes seconds)

    torch.manual_seed(0)
    folder = write_folder("LTX2Pipeline", ltx.ltx2(), tmp_path_factory.mktemp("two-stages") / "ltx2")
    upsampler = LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1)
    upsampler.save_pretrained(folder / "latent_upsampler")
    return folder


@pytest.fixture
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> ModelSpec:
    changes = {"id": "two", "options": {}, "makes_sound": True, "second_stage": SecondStage(sigmas=SIGMAS)}
    return tiny_spec("wan", folder, tmp_path).model_copy(update=changes)


def render(engine: OpenEngine, model: ModelSpec, tmp_path: Path, observer: Any = None) -> RenderedClip:
    inputs = ClipInputs(CLIP, model, make_trial_conditions(model, CLIP, tmp_path))
    return engine.render(inputs, observer or NullObserver())


def test_a_clip_has_its_whole_size_its_sound_and_the_steps_of_both_stages(engine, model, tmp_path):
    recorder = Recorder()
    clip = render(engine, model, tmp_path, recorder)
    assert len(list(clip.frames)) == CLIP.num_frames
    assert clip.sound is not None
    assert recorder.steps == [(step, 5) for step in range(1, 6)]


@pytest.mark.parametrize("pipeline", ["LTX2ImageToVideoPipeline", "LTX2ConditionPipeline"])
def test_the_classes_with_pictures_have_two_stages_too(pipeline, engine, model, tmp_path):
    picture = {"pipeline": pipeline, "conditions": {"first_frame": ConditionRule(minimum=1)}}
    clip = render(engine, model.model_copy(update=picture), tmp_path)
    assert len(list(clip.frames)) == CLIP.num_frames


def test_both_stages_and_the_upsampler_decide_the_clip(engine, model, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    weights = other / "latent_upsampler"
    shutil.rmtree(weights)
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel  # noqa: PLC0415

    torch.manual_seed(1)
    LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1).save_pretrained(weights)
    changes = ({}, {"second_stage": None}, {"second_stage": SecondStage(sigmas=(0.5, 0.4))}, {"source": str(other)})
    clips = [digest(render(engine, model.model_copy(update=change), tmp_path)) for change in changes]
    assert len(set(clips)) == len(changes)


def test_entries_of_one_and_of_two_stages_hold_the_weights_once_and_run_at_the_same_time(engine, model, tmp_path):
    models = [model, model.model_copy(update={"second_stage": None, "id": "one"})]
    alone = [digest(render(engine, each, tmp_path)) for each in models]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: digest(render(engine, each, tmp_path)), models * 3))
    assert together == alone * 3
    assert len(engine.loads) == 1


def test_a_folder_without_the_upsampler_and_a_class_without_a_second_stage_are_refused(engine, model, folder, tmp_path):
    without = shutil.copytree(folder, tmp_path / "without")
    shutil.rmtree(without / "latent_upsampler")
    refused = [{"source": str(without)}, {"pipeline": "LTXPipeline"}]
    for change, complaint in zip(refused, ("'latent_upsampler' is missing", "has no second stage"), strict=True):
        with pytest.raises(TaskFailed, match=complaint) as failed:
            render(engine, model.model_copy(update=change), tmp_path)
        assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


def test_the_built_in_entry_names_the_folder_and_halves_to_sizes_of_its_class():
    entry = load_catalog().get("ltx-2-two-stage")
    assert entry.second_stage == SecondStage(sigmas=(0.909375, 0.725, 0.421875))
    assert entry.size.multiple == 64
