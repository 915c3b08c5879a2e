"""Conditions of every form on tiny pipelines: the clip depends on each, and what would go wrong is refused before."""

import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from fixtures.tiny_adapters import write_adapter
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from fixtures.video_classes.folders import write_folder
from fixtures.video_classes.rows import ROWS
from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.rules import ConditionRule
from phoenix.contract import PICTURE_ROLES, ConditionRole, ResolvedClip
from phoenix.engine.backends.diffusers.classes.arguments import call_arguments
from phoenix.engine.interface import ClipInputs, ConditionFile, NullObserver
from phoenix.errors import FailureCode, TaskFailed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

SIDE_PX, FRAMES = 32, 9
ROLES: dict[str, tuple[ConditionRole, ...]] = {
    "WanImageToVideoPipeline": ("first_frame", "last_frame"),
    "WanVideoToVideoPipeline": ("source_video",),
    "WanVACEPipeline": ("source_video", "mask", "reference"),
    "LTXConditionPipeline": ("first_frame", "keyframe", "last_frame"),
    "LTX2ConditionPipeline": ("first_frame", "keyframe", "last_frame"),
    "LTX2InContextPipeline": ("first_frame", "control_pose"),
    "WanAnimatePipeline": ("reference", "control_pose", "control_face", "source_video", "mask"),
    "LucyEditPipeline": ("source_video",),
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": ("first_frame", "last_frame"),
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": ("source_video",),
    "AnimateDiffControlNetPipeline": ("control_pose",),
    "AnimateDiffVideoToVideoControlNetPipeline": ("source_video", "control_pose"),
    "AnimateDiffSparseControlNetPipeline": ("first_frame", "keyframe"),
    "EasyAnimateInpaintPipeline": ("source_video", "mask"),
}
CONTINUES = "SkyReelsV2DiffusionForcingVideoToVideoPipeline"
OVERLAP_FRAMES = 5
WITH_ADAPTERS = ("WanImageToVideoPipeline", "WanVideoToVideoPipeline", "WanVACEPipeline")


NO_RANGE = {"minimum": 1, "maximum": 1, "default": 1}


@pytest.fixture(scope="module")
def engine():
    engine = OpenEngine(preview_interval_s=0)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def spec_of(tiny_pipelines: TinyPipelines, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ModelSpec]:
    """The entry of a class, whose pipeline is written once."""
    root = tmp_path_factory.mktemp("conditions")
    specs: dict[str, ModelSpec] = {}

    def write(name: str) -> Path:
        torch.manual_seed(0)
        kinds = {"WanImageToVideoPipeline": "wan_i2v", "LTXConditionPipeline": "ltx", "WanVideoToVideoPipeline": "wan"}
        if name in kinds:
            return tiny_pipelines(kinds[name])
        from fixtures.video_classes.verdicts import parts_of  # noqa: PLC0415 (diffusers takes seconds)

        row = next(row for row in ROWS if row.name == name)
        return write_folder(name, parts_of(row), root / name)

    def get(name: str, **changes: Any) -> ModelSpec:
        if name not in specs:
            specs[name] = tiny_spec("wan", write(name), root)
        options = {} if name.startswith(("LTX2", "AnimateDiff", "EasyAnimate")) else {"max_sequence_length": 32}
        conditions = {role: ConditionRule(minimum=1) for role in ROLES[name]}
        fields = {"id": name.lower(), "pipeline": name, "options": options, "conditions": with_rules(name, conditions)}
        return specs[name].model_copy(update=fields | changes)

    return get


def with_rules(name: str, rules: dict[ConditionRole, ConditionRule]) -> dict[ConditionRole, ConditionRule]:
    """The entry says which roles belong together."""
    if "mask" in rules:
        rules["mask"] = ConditionRule(minimum=1, requires=("source_video",))
    if name in ("WanAnimatePipeline", "EasyAnimateInpaintPipeline"):
        rules["source_video"] = ConditionRule(minimum=1, requires=("mask",))
    if name == CONTINUES:
        rules["source_video"] = ConditionRule(minimum=1, overlap_s=OVERLAP_FRAMES / 16)
    return rules


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ConditionFile]:
    """A condition of random large squares: a tiny pipeline does not see finer noise."""
    root = tmp_path_factory.mktemp("files")

    def write(role: ConditionRole, seed: int, *, frames: int = FRAMES, **more: Any) -> ConditionFile:
        squares = 255 * np.random.default_rng(seed).integers(0, 2, (frames, 2, 2, 3), np.uint8)
        noise = squares.repeat(SIDE_PX // 2, axis=1).repeat(SIDE_PX // 2, axis=2)
        path = root / f"{role}-{seed}-{frames}"
        if role in PICTURE_ROLES:
            path = path.with_suffix(".png")
            Image.fromarray(noise[0]).save(path)
        else:
            path.write_bytes(noise.tobytes())
        at_s = FRAMES / 16 if role == "keyframe" else None
        return ConditionFile(role, path, **({"at_s": at_s} | more))

    return write


@pytest.fixture(scope="module")
def render(engine, spec_of, file_of):
    def render(
        name: str,
        *conditions: ConditionFile,
        steps: int = 2,
        model: ModelSpec | None = None,
        adapters: tuple[AdapterUse, ...] = (),
    ) -> str:
        inputs = ClipInputs(clip_of(name, steps), model or spec_of(name), conditions, adapters)
        return digest(engine.render(inputs, NullObserver()))

    return render


def clip_of(name: str, steps: int = 2) -> ResolvedClip:
    num_frames = 17 if "keyframe" in ROLES[name] else FRAMES
    return make_clip(width=SIDE_PX, height=SIDE_PX, num_frames=num_frames, steps=steps)


def all_of(name: str, file_of: Any, **changed: int) -> list[ConditionFile]:
    """A condition for each role of the class; `changed` has other seeds."""
    frames = OVERLAP_FRAMES if name == CONTINUES else FRAMES
    return [file_of(role, changed.get(role, place), frames=frames) for place, role in enumerate(ROLES[name])]


@pytest.mark.parametrize("name", ROLES)
def test_a_clip_depends_on_each_of_its_conditions(name, engine, render, spec_of, file_of):
    """Compares the floats: what a tiny pipeline makes of a last frame may be less than a level of 255."""
    render(name, *all_of(name, file_of))
    pipeline = next(load.pipeline for load in reversed(engine.loads) if type(load.pipeline).__name__ == name)

    def frames(**changed: int) -> torch.Tensor:
        inputs = ClipInputs(clip_of(name), spec_of(name), tuple(all_of(name, file_of, **changed)))
        arguments = call_arguments(pipeline, inputs)
        made = pipeline(**arguments, generator=torch.Generator().manual_seed(7)).frames
        # A class that continues a video returns the frames of the video first.
        return made[:, -clip_of(name).num_frames :]

    plain = frames()
    assert torch.equal(frames(), plain)
    assert [role for role in ROLES[name] if torch.equal(frames(**{role: 99}), plain)] == []


@pytest.mark.parametrize(
    ("name", "role"), [("WanVideoToVideoPipeline", "source_video"), ("WanVACEPipeline", "source_video")]
)
def test_a_strength_acts_where_the_class_has_one(name, role, render, file_of):
    others = [each for each in all_of(name, file_of) if each.role != role]
    weak, strong = (render(name, file_of(role, 0, strength=strength), *others, steps=4) for strength in (0.3, 0.9))
    assert weak != strong


def test_the_strength_and_the_time_of_a_keyframe_act(render, file_of):
    name = "LTXConditionPipeline"
    middle = render(name, file_of("keyframe", 1, at_s=1.0))
    assert render(name, file_of("keyframe", 1, at_s=2.0)) != middle
    assert render(name, file_of("keyframe", 1, at_s=1.0, strength=0.5)) != middle


def test_ltx_continues_a_short_video(render, file_of):
    name, half = "LTXConditionPipeline", [ConditionFile("source_video", file_of("mask", seed).path) for seed in (1, 2)]
    assert render(name, half[0]) != render(name, half[1])


@pytest.mark.parametrize(
    ("name", "changed", "complaint"),
    [
        ("WanVideoToVideoPipeline", {"source_video": {"frames": 5}}, "source_video has 5 frames, and the clip has 9"),
        ("WanVACEPipeline", {"mask": {"frames": 5}}, "mask has 5 frames, and the clip has 9"),
        ("WanVACEPipeline", {"source_video": {"frames": 10}}, "which are not 1 to 9 frames"),
        ("WanVideoToVideoPipeline", {"source_video": {"strength": 0.2}}, "less than one step"),
        ("LTXConditionPipeline", {"keyframe": {"at_s": 0.1}}, "fall on the same frame"),
    ],
)
def test_conditions_that_a_class_would_take_wrongly_are_refused_for_good(name, changed, complaint, render, file_of):
    conditions = [file_of(role, place, **changed.get(role, {})) for place, role in enumerate(ROLES[name])]
    with pytest.raises(TaskFailed, match=complaint) as failed:
        render(name, *conditions)
    assert (failed.value.code, failed.value.retriable) == (FailureCode.MEDIA_INVALID, False)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("WanVACEPipeline", {"conditioning_scale": 0.5}, "options.conditioning_scale has no effect"),
        (CONTINUES, {"overlap_history": 9}, "options.overlap_history has no effect: the condition source_video"),
        (CONTINUES, {"addnoise_condition": 20}, "it adds noise that no seed decides"),
    ],
)
def test_an_option_that_a_condition_overrides_or_that_no_seed_decides_is_refused(
    name, options, complaint, render, spec_of
):
    strength = {"minimum": 0, "maximum": 1, "default": 1} if name == "WanVACEPipeline" else None
    source = ConditionRule.model_validate(
        {"minimum": 1, "strength": strength, "overlap_s": 0.35 if name == CONTINUES else None}
    )
    with pytest.raises(TaskFailed, match=complaint) as failed:
        render(name, model=spec_of(name, options=options, conditions={"source_video": source}))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_source_video_that_fills_the_clip_is_refused_by_a_class_that_continues_it(render, file_of):
    with pytest.raises(TaskFailed, match="source_video has 9 frames, which fill the first 9 frames of the clip"):
        render(CONTINUES, file_of("source_video", 1))


def test_a_clip_that_continues_a_video_begins_with_its_last_frames(render, file_of):
    """Frames before the last whole latent frames are left out: the last five of six count, not the first five."""
    six, five = file_of("source_video", 1, frames=6), file_of("source_video", 1, frames=OVERLAP_FRAMES)
    last_five = ConditionFile("source_video", six.path.with_name("last-five"), is_ending=True)
    last_five.path.write_bytes(six.path.read_bytes()[SIDE_PX * SIDE_PX * 3 :])
    clips = [render(CONTINUES, each) for each in (six, last_five, five)]
    assert clips[0] == clips[1] != clips[2]


def test_ltx_keeps_the_end_of_a_video_that_it_continues(render, file_of):
    name, ten = "LTXConditionPipeline", file_of("source_video", 5, frames=10)
    ending = ConditionFile("source_video", ten.path, is_ending=True)
    last = ConditionFile("source_video", ten.path.with_name("last-nine"))
    last.path.write_bytes(ten.path.read_bytes()[SIDE_PX * SIDE_PX * 3 :])
    assert render(name, ending) == render(name, last) != render(name, ten)


def test_a_folder_that_lacks_what_the_inpainting_of_easyanimate_reads_is_refused_at_its_load(render, spec_of, tmp_path):
    name = "EasyAnimateInpaintPipeline"
    folder = shutil.copytree(str(spec_of(name).source), tmp_path / "without")
    config = folder / "vae" / "config.json"
    config.write_text(config.read_text().replace('"cache_mag_vae": true,', ""))
    with pytest.raises(TaskFailed, match=r"needs 'cache_mag_vae': set it to true in vae/config\.json") as failed:
        render(name, model=spec_of(name, source=str(folder)))
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_file_of_another_size_is_refused(render, file_of, tmp_path):
    (tmp_path / "odd").write_bytes(bytes(SIDE_PX * SIDE_PX * 3 + 1))
    with pytest.raises(TaskFailed, match="which are not 1 to 9 frames"):
        render("WanVideoToVideoPipeline", ConditionFile("source_video", tmp_path / "odd"))


@pytest.mark.parametrize(
    ("name", "rules", "complaint"),
    [
        (
            "WanVideoToVideoPipeline",
            {"source_video": {"minimum": 1}, "reference": {}},
            "takes no reference, though its catalog entry says so",
        ),
        ("WanVideoToVideoPipeline", {}, "needs 'video': set conditions.source_video.minimum = 1"),
        ("WanImageToVideoPipeline", {"first_frame": {"minimum": 1, "maximum": 2}}, "takes one first_frame"),
        ("WanVACEPipeline", {"mask": {}, "source_video": {}}, "set conditions.mask.requires = ['source_video']"),
        ("WanVACEPipeline", {"control_pose": {}, "source_video": {}}, "set conditions.control_pose.excludes"),
        (
            "WanVACEPipeline",
            {"reference": {"strength": NO_RANGE}},
            "strength",
        ),
        (CONTINUES, {"source_video": {"minimum": 1}}, "set conditions.source_video.overlap_s"),
        (
            "WanVideoToVideoPipeline",
            {"source_video": {"minimum": 1, "overlap_s": 0.5}},
            "cannot continue the source_video: leave conditions.source_video.overlap_s out",
        ),
    ],
)
def test_an_entry_whose_roles_the_class_cannot_take_is_refused_at_its_load(name, rules, complaint, render, spec_of):
    model = spec_of(name, conditions={role: ConditionRule.model_validate(rule) for role, rule in rules.items()})
    with pytest.raises(TaskFailed, match="model") as failed:
        render(name, model=model)
    assert (failed.value.code, complaint in failed.value.detail) == (FailureCode.MODEL_UNAVAILABLE, True)


def test_four_threads_with_mixed_conditions_and_adapters_make_the_clips_of_one_thread(
    render, file_of, spec_of, tmp_path
):
    """First and last frames, source and control videos, masks, references and keyframes, with and without LoRAs."""
    plain = [(name, all_of(name, file_of)) for name in ROLES]
    plain += [(name, all_of(name, file_of, **{ROLES[name][0]: 40})) for name in WITH_ADAPTERS]
    plain += [("WanVACEPipeline", [file_of("control_depth", 3)])]
    styles = {
        name: AdapterUse(write_adapter(tmp_path / name.lower(), spec_of(name), name.lower(), seed=seed), 1.0)
        for seed, name in enumerate(WITH_ADAPTERS)
    }
    calls = [(name, conditions, ()) for name, conditions in plain]
    calls += [(name, conditions, (styles[name],)) for name, conditions in plain if name in styles]
    serial = [render(name, *conditions, adapters=adapters) for name, conditions, adapters in calls]

    def render_one(number: int) -> str:
        name, conditions, adapters = calls[number]
        return render(name, *conditions, adapters=adapters)

    def render_all(thread: int) -> list[str]:
        order = random.Random(thread).sample(range(len(calls)), len(calls))
        made = {number: render_one(number) for number in order}
        return [made[number] for number in range(len(calls))]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render_all, range(4))) == [serial] * 4
    assert len(set(serial)) == len(calls)
