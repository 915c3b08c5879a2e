"""Resolves the tier of a reel and the adapters of each clip. Pure."""

from collections.abc import Mapping, Sequence

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import ValidationReport
from phoenix.clock import plain_number
from phoenix.contract import MAX_LORAS, LoraRequest, Quality, ReelRequest, ResolvedLora


def check_quality(request: ReelRequest, model: ModelSpec, report: ValidationReport) -> Quality:
    """The tier of the reel. A tier that the model lacks is a field error, and counts as `standard` after that."""
    if request.quality in model.qualities:
        return request.quality
    report.add_error("/quality", f"{model.id} has no tier {request.quality!r}; choose one of: {_list(model.qualities)}")
    return "standard"


def resolve_loras(
    request: ReelRequest,
    index: int,
    model: ModelSpec,
    adapters: Mapping[str, AdapterSpec],
    report: ValidationReport,
    *,
    quality: Quality,
) -> list[ResolvedLora]:
    """The adapters of a clip in the order of their ids: the tier's, and the clip's or else the reel's.

    `adapters` are those that the model takes, by id. A request may give an adapter of the tier another scale. The sum
    of adapters is rounded in their order, so that one order gives the same pixels for every order of a request.
    """
    of_clip = request.clips[index].loras
    pointer = "/loras" if of_clip is None else f"/clips/{index}/loras"
    wanted = request.loras or [] if of_clip is None else of_clip
    scales = tier_scales(model, adapters, quality)
    scales |= _check_loras(wanted, model, adapters, report, pointer=pointer)
    return [ResolvedLora(id=adapter_id, scale=scale) for adapter_id, scale in sorted(scales.items()) if scale]


def tier_scales(model: ModelSpec, adapters: Mapping[str, AdapterSpec], quality: Quality) -> dict[str, float]:
    """The scale of each adapter that a tier adds, by id."""
    tier = model.tiers.get(quality)
    uses = () if tier is None else tier.adapters
    return {use.id: adapters[use.id].scale.default if use.scale is None else use.scale for use in uses}


def _check_loras(
    wanted: Sequence[LoraRequest],
    model: ModelSpec,
    adapters: Mapping[str, AdapterSpec],
    report: ValidationReport,
    *,
    pointer: str,
) -> dict[str, float]:
    if len(wanted) > MAX_LORAS:
        report.add_error(pointer, f"a clip takes at most {MAX_LORAS} LoRAs, and there are {len(wanted)}")
    scales: dict[str, float] = {}
    for place, lora in enumerate(wanted):
        adapter = adapters.get(lora.id)
        if adapter is None:
            report.add_error(f"{pointer}/{place}/id", f"{model.id} has no LoRA {lora.id!r}; it has: {_list(adapters)}")
        elif lora.id in scales:
            report.add_error(f"{pointer}/{place}/id", f"{lora.id!r} is there twice; give it once, with one scale")
        else:
            scales[lora.id] = _check_scale(lora, adapter, report, pointer=f"{pointer}/{place}/scale")
    return scales


def _check_scale(lora: LoraRequest, adapter: AdapterSpec, report: ValidationReport, *, pointer: str) -> float:
    rule = adapter.scale
    if lora.scale is None:
        return rule.default
    if lora.scale != 0 and not rule.minimum <= lora.scale <= rule.maximum:
        bounds = f"{plain_number(rule.minimum)} to {plain_number(rule.maximum)}"
        report.add_error(pointer, f"{adapter.id} takes a scale of {bounds}, or 0 to switch it off")
    return lora.scale


def _list(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(names) or "none"
