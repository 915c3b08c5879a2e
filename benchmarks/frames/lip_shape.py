"""A convolutional model of the shape of Wav2Lip with random weights, in both formats, and a catalog of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

MODELS = ("wav2lip-onnx", "wav2lip-script")
_ENTRY = """
[[lip_models]]
id = "{id}"
title = "{id}"
format = "{format}"
source = "{source}"
channels = "bgr"
batch = 16
"""


def _block(
    inputs: int, outputs: int, kernel: int = 3, stride: int | tuple[int, int] = 1, padding: int = 1
) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU())


class LipShape(nn.Module):
    """An encoder of faces with skips, an encoder of sound, and a decoder. `width` 32 has 28 million weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.ear = nn.Sequential(
            _block(1, w),
            _block(w, 2 * w, stride=(3, 1)),
            _block(2 * w, 4 * w, stride=3),
            _block(4 * w, 8 * w, stride=(3, 2)),
            nn.AdaptiveAvgPool2d(1),
            _block(8 * w, 16 * w, 1, 1, 0),
        )
        seen = [6, w // 2, w, 2 * w, 4 * w, 8 * w, 16 * w]
        downs = [
            nn.Sequential(_block(seen[i], seen[i + 1], stride=2), _block(seen[i + 1], seen[i + 1])) for i in range(1, 6)
        ]
        self.down = nn.ModuleList([_block(6, w // 2, 7, 1, 3), *downs])
        self.bottom = _block(16 * w, 16 * w, 3, 1, 0)
        made = [16 * w, 16 * w, 8 * w, 4 * w, 2 * w, w]
        self.open = nn.ConvTranspose2d(32 * w, 16 * w, 3)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(made[i] + seen[6 - i], made[i + 1], 4, 2, 1), _block(made[i + 1], made[i + 1])
            )
            for i in range(5)
        )
        self.out = nn.Sequential(_block(w + w // 2, w), nn.Conv2d(w, 3, 1), nn.Sigmoid())

    def forward(self, mel_spectrogram: torch.Tensor, video_frames: torch.Tensor) -> torch.Tensor:
        heard = self.ear(mel_spectrogram)
        skips: list[torch.Tensor] = []
        face = video_frames
        for block in self.down:
            face = block(face)
            skips.append(face)
        face = self.open(torch.cat([self.bottom(face), heard], 1))
        for block in self.up:
            face = block(torch.cat([face, skips.pop()], 1))
        return self.out(torch.cat([face, skips.pop()], 1))


def write_models(folder: Path, width: int, only: Sequence[str] = MODELS) -> Path:
    """Writes the files, and returns the catalog file that names them."""
    torch.manual_seed(0)
    model = LipShape(width).eval().requires_grad_(requires_grad=False)
    example = torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, 96, 96)
    script, onnx = folder / "lips.pt", folder / "lips.onnx"
    traced: Any = torch.jit.trace(model, example)
    traced.save(str(script))
    axes = {name: {0: "batch"} for name in ("mel_spectrogram", "video_frames", "faces")}
    torch.onnx.export(
        model,
        example,
        str(onnx),
        input_names=["mel_spectrogram", "video_frames"],
        output_names=["faces"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )
    entries = {"wav2lip-onnx": ("onnx", onnx), "wav2lip-script": ("torchscript", script)}
    catalog = folder / "catalog.toml"
    catalog.write_text(
        "".join(
            _ENTRY.format(id=name, format=kind, source=path) for name, (kind, path) in entries.items() if name in only
        )
    )
    return catalog
