"""The schema of upscalers and interpolators: what changes the frames of a clip between its model and its file."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from phoenix.catalog.rules import EntryPart, License

POWERS_OF_TWO = (2, 4, 8)
"""The rates that an interpolator makes which knows only the middle of two frames."""

_OnnxFile = Annotated[str, Field(pattern=r"\.onnx$")]


class Postprocessor(EntryPart):
    """What upscalers and interpolators have in common."""

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
