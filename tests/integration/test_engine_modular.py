"""Modular pipelines of diffusers through the engine: they act like the plain classes, and bad folders are refused."""

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.engine_clips import BATCH_TOLERANCE, furthest, pixels, requests_of, trio
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip, stopping_at
from fixtures.tiny_adapters import write_adapter
from fixtures.video_classes import verdicts
from fixtures.video_classes.rows import MODULAR_ROWS, Row
from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.contract import PICTURE_ROLES, ConditionRole, ResolvedClip
from phoenix.engine.backends.diffusers.calling import clone_for_call
from phoenix.engine.backends.diffusers.classes.arguments import call_arguments
from phoenix.engine.backends.diffusers.classes.guidance import set_guidance
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, Stage, TaskFailed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

ROWS = {row.name: row for row in MODULAR_ROWS}
ROLES: dict[str, tuple[ConditionRole, ...]] = {
    "Wan22VaceModularPipeline": ("source_video", "mask", "reference"),
    "WanAnimate2ModularPipeline": ("reference", "control_pose"),
    "LTX25ModularPipeline": ("first_frame", "last_frame"),
    "HunyuanVideo15ModularPipeline": ("first_frame",),
    "EchoModularPipeline": ("first_frame",),
}
IN_THREADS = ("Wan22ModularPipeline", "Wan22VaceModularPipeline", "LTX25ModularPipeline")
MASK = ConditionRule(minimum=1, requires=("source_video",))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> verdicts.Judge:
    return verdicts.Judge(tmp_path_factory.mktemp("modular"))


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


def row_of(name: str) -> Row:
    build = {"HunyuanVideo15ModularPipeline": "hunyuan.hunyuan15_i2v"}
    row = ROWS[name]
    return replace(row, build=build.get(name, row.build), roles=ROLES.get(name, ()), steps=max(row.steps, 2))


def clip_of(name: str, **changes: Any) -> ResolvedClip:
    row = row_of(name)
    values = {"width": row.side_px, "height": row.side_px, "steps": row.steps, "num_frames": row.num_frames}
    return make_clip(**values | changes)


@pytest.fixture(scope="module")
def entry_of(judge: verdicts.Judge) -> Callable[..., ModelSpec]:
    def get(name: str, **changes: Any) -> ModelSpec:
        entry = judge.entry(row_of(name))
        rules = entry.conditions | ({"mask": MASK} if "mask" in entry.conditions else {})
        return entry.model_copy(update={"conditions": rules} | changes)

    return get


@pytest.fixture(scope="module")
def wan(judge: verdicts.Judge) -> ModelSpec:
    """Two experts, as text to video."""
    return judge.entry(ROWS["Wan22ModularPipeline"])


@pytest.fixture
def copied(wan: ModelSpec, tmp_path: Path) -> ModelSpec:
    """The same entry over a folder of its own, which a test may damage."""
    return wan.model_copy(update={"source": str(shutil.copytree(wan.source or "", tmp_path / "copy"))})


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ConditionFile]:
    """A condition of random large squares: a tiny pipeline does not see finer noise."""
    root = tmp_path_factory.mktemp("files")

    def write(role: ConditionRole, seed: int, clip: ResolvedClip) -> ConditionFile:
        squares = 255 * np.random.default_rng(seed).integers(0, 2, (clip.num_frames, 2, 2, 3), np.uint8)
        noise = squares.repeat(clip.height // 2, axis=1).repeat(clip.width // 2, axis=2)
        path = root / f"{role}-{seed}-{clip.width}-{clip.num_frames}"
        if role in PICTURE_ROLES:
            path = path.with_suffix(".png")
            Image.fromarray(noise[0]).save(path)
        else:
            path.write_bytes(noise.tobytes())
        return ConditionFile(role, path)

    return write


@pytest.fixture(scope="module")
def inputs_of(entry_of, file_of) -> Callable[..., ClipInputs]:
    """A clip with a condition for each role; `changed` has other seeds for them."""

    def make(name: str, *, clip: ResolvedClip | None = None, **changed: int) -> ClipInputs:
        clip = clip or clip_of(name)
        files = (file_of(role, changed.get(role, place), clip) for place, role in enumerate(ROLES.get(name, ())))
        return ClipInputs(clip, entry_of(name), tuple(files))

    return make


def rendered(engine: OpenEngine, inputs: ClipInputs) -> str:
    return digest(engine.render(inputs, NullObserver()))


def refusal(engine: OpenEngine, model: ModelSpec) -> str:
    with pytest.raises(TaskFailed) as failed:
        engine.render(ClipInputs(clip_of("Wan22ModularPipeline"), model), NullObserver())
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
    return failed.value.detail


@pytest.mark.parametrize("name", ROLES)
def test_a_clip_depends_on_each_of_its_conditions_and_is_the_same_twice(name, engine, inputs_of):
    """Compares the floats: what a tiny pipeline makes of a condition may be less than a level of 255."""
    rendered(engine, inputs_of(name))
    pipeline = next(load.pipeline for load in reversed(engine.loads) if type(load.pipeline).__name__ == name)

    def frames(**changed: int) -> torch.Tensor:
        arguments, clone = call_arguments(pipeline, inputs_of(name, **changed)), clone_for_call(pipeline)
        set_guidance(clone, 5.0, {})
        return clone(**arguments, generator=torch.Generator().manual_seed(7), output="videos")

    plain = frames()
    assert torch.equal(frames(), plain)
    assert [role for role in ROLES[name] if torch.equal(frames(**{role: 99}), plain)] == []


def test_four_threads_make_mixed_clips_bit_identical_to_serial_ones(engine, inputs_of):
    all_inputs = [
        inputs_of(name, clip=clip_of(name, seed=seed, prompt=prompt, guidance_scale=3.0 + seed))
        for name in IN_THREADS
        for seed, prompt in enumerate(("a red fox", "snow at dawn"))
    ]
    serial = [rendered(engine, inputs) for inputs in all_inputs]

    def render_all(thread: int) -> list[str]:
        order = random.Random(thread).sample(range(len(serial)), len(serial))
        made = {number: rendered(engine, all_inputs[number]) for number in order}
        return [made[number] for number in range(len(serial))]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render_all, range(4))) == [serial] * 4
    assert len(set(serial)) == len(serial)


def test_a_modular_pipeline_makes_what_the_plain_class_makes_of_the_same_weights(engine, wan):
    clip = clip_of("Wan22ModularPipeline")
    plain = wan.model_copy(update={"id": "plain", "pipeline": "WanPipeline"})
    loads = len(engine.loads)
    made = [pixels(engine.render(ClipInputs(clip, model), NullObserver())) for model in (wan, plain)]
    assert furthest(*made) <= 1
    # The second entry shares the weights of the first.
    assert len(engine.loads) <= loads + 1


@pytest.mark.parametrize(
    ("name", "parts"), [("Wan22ModularPipeline", 1), ("EchoModularPipeline", 1), ("WanAnimate2ModularPipeline", 2)]
)
def test_each_step_is_reported_and_a_stop_takes_effect_between_steps(name, parts, engine, inputs_of):
    """Wan Animate 2 makes a clip in segments, each with all steps."""
    inputs = inputs_of(name)
    if parts > 1:
        options = {**inputs.model.options, "segment_frame_length": 5}
        inputs = replace(inputs, model=inputs.model.model_copy(update={"options": options}))
    steps, recorder = inputs.clip.steps * parts, Recorder()
    whole = digest(engine.render(inputs, recorder))
    assert recorder.steps == [(step, steps) for step in range(1, steps + 1)]
    stopped = stopping_at(1)
    with pytest.raises(RenderStopped):
        engine.render(inputs, stopped)
    assert stopped.steps == [(1, steps)]
    assert rendered(engine, inputs) == whole


def test_the_second_denoiser_of_ltx_2_5_counts_as_decode_and_can_be_stopped(engine, inputs_of):
    inputs, seen = inputs_of("LTX25ModularPipeline"), Recorder()
    engine.render(inputs, seen)
    assert seen.stages == [Stage.LOAD, Stage.TEXT, Stage.DENOISE, Stage.DECODE]
    stopped = stopping_at(Stage.DECODE)
    decoder = engine.pipeline_of(inputs.model).diffusion_decoder
    finished: list[Any] = []
    hook = decoder.decoder.norm_out.register_forward_hook(lambda *_: finished.append(1))
    with pytest.raises(RenderStopped):
        engine.render(inputs, stopped)
    hook.remove()
    assert finished == []


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 2.0},
        {"negative_prompt": "blurry"},
        {"options": {"guidance_scale_2": 9.0}},
        {"scheduler": {"settings": {"flow_shift": 9.0}}},
    ],
    ids=str,
)
def test_guidance_and_options_of_an_entry_act(change, engine, wan):
    clip = clip_of("Wan22ModularPipeline", steps=4)
    plain = rendered(engine, ClipInputs(clip, wan))
    entry = ModelSpec.model_validate(wan.model_dump() | change) if change.keys() & {"options", "scheduler"} else wan
    clip_changes = {} if entry is not wan else change
    assert rendered(engine, ClipInputs(clip.model_copy(update=clip_changes), entry)) != plain


@pytest.mark.parametrize("name", ["WanModularPipeline", "LTXModularPipeline", "HunyuanVideo15ModularPipeline"])
def test_a_guidance_of_one_renders_without_guidance(name, engine, judge):
    model = judge.entry(ROWS[name])
    made = [rendered(engine, ClipInputs(clip_of(name, guidance_scale=scale), model)) for scale in (1.0, 5.0)]
    assert made[0] != made[1]


def test_clips_of_a_batch_are_those_of_calls_one_by_one(engine, wan):
    all_inputs = trio(wan, width=32, height=32)
    requests = requests_of(all_inputs)
    engine.render_batch(requests)
    assert [request.result().batch_size for request in requests] == [3, 3, 3]
    for inputs, request in zip(all_inputs, requests, strict=True):
        alone = pixels(engine.render(inputs, NullObserver()))
        assert furthest(pixels(request.result()), alone) <= BATCH_TOLERANCE


def test_an_adapter_acts_and_leaves_other_calls_as_they_are(engine, wan, tmp_path):
    film = write_adapter(tmp_path / "film", wan, "film", seed=1, components=("transformer", "transformer_2"))
    clip = clip_of("Wan22ModularPipeline")
    plain = rendered(engine, ClipInputs(clip, wan))
    styled = ClipInputs(
        clip.model_copy(update={"loras": [{"id": "film", "scale": 1.0}]}), wan, adapters=(AdapterUse(film, 1.0),)
    )
    assert rendered(engine, styled) != plain
    assert rendered(engine, ClipInputs(clip, wan)) == plain


@pytest.mark.parametrize("offload", ["model", "group"])
def test_an_offloaded_modular_pipeline_makes_the_same_clip(offload, engine, wan):
    clip = clip_of("Wan22ModularPipeline")
    offloaded = wan.model_copy(update={"offload": offload})
    assert rendered(engine, ClipInputs(clip, offloaded)) == rendered(engine, ClipInputs(clip, wan))


def test_the_folder_that_a_modular_pipeline_saves_may_move_and_needs_no_other_index(engine, wan, tmp_path):
    pipeline = diffusers.Wan22ModularPipeline(pretrained_model_name_or_path=wan.source)
    pipeline.load_components()
    pipeline.save_pretrained(str(tmp_path / "saved"), overwrite_modular_index=True)
    (tmp_path / "saved").rename(tmp_path / "moved")
    saved = wan.model_copy(update={"source": str(tmp_path / "moved"), "pipeline": None})
    clip = clip_of("Wan22ModularPipeline")
    assert rendered(engine, ClipInputs(clip, saved)) == rendered(engine, ClipInputs(clip, wan))


def test_a_folder_without_a_component_that_a_clip_needs_is_refused_by_its_name(engine, entry_of, tmp_path):
    """The other components of LTX-2 that the folder lacks are for prompts and lengths that no request leaves open."""
    entry = entry_of("LTX25ModularPipeline")
    folder = Path(shutil.copytree(entry.source, tmp_path / "copy"))
    change(folder, vocoder=[None, None])
    assert "the component 'vocoder' is missing" in refusal(engine, entry.model_copy(update={"source": str(folder)}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transformer": ["theirs", "Theirs"]}, "its component 'transformer' is a theirs.Theirs, and other code is"),
        ({"transformer": ["diffusers", "Missing"]}, "diffusers.Missing, and other code is not run"),
        ({"vae": ["transformers", "UMT5EncoderModel"]}, "its component 'vae' cannot be loaded"),
        ({"auto_map": {"ModularPipelineBlocks": "block.Theirs"}}, "asks for code of its own"),
        ({"guider": ["diffusers", "SkipLayerGuidance"]}, "hooks the shared denoiser"),
    ],
    ids=str,
)
def test_a_folder_that_asks_for_other_code_is_refused(changes, reason, engine, copied):
    folder = Path(copied.source or "")
    (folder / "guider").mkdir()
    (folder / "guider" / "guider_config.json").write_text(json.dumps({"skip_layer_guidance_layers": [0]}))
    change(folder, **changes)
    assert reason in refusal(engine, copied)


def test_a_component_outside_of_the_folder_is_refused(engine, copied):
    folder = Path(copied.source or "")
    (folder / "model_index.json").unlink()
    place = {"type_hint": ["diffusers", "AutoencoderKLWan"], "subfolder": "../elsewhere"}
    (folder / "modular_model_index.json").write_text(json.dumps({"vae": [None, None, place]}))
    assert "its component 'vae' is not in its folder" in refusal(engine, copied)


def test_the_blocks_of_another_class_are_refused_unless_the_entry_names_its_class(engine, copied):
    folder = Path(copied.source or "")
    index = json.loads((folder / "model_index.json").read_text()) | {
        "_class_name": "Wan22ModularPipeline",
        "_blocks_class_name": "WanBlocks",
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    assert "asks for the blocks WanBlocks" in refusal(engine, copied.model_copy(update={"pipeline": None}))
    rendered(engine, ClipInputs(clip_of("Wan22ModularPipeline"), copied))


def test_a_last_frame_of_wan_2_1_needs_torchvision(engine, entry_of):
    """It is cropped with it, and the error would come after the text. Phoenix does not install it."""
    rules: dict[ConditionRole, ConditionRule] = {
        role: ConditionRule(minimum=1) for role in ("first_frame", "last_frame")
    }
    entry = entry_of("WanImage2VideoModularPipeline", conditions=rules)
    assert "needs the package torchvision" in refusal(engine, entry)


def test_steps_that_a_class_does_not_make_are_refused_before_the_first_step(engine, entry_of):
    wrong = entry_of("Wan22ModularPipeline").steps
    assert "makes 8 steps" in refusal(engine, entry_of("EchoModularPipeline", conditions={}, steps=wrong))
    pyramid = entry_of("HeliosPyramidModularPipeline", steps=wrong)
    assert "needs a step for each of 3 stages" in refusal(engine, pyramid)


def change(folder: Path, **entries: Any) -> None:
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
