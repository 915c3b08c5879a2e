"""Quantised weights on real, tiny pipelines: what they save, how close their clips are, and what acts beside them."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.engine_clips import pixels
from fixtures.gguf_weights import write_gguf, write_wide_wan
from fixtures.open_engine import OpenEngine
from fixtures.renders import digest, make_clip
from fixtures.tiny_adapters import write_adapter
from fixtures.tiny_builders import build
from fixtures.tiny_pipelines import TinyPipelines, tiny_spec
from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import GgufFile, Lora, Quantization, StepCache
from phoenix.engine.backends.diffusers.denoising.denoisers import denoisers_of
from phoenix.engine.backends.diffusers.quantizing.weights import is_quantized, plain_tensors, quantize_weights
from phoenix.engine.backends.diffusers.weight_sizes import find_weight_sizes
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import FailureCode, TaskFailed

CLIP = make_clip(steps=4)

MEAN_TOLERANCE = 0.5
"""Of 255, on average over all values of a clip: 0.1 to 0.3 were seen, and 1.0 for another seed."""

KINDS = ("int8", "float8", "gguf")
TORCHAO_KINDS = ("int8", "float8")

Entry = Callable[..., ModelSpec]


@pytest.fixture
def engine():
    engine = OpenEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def wide_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wide_wan(tmp_path_factory.mktemp("wide") / "wan")


@pytest.fixture(scope="session")
def gguf_file(wide_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(wide_wan, tmp_path_factory.mktemp("gguf") / "transformer-Q8_0.gguf")


@pytest.fixture
def entry(wide_wan: Path, gguf_file: Path, tmp_path: Path) -> Entry:
    """An entry over the wide Wan in bfloat16, with a kind of quantisation."""
    plain = tiny_spec("wan", wide_wan, tmp_path)

    def make(kind: str | None = None, *, components: tuple[Any, ...] = ("denoisers",), **fields: Any) -> ModelSpec:
        files = (GgufFile(source=str(gguf_file)),) if kind == "gguf" else ()
        quantization = None if kind is None else Quantization(kind=kind, components=components, files=files)
        changes = {
            "id": f"wide-{kind or 'plain'}-{len(fields)}".replace("_", "-"),
            "dtype": "bfloat16",
            "quantization": quantization,
            **fields,
        }
        return ModelSpec.model_validate(plain.model_copy(update=changes).model_dump())

    return make


@pytest.fixture
def adapter(entry: Entry, tmp_path: Path) -> AdapterUse:
    """A strong LoRA for the wide Wan, switched on by a request."""
    return AdapterUse(write_adapter(tmp_path / "adapters", entry(), "style"), 1.0)


def render(engine: OpenEngine, model: ModelSpec, *adapters: AdapterUse, **clip: Any) -> np.ndarray:
    inputs = ClipInputs(CLIP.model_copy(update=clip), model, adapters=adapters)
    return pixels(engine.render(inputs, NullObserver()))


def mean_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of 255."""
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_model_makes_nearly_the_same_clip_and_repeats_it(engine, entry, kind):
    plain, ours = render(engine, entry()), render(engine, entry(kind))
    assert 0 < mean_distance(plain, ours) < MEAN_TOLERANCE < mean_distance(plain, render(engine, entry(), seed=8))
    assert np.array_equal(ours, render(engine, entry(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_quantised_weights_take_less_memory_and_as_much_as_expected(engine, entry, kind):
    """In float32, of which Wan keeps some layers anyway: in this model they would be a third of its bytes."""
    sizes = []
    for model in (entry(dtype="float32"), entry(kind, dtype="float32")):
        render(engine, model)
        expected = find_weight_sizes(model)
        assert expected is not None
        sizes.append(engine.loads[-1].memory_bytes)
        assert expected.total_bytes == pytest.approx(sizes[-1], rel=0.05)
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_quantised_weights_take_less_memory_than_bfloat16(engine, entry, kind):
    sizes = []
    for model in (entry(), entry(kind)):
        render(engine, model)
        sizes.append(engine.loads[-1].memory_bytes)
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("kind", TORCHAO_KINDS)
def test_the_linear_layers_take_half_of_bfloat16_and_a_scale_for_each_row(engine, entry, kind):
    loaded = engine.load(entry(kind), device="cpu", stop=NullObserver().stop)
    weights = [weight for weight in loaded.pipeline.transformer.parameters() if is_quantized(weight)]
    assert len(weights) > 20
    for weight in weights:
        held_bytes = sum(plain.nbytes for plain in plain_tensors(weight))
        assert weight.numel() < held_bytes <= weight.numel() + 5 * weight.shape[0]


@pytest.mark.parametrize("kind", TORCHAO_KINDS)
def test_the_weights_are_those_that_diffusers_quantises_while_it_reads_them(engine, entry, wide_wan, kind):
    import diffusers  # noqa: PLC0415
    import torchao.quantization as torchao  # noqa: PLC0415

    ours = engine.load(entry(kind), device="cpu", stop=NullObserver().stop).pipeline.transformer
    config = torchao.Int8WeightOnlyConfig() if kind == "int8" else torchao.Float8WeightOnlyConfig()
    theirs = diffusers.WanTransformer3DModel.from_pretrained(
        wide_wan, subfolder="transformer", dtype=torch.bfloat16, quantization_config=diffusers.TorchAoConfig(config)
    )
    pairs = list(zip(ours.named_parameters(), theirs.parameters(), strict=True))
    assert [name for (name, one), other in pairs if type(one) is not type(other)] == []
    for (name, one), other in pairs:
        assert all(map(torch.equal, plain_tensors(one), plain_tensors(other))), name


@pytest.mark.parametrize("family", ["wan22", "ltx", "cogvideox", "hunyuan"])
@pytest.mark.parametrize("kind", TORCHAO_KINDS)
def test_every_denoiser_of_other_families_is_quantised_and_renders(engine, tiny_pipelines, tmp_path, family, kind):
    plain = tiny_spec(family, tiny_pipelines(family), tmp_path)
    quantised = plain.model_copy(update={"quantization": Quantization(kind=kind)})
    expected, other = render(engine, plain), render(engine, plain, seed=8)
    assert mean_distance(expected, render(engine, quantised)) < mean_distance(expected, other) / 2
    denoisers = denoisers_of(engine.loads[-1].pipeline)
    assert len(denoisers) == (2 if family == "wan22" else 1)
    assert all(any(map(is_quantized, denoiser.parameters())) for denoiser in denoisers.values())


@pytest.mark.parametrize("kind", TORCHAO_KINDS)
def test_text_encoders_are_quantised_where_the_entry_names_them(engine, entry, kind):
    both = entry(kind, components=("denoisers", "text_encoders"))
    assert mean_distance(render(engine, entry()), render(engine, both)) < MEAN_TOLERANCE
    pipeline = engine.loads[-1].pipeline
    assert any(map(is_quantized, pipeline.text_encoder.parameters()))
    assert not any(map(is_quantized, pipeline.vae.parameters()))
    assert not is_quantized(pipeline.text_encoder.get_input_embeddings().weight)


@pytest.mark.parametrize("names", ["of the authors", "of diffusers"])
def test_a_gguf_file_may_name_its_layers_as_the_authors_or_as_diffusers(engine, entry, wide_wan, tmp_path, names):
    file = write_gguf(wide_wan, tmp_path / "named.gguf", original_names=names == "of the authors")
    named = entry(quantization=Quantization(kind="gguf", files=(GgufFile(source=str(file)),)))
    assert np.array_equal(render(engine, named), render(engine, entry("gguf")))


def test_a_gguf_file_of_fewer_bits_is_smaller_and_less_exact(engine, entry, wide_wan, tmp_path):
    file = write_gguf(wide_wan, tmp_path / "small.gguf", kind="Q4_0")
    small = entry(
        quantization=Quantization(kind="gguf", files=(GgufFile(source=str(tmp_path), weight_name=file.name),))
    )
    plain, distances, sizes = render(engine, entry(dtype="float32")), [], []
    for model in (entry("gguf", dtype="float32"), small.model_copy(update={"dtype": "float32"})):
        distances.append(mean_distance(plain, render(engine, model)))
        sizes.append(engine.loads[-1].memory_bytes)
    assert distances[0] < distances[1]
    assert sizes[0] > sizes[1]


def test_a_folder_needs_no_weights_for_a_denoiser_that_comes_from_a_gguf_file(engine, entry, wide_wan, tmp_path):
    folder = shutil.copytree(wide_wan, tmp_path / "without")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(TaskFailed, match="transformer has no weights"):
        render(engine, entry(source=str(folder)))
    assert np.array_equal(render(engine, entry("gguf", source=str(folder))), render(engine, entry("gguf")))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_acts_on_quantised_weights_and_leaves_clips_without_it_alone(engine, entry, adapter, kind):
    before = render(engine, entry(kind))
    styled = render(engine, entry(kind), adapter)
    assert mean_distance(before, styled) > mean_distance(before, render(engine, entry()))
    assert np.array_equal(before, render(engine, entry(kind)))
    assert len(engine.loads) == 2


@pytest.mark.parametrize("kind", TORCHAO_KINDS)
def test_a_fused_lora_is_part_of_the_weights_that_are_quantised(engine, entry, adapter, kind):
    lora = Lora(source=f"{adapter.adapter.source}/style-transformer.safetensors")
    plain, styled = (render(engine, entry(quantized, loras=(lora,))) for quantized in (None, kind))
    assert mean_distance(plain, styled) < MEAN_TOLERANCE
    assert not np.array_equal(styled, render(engine, entry(kind)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_quantised_weights_make_the_same_clip(engine, entry, kind, offload):
    assert np.array_equal(render(engine, entry(kind, offload=offload)), render(engine, entry(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_offloaded_quantised_weights_take_an_adapter(engine, entry, adapter, kind):
    offloaded = render(engine, entry(kind, offload="group"), adapter)
    assert mean_distance(offloaded, render(engine, entry(kind), adapter)) < MEAN_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_entries_with_and_without_a_step_cache_share_quantised_weights(engine, entry, kind):
    cached = entry(kind, step_cache=StepCache(kind="first_block", threshold=0.9))
    plain = render(engine, entry(kind))
    assert not np.array_equal(render(engine, cached), plain)
    assert np.array_equal(render(engine, entry(kind)), plain)
    assert len(engine.loads) == 1


def test_weights_of_another_quantisation_are_not_shared(engine, entry):
    for kind in (None, *KINDS):
        render(engine, entry(kind))
    assert len(engine.loads) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_quantised_weights_are_shared_by_calls_in_threads(engine, entry, kind):
    model = entry(kind)

    def make(seed: int) -> str:
        return digest(engine.render(ClipInputs(CLIP.model_copy(update={"seed": seed}), model), NullObserver()))

    alone = [make(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(4))) == alone


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_quantised_layers_are_compiled_without_a_break(engine, entry, kind):
    graphs: list[Any] = []

    def run_as_it_is(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    plain = render(engine, entry(kind))
    torch.compiler.reset()
    engine.loads[-1].pipeline.transformer.compile_repeated_blocks(backend=run_as_it_is)
    assert np.array_equal(render(engine, entry(kind)), plain)
    torch.compiler.reset()
    assert len(graphs) == 1


def refusal(engine: OpenEngine, model: ModelSpec) -> str:
    with pytest.raises(TaskFailed) as failed:
        render(engine, model)
    assert failed.value.code is FailureCode.MODEL_UNAVAILABLE
    return failed.value.detail


def test_rounding_what_layers_compute_with_is_refused_on_a_cpu(engine, entry):
    assert "quantization float8_dynamic cannot be used: it needs a GPU" in refusal(engine, entry("float8_dynamic"))


@pytest.mark.parametrize("content", [b"PK\x03\x04 a pickle", b""])
def test_a_file_of_another_format_is_not_opened(engine, entry, tmp_path, content):
    (tmp_path / "weights.gguf").write_bytes(content)
    files = (GgufFile(source=str(tmp_path / "weights.gguf")),)
    assert "is no GGUF file" in refusal(engine, entry(quantization=Quantization(kind="gguf", files=files)))


def test_a_gguf_file_under_another_name_is_not_opened_as_something_else(engine, entry, gguf_file, tmp_path):
    (tmp_path / "weights.bin").write_bytes(gguf_file.read_bytes())
    files = (GgufFile(source=str(tmp_path / "weights.bin")),)
    assert "is no GGUF file" in refusal(engine, entry(quantization=Quantization(kind="gguf", files=files)))


def test_a_gguf_file_that_is_cut_short_is_refused(engine, entry, gguf_file, tmp_path):
    content = gguf_file.read_bytes()
    (tmp_path / "short.gguf").write_bytes(content[: len(content) // 2])
    files = (GgufFile(source=str(tmp_path / "short.gguf")),)
    assert "cannot be loaded" in refusal(engine, entry(quantization=Quantization(kind="gguf", files=files)))


def test_a_gguf_file_of_another_model_is_refused(engine, entry, gguf_file, tiny_pipelines: TinyPipelines):
    files = (GgufFile(source=str(gguf_file)),)
    other = entry(source=str(tiny_pipelines("wan")), quantization=Quantization(kind="gguf", files=files))
    assert "cannot be loaded" in refusal(engine, other)


@pytest.mark.parametrize(
    ("kind", "component", "complaint"),
    [
        ("wan", "transformer_2", "the model has no transformer_2"),
        ("cogvideox", "transformer", "diffusers reads no GGUF files of CogVideoXTransformer3DModel"),
    ],
)
def test_a_gguf_file_that_no_denoiser_reads_is_refused(
    engine, tiny_pipelines, tmp_path, gguf_file, kind, component, complaint
):
    files = (GgufFile(source=str(gguf_file), component=component),)
    model = tiny_spec(kind, tiny_pipelines(kind), tmp_path)
    assert complaint in refusal(
        engine, model.model_copy(update={"quantization": Quantization(kind="gguf", files=files)})
    )


def test_a_missing_gguf_file_is_named(engine, entry):
    files = (GgufFile(source="/nowhere", weight_name="a.gguf"),)
    assert "there is no file /nowhere/a.gguf" in refusal(
        engine, entry(quantization=Quantization(kind="gguf", files=files))
    )


def test_a_component_that_a_pipeline_lacks_is_refused(entry):
    pipeline = build("wan")
    pipeline.text_encoder = None
    with pytest.raises(TaskFailed, match="it has no text_encoders"):
        quantize_weights(pipeline, entry("int8", components=("text_encoders",)), "cpu")


def test_a_model_without_layers_of_its_dtype_is_refused(entry):
    with pytest.raises(TaskFailed, match="quantization int8 of transformer would change nothing"):
        quantize_weights(build("wan"), entry("int8"), "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_modular_pipeline_reads_quantised_weights_too(engine, entry, kind):
    sizes, clips = [], []
    for model in (entry(), entry(kind, pipeline="WanModularPipeline")):
        clips.append(render(engine, model))
        sizes.append(engine.loads[-1].memory_bytes)
    assert type(engine.loads[-1].pipeline).__name__ == "WanModularPipeline"
    assert sizes[1] < 0.8 * sizes[0]
    assert 0 < mean_distance(*clips) < MEAN_TOLERANCE
