"""The memory peaks of calls: how they are recorded, stored in a file, and read from a damaged file."""

from pathlib import Path

import pytest

from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.tuning import Lora, Quantization, StepCache
from phoenix.engine import memory_profile
from phoenix.engine.memory_profile import CallShape, FilePeakStore, InMemoryPeakStore, call_shape

WAN = load_catalog().get("wan-2.1-t2v-1.3b")
SHAPE = call_shape(make_clip(), WAN, 1, device="NVIDIA H200")


def test_a_shape_has_no_peak_before_its_first_call():
    assert InMemoryPeakStore().find(SHAPE) is None


def test_the_highest_peak_counts():
    peaks = InMemoryPeakStore()
    for peak_bytes in (5, 9, 7):
        peaks.record(SHAPE, peak_bytes)
    assert peaks.find(SHAPE) == 9


def is_known(shape: CallShape) -> bool:
    """Once `SHAPE` is."""
    peaks = InMemoryPeakStore()
    peaks.record(SHAPE, 9)
    return peaks.find(shape) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"width": 480},
        {"height": 480},
        {"num_frames": 81},
        {"guidance_scale": 1.0},
        {"loras": [{"id": "film", "scale": 1.0}]},
    ],
)
def test_a_clip_that_needs_other_memory_has_another_shape(change):
    assert not is_known(call_shape(make_clip(**change), WAN, 1, device="NVIDIA H200"))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "ltx"},
        {"offload": "model"},
        {"dtype": "float32"},
        {"options": WAN.options | {"vae_dtype": "bfloat16"}},
        {"options": WAN.options | {"vae_tiling": True}},
        {"step_cache": StepCache(kind="taylor_seer")},
        {"compile_blocks": True},
        {"attention": "flash"},
        {"layerwise_casting": "float8_e4m3fn"},
        {"quantization": Quantization(kind="int8")},
        {"quantization": Quantization(kind="float8")},
        {"loras": (Lora(source="/loras/a.safetensors"),)},
        {"loras": (Lora(source="/loras/a.safetensors", scale=0.5),)},
    ],
)
def test_a_model_with_other_load_options_has_another_shape(change):
    assert not is_known(call_shape(make_clip(), WAN.model_copy(update=change), 1, device="NVIDIA H200"))


def test_batch_size_and_device_change_the_shape_and_the_prompt_does_not():
    assert not is_known(call_shape(make_clip(), WAN, 2, device="NVIDIA H200"))
    assert not is_known(call_shape(make_clip(), WAN, 1, device="NVIDIA L4"))
    assert is_known(
        call_shape(make_clip(prompt="a cat", seed=1, steps=9, guidance_scale=7), WAN, 1, device="NVIDIA H200")
    )


def test_a_peak_of_another_version_of_a_library_is_unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_profile, "list_libraries", lambda: ("torch=99",))
    assert not is_known(call_shape(make_clip(), WAN, 1, device="NVIDIA H200"))


def test_the_next_process_reads_the_recorded_peaks(tmp_path: Path):
    FilePeakStore(tmp_path / "new" / "peaks.json").record(SHAPE, 9)
    assert FilePeakStore(tmp_path / "new" / "peaks.json").find(SHAPE) == 9


def test_peaks_that_another_process_wrote_meanwhile_are_merged(tmp_path: Path):
    ours, theirs = FilePeakStore(tmp_path / "peaks.json"), FilePeakStore(tmp_path / "peaks.json")
    other = call_shape(make_clip(width=832), WAN, 1, device="NVIDIA H200")
    theirs.record(other, 5)
    ours.record(SHAPE, 9)
    both = FilePeakStore(tmp_path / "peaks.json")
    assert (both.find(SHAPE), both.find(other)) == (9, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["peaks.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}', "\x00\xff"])
def test_the_peaks_of_a_damaged_file_are_measured_again(tmp_path: Path, text: str):
    (tmp_path / "peaks.json").write_text(text, encoding="latin-1")
    peaks = FilePeakStore(tmp_path / "peaks.json")
    assert peaks.find(SHAPE) is None
    peaks.record(SHAPE, 9)
    assert FilePeakStore(tmp_path / "peaks.json").find(SHAPE) == 9


def test_a_folder_that_is_not_writable_loses_only_the_stored_peaks(tmp_path: Path):
    (tmp_path / "file").write_text("")
    peaks = FilePeakStore(tmp_path / "file" / "peaks.json")
    peaks.record(SHAPE, 9)
    assert peaks.find(SHAPE) == 9
