"""Options of a catalog entry for loading and running a model: offloading, LoRAs, caches and batching."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Offload = Literal["auto", "never", "model", "group"]
"""Where weights are kept while not in use: on the device (`never`), or in host memory, moved in by component (`model`)
or layer by layer (`group`, which takes the least memory). `auto` keeps them on the device until a clip that is alone
there runs out of memory; then it acts like `model`, or even `group`, and tries the device again after half an hour."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(_Part):
    """A fine-tune whose weights are fused into the model when it is loaded."""

    source: str = Field(description="A safetensors file, a folder, or a hub id that was downloaded.")
    weight_name: str | None = Field(default=None, description="The file in that folder or repository.")
    scale: float = 1.0


class StepCache(_Part):
    """Skips the rest of a step if its first block, or the steps so far, suggest that little would change."""

    kind: Literal["first_block", "taylor_seer"]
    threshold: float = Field(default=0.08, gt=0, description="For `first_block`: larger is faster, but less exact.")
    interval: int = Field(default=3, ge=2, description="For `taylor_seer`: steps from one full pass to the next.")


class BatchRule(_Part):
    """Clips of one shape may share a call as long as their tokens fit; beyond that a device is saturated."""

    max_clips: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=8192, ge=1, description="Of all clips together.")
    token_px: int = Field(ge=1, description="Side of the square of pixels that becomes one token.")
    token_frames: int = Field(ge=1, description="Frames, after the first, that become one token.")

    def tokens(self, width: int, height: int, num_frames: int) -> int:
        """Tokens of one clip."""
        across, down = math.ceil(width / self.token_px), math.ceil(height / self.token_px)
        return across * down * (math.ceil((num_frames - 1) / self.token_frames) + 1)
