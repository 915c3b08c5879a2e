"""The entries that a request was resolved with: stored with the job, so that a retry renders the same clip again. Pure.

The catalog may change between the request and the render. The stored fields win, as long as the catalog still names
their sources: an operator who takes a source out of the catalog wants nothing rendered with it.
"""

import hashlib
import json
from typing import Any, TypeVar

from pydantic import ValidationError

from phoenix.catalog.adapters import AdapterSpec, AdapterUse
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec, exact_steps
from phoenix.catalog.postprocessors import InterpolatorSpec, LipModelSpec, Postprocessor, UpscalerSpec
from phoenix.catalog.tuning import GgufFile, Quantization
from phoenix.contract import ResolvedClip, ResolvedLipsync, ResolvedReel, StoredEntry
from phoenix.errors import PhoenixError

NOT_DECIDING = {
    *(
        "id",
        "title",
        "description",
        "is_draft",
        "license",
        "memory_bytes",
        "download_bytes",
        "price_per_s",
        "offload",
        "concurrency",
        "batch",
        "parallelism",
        "tiers",
    ),
    # Limits and defaults of requests. A clip has its own values.
    *("size", "frames", "fps", "steps", "guidance_scale", "negative_prompt", "conditions"),
}
"""Fields of an entry that leave the pixels of a resolved clip alone. All other fields are stored."""

OF_AN_ADAPTER = {"source", "revision", "files"}
NOT_OF_A_POSTPROCESSOR = {"id", "title", "description", "license", "memory_bytes"}


class EntryChanged(PhoenixError):
    """The catalog no longer has what the request was resolved with."""


def store_entry(model: ModelSpec) -> StoredEntry:
    """The fields of an entry that decide the pixels, and their fingerprint."""
    return _store(model.model_dump(mode="json", exclude=NOT_DECIDING))


def store_adapter(adapter: AdapterSpec) -> StoredEntry:
    """The same for an adapter."""
    return _store(adapter.model_dump(mode="json", include=OF_AN_ADAPTER))


def store_postprocessor(spec: Postprocessor) -> StoredEntry:
    """The same for an upscaler, an interpolator or a lip model."""
    return _store(spec.model_dump(mode="json", exclude=NOT_OF_A_POSTPROCESSOR))


def restore_entry(reel: ResolvedReel, catalog: Catalog) -> ModelSpec:
    """The entry that renders the reel: today's entry with the stored fields. Raises `EntryChanged` with the reason."""
    model = catalog.find(reel.model)
    if model is None:
        raise EntryChanged(f"the model {reel.model} is no longer in the catalog")
    today = model.at_quality(reel.quality)
    if reel.entry is None or reel.entry == store_entry(today):
        return today
    fields = reel.entry.fields
    _check_named(f"the model {model.id}", fields.get("source"), {spec.source for spec in catalog})
    fused = {lora.source for spec in catalog for lora in spec.loras}
    for lora in fields.get("loras", ()):
        _check_named(f"a LoRA of {model.id}", lora["source"], fused)
    # The clip has its own number of steps; the entry only needs a range that agrees with the stored sigmas.
    steps = exact_steps(len(fields.get("options", {}).get("sigmas", ())) or today.steps.default)
    try:
        restored = ModelSpec.model_validate(
            {**today.model_dump(exclude={"tiers"}), **fields, "steps": steps.model_dump()}
        )
    except ValidationError as error:
        raise EntryChanged(f"the stored entry of {model.id} cannot be used any more: {_first(error)}") from error
    known = {file.source for spec in catalog for file in _gguf_files(spec.quantization)}
    for file in _gguf_files(restored.quantization):
        _check_named(f"the GGUF weights of {model.id}", file.source, known)
    return restored


def _gguf_files(quantization: Quantization | str | None) -> tuple[GgufFile, ...]:
    return quantization.files if isinstance(quantization, Quantization) else ()


def restore_adapters(clip: ResolvedClip, reel: ResolvedReel, catalog: Catalog) -> tuple[AdapterUse, ...]:
    """The adapters of a clip, with their stored files. Raises `EntryChanged` with the reason."""
    return tuple(AdapterUse(_restore_adapter(lora.id, reel, catalog), lora.scale) for lora in clip.loras)


def restore_upscaler(clip: ResolvedClip, reel: ResolvedReel, catalog: Catalog) -> UpscalerSpec | None:
    """The upscaler of a clip, with its stored fields. Raises `EntryChanged` with the reason."""
    if clip.upscale is None:
        return None
    return _restore_postprocessor(UpscalerSpec, clip.upscale.id, catalog.upscalers.get(clip.upscale.id), reel, catalog)


def restore_interpolator(clip: ResolvedClip, reel: ResolvedReel, catalog: Catalog) -> InterpolatorSpec | None:
    """The interpolator of a clip, with its stored fields. Raises `EntryChanged` with the reason."""
    if clip.interpolate is None:
        return None
    today = catalog.interpolators.get(clip.interpolate)
    return _restore_postprocessor(InterpolatorSpec, clip.interpolate, today, reel, catalog)


def restore_clip_lips(clip: ResolvedClip, reel: ResolvedReel, catalog: Catalog) -> LipModelSpec | None:
    """The lip model of a clip, with its stored fields. Raises `EntryChanged` with the reason."""
    if clip.lip_sync is None:
        return None
    today = catalog.lip_models.get(clip.lip_sync.model)
    return _restore_postprocessor(LipModelSpec, clip.lip_sync.model, today, reel, catalog)


def restore_lip_model(request: ResolvedLipsync, catalog: Catalog) -> LipModelSpec:
    """The lip model of a job, with its stored fields. Raises `EntryChanged` with the reason."""
    fields, today = request.entry.fields, catalog.lip_models.get(request.model)
    _check_named(request.model, fields.get("source"), {spec.source for spec in catalog.lip_models.values()})
    memory_bytes = None if today is None else today.memory_bytes
    try:
        return LipModelSpec.model_validate(
            {"id": request.model, "title": request.model, "memory_bytes": memory_bytes, **fields}
        )
    except ValidationError as error:
        raise EntryChanged(f"the stored entry of {request.model} cannot be used any more: {_first(error)}") from error


def check_entries(reel: ResolvedReel, catalog: Catalog) -> None:
    """Raises `EntryChanged` if the clips of the reel cannot be rendered as they were accepted."""
    restore_entry(reel, catalog)
    for clip in reel.clips:
        restore_adapters(clip, reel, catalog)
        restore_upscaler(clip, reel, catalog)
        restore_interpolator(clip, reel, catalog)
        restore_clip_lips(clip, reel, catalog)


def _restore_adapter(adapter_id: str, reel: ResolvedReel, catalog: Catalog) -> AdapterSpec:
    stored = reel.adapters.get(adapter_id)
    fields = {} if stored is None else stored.fields
    _check_named(f"the adapter {adapter_id}", fields.get("source"), {adapter.source for adapter in catalog.adapters})
    try:
        return AdapterSpec.model_validate({"id": adapter_id, "title": adapter_id, "models": [reel.model], **fields})
    except ValidationError as error:
        raise EntryChanged(f"the stored adapter {adapter_id} cannot be used any more: {_first(error)}") from error


_Kind = TypeVar("_Kind", UpscalerSpec, InterpolatorSpec, LipModelSpec)


def _restore_postprocessor(
    kind: type[_Kind], spec_id: str, today: _Kind | None, reel: ResolvedReel, catalog: Catalog
) -> _Kind:
    stored = reel.postprocessors.get(spec_id)
    fields = {} if stored is None else stored.fields
    _check_named(spec_id, fields.get("source"), {spec.source for spec in catalog.frame_changers})
    memory_bytes = None if today is None else today.memory_bytes
    try:
        return kind.model_validate({"id": spec_id, "title": spec_id, "memory_bytes": memory_bytes, **fields})
    except ValidationError as error:
        raise EntryChanged(f"the stored entry of {spec_id} cannot be used any more: {_first(error)}") from error


def _check_named(what: str, source: object, sources: set[Any]) -> None:
    if source not in sources:
        raise EntryChanged(
            f"{what} came from {source} when the request was accepted, and the catalog no longer names that source;"
            " submit the reel again"
        )


def _store(fields: dict[str, Any]) -> StoredEntry:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return StoredEntry(fingerprint=hashlib.sha256(text.encode()).hexdigest(), fields=fields)


def _first(error: ValidationError) -> str:
    item = error.errors()[0]
    return f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}"
