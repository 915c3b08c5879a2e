"""Lip models of real ONNX and TorchScript files: bit for bit what the files make, and manifests that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from fixtures.tiny_lips import (
    MUSETALK,
    WAV2LIP,
    lip_spec,
    noise,
    script_musetalk,
    script_wav2lip,
    write_musetalk,
    write_wav2lip,
    write_whisper,
)
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.lipsync.lip_files import FileLips, OnnxLips, TorchScriptLips, open_whisper

# Files of TorchScript will be there for years.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

CROPS = np.random.default_rng(2).integers(0, 256, (3, 256, 256, 3), np.uint8)


def open_lips(source: Path, **fields: Any) -> FileLips:
    if fields.get("features") == "whisper50x384":
        fields["features_source"] = str(write_whisper(source.with_name("whisper.onnx")))
    spec = lip_spec(source, **fields)
    kind = OnnxLips if spec.format == "onnx" else TorchScriptLips
    encode = open_whisper(spec, spec.features_source, device="cpu") if spec.features_source else None
    return FileLips(spec, kind(spec, str(source), device="cpu"), encode)


def refusal(source: Path, **fields: Any) -> str:
    with pytest.raises(TaskFailed) as refused:
        open_lips(source, **fields)
    error = refused.value
    assert (error.code, error.stage, error.retriable) == (FailureCode.MODEL_UNAVAILABLE, Stage.LOAD, True)
    return error.detail


def call_onnx(source: Path, inputs: dict[str, Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def call_script(source: Path, inputs: dict[str, Any]) -> NDArray[np.float32]:
    module = torch.jit.load(str(source))
    with torch.inference_mode():
        return module(**{name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()


def seen_by_wav2lip(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As the published code prepares them: blue, green and red, the lower half of the first picture zeroed."""
    whole = crops[..., ::-1].astype(np.float32)
    masked = whole.copy()
    masked[:, 48:] = 0
    return np.ascontiguousarray(np.concatenate([masked, whole], axis=3).transpose(0, 3, 1, 2)) / np.float32(255)


def seen_by_musetalk(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    whole = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    masked = whole.copy()
    masked[:, :, 128:] = 0
    return np.concatenate([masked * 2 - 1, whole * 2 - 1], axis=1)


@pytest.mark.parametrize(("write", "call"), [(write_wav2lip, call_onnx), (script_wav2lip, call_script)])
def test_a_model_of_the_wav2lip_shape_gives_what_a_direct_call_gives(tmp_path, write, call):
    source = write(tmp_path / ("lips.onnx" if call is call_onnx else "lips.pt"))
    lips, crops = open_lips(source, **WAV2LIP), np.ascontiguousarray(CROPS[:, :96, :96])
    features = lips.hear(noise(1), 25).batch([0, 7, 12])
    direct = call(source, {"mel_spectrogram": features, "video_frames": seen_by_wav2lip(crops)})
    expected = np.clip(direct * 255 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1]
    np.testing.assert_array_equal(lips.mouths(features, crops), expected)


@pytest.mark.parametrize(("write", "call"), [(write_musetalk, call_onnx), (script_musetalk, call_script)])
def test_a_model_of_the_musetalk_shape_gives_what_a_direct_call_gives(tmp_path, write, call):
    source = write(tmp_path / ("lips.onnx" if call is call_onnx else "lips.pt"))
    lips = open_lips(source, **MUSETALK)
    features = lips.hear(noise(1), 25).batch([0, 7, 12])
    assert features.shape == (3, 50, 384)
    direct = call(source, {"audio": features, "pictures": seen_by_musetalk(CROPS)})
    expected = np.clip((direct + 1) / 2 * 255 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(lips.mouths(features, CROPS), expected)


def test_a_file_of_one_batch_size_gets_batches_of_that_size(tmp_path):
    fixed = open_lips(write_wav2lip(tmp_path / "fixed.onnx", batch=4))
    free = open_lips(write_wav2lip(tmp_path / "free.onnx"))
    crops = np.ascontiguousarray(CROPS[:, :96, :96])
    features = free.hear(noise(1), 25).batch([0, 7, 12])
    np.testing.assert_array_equal(fixed.mouths(features, crops), free.mouths(features, crops))


def test_a_manifest_with_another_batch_size_than_its_file_is_refused(tmp_path):
    assert "set batch to 4" in refusal(write_wav2lip(tmp_path / "lips.onnx", batch=4), batch=8)


def test_a_manifest_with_another_crop_than_its_file_is_refused(tmp_path):
    source = write_wav2lip(tmp_path / "lips.onnx")
    assert "does not take 4x1x80x16 and 4x6x128x128" in refusal(source, crop_px=128)


def test_a_manifest_without_the_reference_that_its_file_wants_is_refused(tmp_path):
    for write, name in ((write_wav2lip, "lips.onnx"), (script_wav2lip, "lips.pt")):
        assert "does not take 4x1x80x16 and 4x3x96x96" in refusal(write(tmp_path / name), reference="none")


def test_a_manifest_with_other_names_than_its_file_is_refused_with_the_names(tmp_path):
    assert "its inputs are mel_spectrogram: float ?x1x80x16" in refusal(
        write_wav2lip(tmp_path / "lips.onnx"), features_input="mel"
    )
    detail = refusal(script_wav2lip(tmp_path / "lips.pt"), features_input="mel")
    assert "its forward takes mel_spectrogram, video_frames, and its entry names mel and video_frames" in detail


def test_a_file_with_another_checksum_is_refused(tmp_path):
    assert "and its entry says " + "0" * 64 in refusal(write_wav2lip(tmp_path / "lips.onnx"), sha256="0" * 64)
    assert "and its entry says " + "0" * 64 in refusal(script_wav2lip(tmp_path / "lips.pt"), sha256="0" * 64)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    plain, saved = tmp_path / "plain.pt", tmp_path / "saved.pt"
    # Opened as a pickle, it would run the program `false`.
    plain.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, saved)
    for source in (plain, saved):
        assert "pickles are not opened; save the model with torch.jit.trace" in refusal(source)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    assert f"cannot read {tmp_path / 'no.pt'}: No such file" in refusal(tmp_path / "no.pt")


def test_a_whisper_file_that_makes_one_layer_is_refused(tmp_path):
    source = write_musetalk(tmp_path / "lips.onnx")
    spec = lip_spec(source, **MUSETALK, features_source=str(write_wav2lip(tmp_path / "other.onnx")))
    with pytest.raises(TaskFailed, match="whisper takes 1x80x3000"):
        open_whisper(spec, str(spec.features_source), device="cpu")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"format": "onnx"}, "an ONNX or TorchScript model has a source"),
        ({"format": "drawn", "source": "x.onnx"}, "a drawn one has none"),
        ({"format": "onnx", "source": "x.pt"}, "ends in .onnx"),
        ({"format": "onnx", "source": "x.onnx", "features": "whisper50x384"}, "need a features_source"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(fields, why):
    with pytest.raises(ValueError, match=why):
        LipModelSpec.model_validate({"id": "lips", "title": "Lips"} | fields)
