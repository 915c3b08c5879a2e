"""Real pipelines whose components run out of memory: the fallbacks, the failures, and the next clip."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.engine_clips import from_picture, pixels, run_out_of_memory
from fixtures.open_engine import OpenEngine
from fixtures.renders import Recorder, digest, make_clip
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.loading import LoadedPipeline
from phoenix.engine.backends.diffusers.weight_sizes import find_weight_sizes
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.stop_token import StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed

FAMILIES = ("wan", "ltx", "cogvideox", "hunyuan")
CLIP = make_clip(width=128, steps=3)


class ShortEngine(OpenEngine):
    """Hangs `sabotage` into every pipeline that it loads."""

    def __init__(self, sabotage: Callable[[Any], object], **arguments: Any) -> None:
        super().__init__(preview_interval_s=0, **arguments)
        self.sabotage = sabotage

    def load(self, model: ModelSpec, *, device: str, stop: StopToken) -> LoadedPipeline:
        loaded = super().load(model, device=device, stop=stop)
        self.sabotage(loaded.pipeline)
        return loaded


def spec_of(kind: str, tiny_pipelines: TinyPipelines, tmp_path: Path, **changes: Any) -> ModelSpec:
    return tiny_spec(kind, tiny_pipelines(kind), tmp_path).model_copy(update=changes)


def leave(_pipeline: Any) -> None:
    """As it is."""


def fail_forward(name: str) -> Callable[[Any], object]:
    return lambda pipeline: getattr(pipeline, name).register_forward_pre_hook(run_out_of_memory)


def fail_decoder(pipeline: Any) -> None:
    pipeline.vae.decoder.register_forward_pre_hook(run_out_of_memory)


def fail_large_decodes(pipeline: Any) -> None:
    """The decoder of the VAE has room for less than half of the picture."""
    whole_px = CLIP.width // getattr(pipeline.vae, "spatial_compression_ratio", 8)

    def check(_module: Any, inputs: Any) -> None:
        if inputs[0].shape[-1] > whole_px // 2:
            run_out_of_memory()

    pipeline.vae.decoder.register_forward_pre_hook(check)


def make_tiles_small(pipeline: Any, *, tile_px: int = 64) -> None:
    """As large in proportion to the tiny picture as they are to a real one."""
    tiles: dict[str, Any] = vars(pipeline.vae)
    for side in ("height", "width"):
        if f"tile_overlap_factor_{side}" in tiles:
            latent_px = round(1 / tiles[f"tile_overlap_factor_{side}"]) * tile_px // 64
            tiles[f"tile_latent_min_{side}"], tiles[f"tile_sample_min_{side}"] = latent_px, 8 * latent_px
        else:
            tiles[f"tile_sample_min_{side}"], tiles[f"tile_sample_stride_{side}"] = tile_px, tile_px * 3 // 4


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_decode_that_runs_out_of_memory_is_done_in_tiles_without_another_step(kind, tiny_pipelines, tmp_path):
    model = spec_of(kind, tiny_pipelines, tmp_path)
    engine = ShortEngine(leave)
    whole = pixels(engine.render(ClipInputs(CLIP, model), NullObserver()))
    pipeline = engine.loads[0].pipeline
    make_tiles_small(pipeline)
    fail_large_decodes(pipeline)
    recorder = Recorder()
    tiled = pixels(engine.render(ClipInputs(CLIP, model), recorder))
    assert recorder.steps == [(1, 3), (2, 3), (3, 3)]
    assert tiled.shape == whole.shape
    assert not pipeline.vae.use_tiling
    engine.close()


@pytest.mark.parametrize("limit", ["canUse32BitIndexMath(input) to be true", "CUDNN_STATUS_NOT_SUPPORTED"])
def test_a_decode_for_which_there_is_memory_but_no_kernel_is_done_in_tiles_too(limit, tiny_wan):
    whole_px = CLIP.width // 8

    def check(_module: Any, inputs: Any) -> None:
        if inputs[0].shape[-1] > whole_px // 2:
            raise RuntimeError(f"Expected {limit}, but got false.")

    def limit_decodes(pipeline: Any) -> None:
        make_tiles_small(pipeline)
        pipeline.vae.decoder.register_forward_pre_hook(check)

    engine = ShortEngine(limit_decodes)
    assert len(list(engine.render(ClipInputs(CLIP, tiny_wan), NullObserver()).frames)) == CLIP.num_frames
    engine.close()


@pytest.mark.parametrize(("kind", "tile_px"), [("wan", 128), ("cogvideox", 192)])
def test_smaller_tiles_are_tried_if_tiles_are_too_large(kind, tile_px, tiny_pipelines, tmp_path):
    model = spec_of(kind, tiny_pipelines, tmp_path)
    engine = ShortEngine(lambda pipeline: make_tiles_small(pipeline, tile_px=tile_px))
    large = make_clip(width=192, height=192, steps=1)
    engine.render(ClipInputs(large, model), NullObserver())
    pipeline = engine.loads[0].pipeline
    sides: list[int] = []

    def check(_module: Any, inputs: Any) -> None:
        sides.append(inputs[0].shape[-2])
        if len(set(sides)) < 3:
            run_out_of_memory()

    pipeline.vae.decoder.register_forward_pre_hook(check)
    frames = list(engine.render(ClipInputs(large, model), NullObserver()).frames)
    assert len(frames) == 9
    assert sides[0] > sides[1] > sides[2]
    engine.close()


def test_tiles_that_were_too_large_are_not_tried_again(tiny_wan):
    engine = ShortEngine(lambda pipeline: make_tiles_small(pipeline, tile_px=128))
    passes: list[int] = []

    def fail(_module: Any, inputs: Any) -> None:
        passes.append(inputs[0].shape[-1])
        run_out_of_memory()

    tiled = tiny_wan.model_copy(update={"offload": "never", "options": tiny_wan.options | {"vae_tiling": True}})
    large = make_clip(width=192, height=192, steps=1)
    engine.render(ClipInputs(large, tiled), NullObserver())
    engine.loads[0].pipeline.vae.decoder.register_forward_pre_hook(fail)
    with pytest.raises(TaskFailed):
        engine.render(ClipInputs(large, tiled), NullObserver())
    assert passes == [16, 8]
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_short_shortage_in_the_decoder_does_not_change_the_next_clip(kind, tiny_pipelines, tmp_path):
    model = spec_of(kind, tiny_pipelines, tmp_path)
    engine = ShortEngine(leave)
    inputs = ClipInputs(make_clip(), model)
    before = digest(engine.render(inputs, NullObserver()))
    handle = engine.loads[0].pipeline.vae.decoder.register_forward_pre_hook(run_out_of_memory)
    with pytest.raises(TaskFailed) as failed:
        engine.render(ClipInputs(make_clip(), model.model_copy(update={"offload": "never"})), NullObserver())
    assert (failed.value.code, failed.value.stage) == (FailureCode.GPU_OOM, Stage.DECODE)
    handle.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("component", "stage"), [("text_encoder", Stage.TEXT), ("transformer", Stage.DENOISE)])
def test_a_shortage_is_reported_with_its_stage_and_the_next_clip_is_right(
    kind, component, stage, tiny_pipelines, tmp_path
):
    model = spec_of(kind, tiny_pipelines, tmp_path, offload="never")
    engine = ShortEngine(leave)
    inputs = ClipInputs(make_clip(), model)
    before = digest(engine.render(inputs, NullObserver()))
    handle = fail_forward(component)(engine.loads[0].pipeline)
    with pytest.raises(TaskFailed, match=r"20.00 GiB more were needed") as failed:
        engine.render(inputs, NullObserver())
    assert (failed.value.code, failed.value.stage, failed.value.retriable) == (FailureCode.GPU_OOM, stage, True)
    handle.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    engine.close()


def test_a_shortage_in_the_encoding_of_a_first_frame_is_reported_and_the_next_clip_is_right(
    tiny_pipelines, tmp_path, first_frame
):
    model = spec_of("wan_i2v", tiny_pipelines, tmp_path, offload="never")
    engine = ShortEngine(leave)
    inputs = from_picture(model, first_frame)
    before = digest(engine.render(inputs, NullObserver()))
    handle = engine.loads[0].pipeline.vae.encoder.register_forward_pre_hook(run_out_of_memory)
    with pytest.raises(TaskFailed) as failed:
        engine.render(inputs, NullObserver())
    assert failed.value.code is FailureCode.GPU_OOM
    handle.remove()
    assert digest(engine.render(inputs, NullObserver())) == before
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_load_that_runs_out_of_memory_is_reported_and_the_next_load_succeeds(kind, tiny_pipelines, tmp_path):
    engine, whole = ShortEngine(run_out_of_memory), ShortEngine(leave)
    inputs = ClipInputs(make_clip(), spec_of(kind, tiny_pipelines, tmp_path, offload="never"))
    with pytest.raises(TaskFailed) as failed:
        engine.render(inputs, NullObserver())
    assert (failed.value.code, failed.value.stage) == (FailureCode.GPU_OOM, Stage.LOAD)
    assert engine.loaded_models() == ()
    engine.sabotage = leave
    assert digest(engine.render(inputs, NullObserver())) == digest(whole.render(inputs, NullObserver()))
    for opened in (engine, whole):
        opened.close()


@pytest.mark.parametrize("kind", ["wan", "hunyuan"])
def test_a_model_that_does_not_fit_is_loaded_with_offloaded_weights(kind, tiny_pipelines, tmp_path):
    engine, whole = ShortEngine(leave), ShortEngine(leave)
    inputs = ClipInputs(make_clip(), spec_of(kind, tiny_pipelines, tmp_path))

    def fail_unless_offloaded(_pipeline: Any) -> None:
        if engine.loads[-1].model.offload == "auto":
            run_out_of_memory()

    engine.sabotage = fail_unless_offloaded
    assert digest(engine.render(inputs, NullObserver())) == digest(whole.render(inputs, NullObserver()))
    assert [load.model.offload for load in engine.loads] == ["auto", "model"]
    for opened in (engine, whole):
        opened.close()


def test_other_models_are_evicted_before_a_clip_fails(tiny_wan, tiny_pipelines, tmp_path):
    engine = ShortEngine(leave)
    ltx = spec_of("ltx", tiny_pipelines, tmp_path)
    engine.render(ClipInputs(make_clip(), ltx), NullObserver())
    before = digest(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver()))

    def fail_with_other_models(*_arguments: Any) -> None:
        if "tiny-ltx" in engine.loaded_models():
            run_out_of_memory()

    engine.loads[-1].pipeline.transformer.register_forward_pre_hook(fail_with_other_models)
    assert digest(engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())) == before
    assert engine.loaded_models() == ("tiny-wan",)
    assert len(engine.loads) == 2
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_weights_are_offloaded_as_the_last_level_and_the_clip_is_the_same(kind, tiny_pipelines, tmp_path):
    model = spec_of(kind, tiny_pipelines, tmp_path)
    engine = ShortEngine(leave)
    inputs = ClipInputs(make_clip(), model)
    before = digest(engine.render(inputs, NullObserver()))
    fail_forward("transformer")(engine.loads[0].pipeline)
    engine.loads.clear()
    assert digest(engine.render(inputs, NullObserver())) == before
    assert [load.model.offload for load in engine.loads] == ["model"]
    assert digest(engine.render(inputs, NullObserver())) == before
    assert len(engine.loads) == 1
    engine.close()


@pytest.mark.parametrize("kind", ["wan", "hunyuan"])
def test_components_that_are_too_large_are_offloaded_by_layer(kind, tiny_pipelines, tmp_path):
    model = spec_of(kind, tiny_pipelines, tmp_path)
    inputs = ClipInputs(make_clip(), model)
    whole = ShortEngine(leave)
    before = digest(whole.render(inputs, NullObserver()))
    engine = ShortEngine(leave)

    def fail_unless_grouped(pipeline: Any) -> None:
        if engine.loads[-1].model.offload != "group":
            fail_forward("transformer")(pipeline)

    engine.sabotage = fail_unless_grouped
    assert digest(engine.render(inputs, NullObserver())) == before
    assert [load.model.offload for load in engine.loads] == ["auto", "model", "group"]
    assert digest(engine.render(inputs, NullObserver())) == before
    assert len(engine.loads) == 3
    for opened in (engine, whole):
        opened.close()


@pytest.mark.parametrize(
    ("weights", "usable", "loads"),
    [("total", 2.0, ["auto"]), ("total", 1.0, ["model"]), ("largest", 1.0, ["group"])],
)
def test_the_size_of_the_weights_decides_how_they_are_loaded_at_first(tiny_wan, weights, usable, loads):
    sizes = find_weight_sizes(tiny_wan)
    assert sizes is not None
    usable_bytes = int({"total": sizes.total_bytes, "largest": sizes.largest_bytes}[weights] * usable)
    engine = ShortEngine(leave, usable_bytes=lambda: usable_bytes)
    for _ in range(2):
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert [load.model.offload for load in engine.loads] == loads
    engine.close()


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_size_that_the_files_give_is_the_size_in_memory(kind, tiny_pipelines, tmp_path):
    model, engine = spec_of(kind, tiny_pipelines, tmp_path), ShortEngine(leave)
    engine.render(ClipInputs(make_clip(), model), NullObserver())
    sizes = find_weight_sizes(model)
    assert sizes is not None
    # Buffers are made by a load, and not read.
    assert sizes.total_bytes == pytest.approx(engine.loads[0].host_bytes, rel=0.1)
    engine.close()


def test_a_model_that_the_machine_has_no_memory_for_is_refused_with_the_setting(tiny_wan):
    engine = ShortEngine(leave, host_memory_bytes=1000)
    with pytest.raises(TaskFailed, match=r"models may use 0.00 GiB \(PHOENIX_ENGINE__HOST_MEMORY_BYTES\)") as failed:
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
    assert engine.loads == []
    engine.close()


def test_a_clip_that_fails_at_every_level_does_not_change_the_level_of_the_model(tiny_wan):
    engine = ShortEngine(fail_forward("transformer"))
    with pytest.raises(TaskFailed):
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    engine.sabotage = leave
    engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert [load.model.offload for load in engine.loads] == ["auto", "model", "group", "auto"]
    engine.close()


def test_a_model_that_is_loaded_during_a_call_is_evicted_before_the_call_is_offloaded(
    tiny_wan, tiny_pipelines, tmp_path
):
    engine, ltx = ShortEngine(leave), spec_of("ltx", tiny_pipelines, tmp_path)

    def bring_another(event: Stage | int) -> None:
        if event == 1 and len(engine.loads) == 1:
            with engine.preload(ltx, StopToken()):
                run_out_of_memory()

    engine.render(ClipInputs(make_clip(), tiny_wan), Recorder(bring_another))
    assert [load.model.id for load in engine.loads] == ["tiny-wan", "tiny-ltx"]
    assert engine.loaded_models() == ("tiny-wan",)
    engine.close()


def test_a_shortage_at_every_level_is_reported_and_keeps_no_tensor_alive(tiny_wan):
    alive: list[weakref.ref[torch.Tensor]] = []

    def fail(_module: Any, _args: Any, named: dict[str, Any]) -> None:
        alive.append(weakref.ref(named["hidden_states"]))
        run_out_of_memory()

    engine = ShortEngine(lambda pipeline: pipeline.transformer.register_forward_pre_hook(fail, with_kwargs=True))
    with pytest.raises(TaskFailed) as failed:
        engine.render(ClipInputs(make_clip(), tiny_wan), NullObserver())
    assert failed.value.code is FailureCode.GPU_OOM
    assert len(alive) == 3
    assert [latents() for latents in alive] == [None, None, None]
    engine.close()
