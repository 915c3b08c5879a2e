"""The schema of upscalers, interpolators and lip models: what changes frames that are made already."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from phoenix.catalog.rules import EntryPart, License

POWERS_OF_TWO = (2, 4, 8)
"""The rates that an interpolator makes which knows only the middle of two frames."""

_OnnxFile = Annotated[str, Field(pattern=r"\.onnx$")]


class Postprocessor(EntryPart):
    """What upscalers, interpolators and lip models have in common."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    description: str = ""
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Of the file; a load checks it. Unchecked if unset."
    )
    license: License | None = Field(default=None, description="License of the weights.")
    memory_bytes: int | None = Field(
        default=None, ge=1, description="The most memory that it may take on a GPU; no limit if unset."
    )


class UpscalerSpec(Postprocessor):
    """An ONNX model that makes a larger picture of one picture."""

    source: _OnnxFile = Field(description="ONNX file on the machines of the workers.")
    factor: int = Field(ge=1, le=8, description="How many times as wide and as high; a load compares it with the file.")
    tile_px: int = Field(
        default=512, ge=32, description="Side of the part of a frame that the model gets. A file may have its own."
    )
    overlap_px: int = Field(
        default=32, ge=0, description="Pixels on each side of a tile that it shares with the next tile."
    )
    multiple: int = Field(default=16, ge=1, le=256, description="A tile is padded to multiples of it, in pixels.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.tile_px < 4 * self.overlap_px:
            raise ValueError(f"overlap_px {self.overlap_px} is more than a quarter of tile_px {self.tile_px}")
        return self


class InterpolatorSpec(Postprocessor):
    """What makes a frame between two frames: an ONNX model, or the motion estimation of ffmpeg without a source."""

    source: _OnnxFile | None = Field(
        default=None, description="ONNX file on the machines of the workers; ffmpeg's minterpolate if unset."
    )
    any_time: bool = Field(
        default=True, description="Whether the model takes a time; without, it makes 2, 4 or 8 times the frame rate."
    )
    multiple: int = Field(default=128, ge=1, le=512, description="A frame is padded to multiples of it, in pixels.")

    @property
    def factors(self) -> tuple[int, ...] | None:
        """How many times the frame rate it makes; None for any rate."""
        return None if self.any_time else POWERS_OF_TWO


class LipModelSpec(Postprocessor):
    """What makes a face say a sound: a drawn mouth without weights, or an ONNX or TorchScript file with its manifest.

    A file takes features of sound and square crops of faces, B x (3 or 6) x `crop_px` x `crop_px`, and makes
    B x 3 x `crop_px` x `crop_px`.
    """

    format: Literal["drawn", "onnx", "torchscript"]
    source: str | None = Field(default=None, description="File on the machines of the workers; none for `drawn`.")
    features_input: str = Field(default="mel_spectrogram", description="Name of its input for the sound.")
    pictures_input: str = Field(default="video_frames", description="Name of its input for the faces.")
    features: Literal["mel80x16", "whisper50x384"] = Field(
        default="mel80x16", description="What it hears: Bx1x80x16 as Wav2Lip, or Bx50x384 as MuseTalk."
    )
    features_source: str | None = Field(
        default=None, description="ONNX file of whisper's encoder, 1x80x3000 to 1x5x1500x384, for `whisper50x384`."
    )
    features_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="Of `features_source`.")
    crop_px: int = Field(default=96, ge=16, le=1024, description="Side of its square crops, in pixels.")
    channels: Literal["rgb", "bgr"] = "rgb"
    value_range: Literal["0..1", "-1..1"] = Field(default="0..1", description="Of black and white, in and out.")
    mask: Literal["none", "lower_half"] = Field(
        default="lower_half", description="What is black in the crop that it fills in."
    )
    reference: Literal["none", "same_frame"] = Field(
        default="same_frame", description="Whether the whole crop comes as three more channels behind the masked one."
    )
    fps: float = Field(default=25, gt=0, le=120, description="Frame rate that a still picture gets.")
    batch: int = Field(default=16, ge=1, le=256, description="Most crops of one call.")

    @model_validator(mode="after")
    def _has_its_files(self) -> Self:
        if (self.source is None) != (self.format == "drawn"):
            raise ValueError("an ONNX or TorchScript model has a source, and a drawn one has none")
        if self.format == "onnx" and not str(self.source).endswith(".onnx"):
            raise ValueError("the source of an ONNX model ends in .onnx")
        if (self.features_source is None) != (self.features == "mel80x16"):
            raise ValueError("features whisper50x384 need a features_source, and mel80x16 has none")
        return self
