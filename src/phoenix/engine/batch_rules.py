"""Decides which clips may share one call of a model, and how many. Pure; `engine.batcher` does the waiting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from phoenix.catalog.adapters import AdapterUse
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.stored_entries import store_adapter, store_entry
from phoenix.contract import ResolvedClip

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class BatchKey:
    """The entry, the adapters and the arguments that a call has once. Clips with equal keys can be rendered together.

    One model may have several entries at a time: an entry for each tier, and entries from before an edit.
    """

    model_id: str
    fingerprints: tuple[str, ...]
    width: int
    height: int
    num_frames: int
    fps: int
    steps: int
    guidance_scale: float
    scales: tuple[float, ...] = ()


def key_of(clip: ResolvedClip, model: ModelSpec, adapters: Sequence[AdapterUse] = ()) -> BatchKey:
    stored = [store_entry(model), *(store_adapter(use.adapter) for use in adapters)]
    return BatchKey(
        model.id,
        tuple(entry.fingerprint for entry in stored),
        clip.width,
        clip.height,
        clip.num_frames,
        clip.fps,
        clip.steps,
        clip.guidance_scale,
        tuple(use.scale for use in adapters),
    )


def max_batch_size(clip: ResolvedClip, model: ModelSpec, *, has_conditions: bool, limit: int) -> int:
    """Returns how many clips like this a call may take: 1 if batching is impossible, switched off, or of no use."""
    rule = model.batch
    if rule is None or clip.deterministic or has_conditions or model.step_cache is not None:
        return 1
    fitting = rule.max_tokens // rule.tokens(clip.width, clip.height, clip.num_frames)
    return max(1, min(fitting, rule.max_clips, limit))


def halves(items: Sequence[_Item]) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """Returns two halves, the larger half first. The second half of a single item is empty."""
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]
