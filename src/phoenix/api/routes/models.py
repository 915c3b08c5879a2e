"""The models of the catalog, and which of them a live worker serves."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType

from fastapi import APIRouter, Response

from phoenix.api.dependencies import AppStateDep, CallerDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.clip_adapters import tier_scales
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.postprocessors import InterpolatorSpec, LipModelSpec, UpscalerSpec
from phoenix.catalog.resolve import fit_size, longest_s, shortest_s
from phoenix.catalog.rules import ConditionRule, FloatRange, IntRange, License
from phoenix.contract import (
    TIMED_ROLES,
    ConditionRole,
    Model,
    ModelAdapter,
    ModelCondition,
    ModelInterpolator,
    ModelLicense,
    ModelLips,
    ModelList,
    ModelSize,
    ModelTier,
    ModelUpscaler,
    NumberRange,
    Quality,
    ResolvedLora,
    media_of,
)
from phoenix.jobs.scheduling.workers import QueueWorkers, workers_of_queue
from phoenix.jobs.tables import WorkerRow

_NO_ADAPTERS: Mapping[str, AdapterSpec] = MappingProxyType({})


def view_model(
    spec: ModelSpec, adapters: Mapping[str, AdapterSpec] = _NO_ADAPTERS, *, unserved_reason: str | None
) -> Model:
    """The public view of `spec`. Lengths are in seconds at its default frame rate. `adapters`: those that it takes.

    None as a reason: it is served.
    """
    return Model(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        engine=spec.engine,
        is_draft=spec.is_draft,
        conditions=[_view_condition(role, rule) for role, rule in spec.conditions.items()],
        makes_sound=spec.makes_sound,
        resolutions=list(spec.size.resolutions),
        default_resolution=spec.size.default_resolution,
        aspect_ratios=list(spec.size.aspect_ratios),
        default_aspect_ratio=spec.size.default_aspect_ratio,
        sizes=_view_sizes(spec),
        fps=_view_range(spec.fps),
        duration_s=_view_durations(spec),
        steps=_view_range(spec.steps),
        guidance_scale=_view_range(spec.guidance_scale),
        tiers=[_view_tier(spec, adapters, quality) for quality in spec.qualities],
        adapters=[_view_adapter(adapter) for adapter in adapters.values()],
        license=_view_license(spec.license),
        memory_bytes=spec.memory_bytes,
        devices=spec.devices,
        download_bytes=spec.download_bytes,
        is_served=unserved_reason is None,
        unserved_reason=unserved_reason,
    )


def _view_tier(spec: ModelSpec, adapters: Mapping[str, AdapterSpec], quality: Quality) -> ModelTier:
    changed, scales = spec.at_quality(quality), tier_scales(spec, adapters, quality)
    return ModelTier(
        quality=quality,
        steps=changed.steps.default,
        guidance_scale=changed.guidance_scale.default,
        loras=[ResolvedLora(id=adapter_id, scale=scale) for adapter_id, scale in scales.items()],
    )


def _view_adapter(adapter: AdapterSpec) -> ModelAdapter:
    return ModelAdapter(
        id=adapter.id,
        title=adapter.title,
        description=adapter.description,
        trigger_words=list(adapter.trigger_words),
        scale=_view_range(adapter.scale),
    )


def _view_sizes(spec: ModelSpec) -> list[ModelSize]:
    return [
        ModelSize(resolution=resolution, aspect_ratio=ratio, width=size.width, height=size.height)
        for resolution in spec.size.resolutions
        for ratio in spec.size.aspect_ratios
        for size in [fit_size(spec.size, resolution, ratio)]
    ]


def _explain_absence(spec: ModelSpec, workers: QueueWorkers, needed: Sequence[AdapterSpec]) -> str | None:
    """Why none of the live workers of its queue serves the model. None if one does.

    `needed` are the adapters without which it cannot be rendered.
    """
    queue = "remote" if spec.is_remote else "gpu"
    if workers.slots == 0:
        return f"no live worker takes tasks of the queue {queue}: start `phoenix worker --queue {queue}`"
    if workers.serve(spec.id):
        return None
    if spec.is_remote:
        return "no live worker has the key of its service: set PHOENIX_VEO__API_KEY or PHOENIX_VEO__PROJECT for one"
    if spec.source is None:
        return "no live worker of the queue gpu can draw: install the media extra on its machine"
    adapters = "".join(f" and its adapter {each.id}" for each in needed)
    if spec.devices > 1:
        return f"no live worker has its weights{adapters} and {spec.devices} devices: start one with both"
    return f"no live worker has its weights{adapters}: run `phoenix models pull` with its id on the machine of a worker"


def _view_condition(role: ConditionRole, rule: ConditionRule) -> ModelCondition:
    return ModelCondition(
        role=role,
        media=media_of(role),
        minimum=rule.minimum,
        maximum=rule.maximum,
        has_time=role in TIMED_ROLES,
        strength=rule.strength and _view_range(rule.strength),
        shortest_s=rule.needed_s,
        shortest_clip_s=rule.shortest_clip_s,
        longest_clip_s=rule.longest_clip_s,
        overlap_s=rule.overlap_s,
        requires=list(rule.requires),
        excludes=list(rule.excludes),
    )


def _view_range(rule: IntRange | FloatRange) -> NumberRange:
    return NumberRange(minimum=rule.minimum, maximum=rule.maximum, default=rule.default)


def _view_durations(spec: ModelSpec) -> NumberRange:
    fps = spec.fps.default
    return NumberRange(
        minimum=shortest_s(spec.frames, fps),
        maximum=longest_s(spec.frames, fps),
        default=spec.frames.default / fps,
    )


def _view_upscaler(spec: UpscalerSpec) -> ModelUpscaler:
    return ModelUpscaler(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        factor=spec.factor,
        license=_view_license(spec.license),
    )


def _view_interpolator(spec: InterpolatorSpec) -> ModelInterpolator:
    return ModelInterpolator(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        factors=None if spec.factors is None else list(spec.factors),
        license=_view_license(spec.license),
    )


def _view_lips(spec: LipModelSpec) -> ModelLips:
    license_ = _view_license(spec.license)
    return ModelLips(id=spec.id, title=spec.title, description=spec.description, license=license_)


def _view_license(found: License | None) -> ModelLicense | None:
    return None if found is None else ModelLicense.model_validate(found.model_dump())


@lru_cache(maxsize=1)
def _view_models(catalog: Catalog) -> tuple[Model, ...]:
    """The views of all models as if they were served: of a process, whose catalog does not change."""
    return tuple(view_model(spec, catalog.adapters_of(spec), unserved_reason=None) for spec in catalog)


@lru_cache(maxsize=1)
def _list_needed_adapters(catalog: Catalog) -> tuple[Sequence[AdapterSpec], ...]:
    """Of each model, the adapters without which it cannot be rendered."""
    return tuple(catalog.needed_adapters(spec) for spec in catalog)


router = APIRouter(tags=["models"], route_class=StrictRoute)


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models", response_model=ModelList)
async def list_models(state: AppStateDep, _caller: CallerDep) -> Response:
    """List the models.

    The options and defaults of each, and whether a live worker serves it. Jobs for a model that no worker serves wait.
    Upscalers and interpolators are for the clips of every model, and lip models for lip-syncs.
    """
    write = _writer_of(state.services.catalog)
    return Response(await state.services.fleet.write_live(write), media_type="application/json")


@lru_cache(maxsize=1)
def _writer_of(catalog: Catalog) -> Callable[[Sequence[WorkerRow]], bytes]:
    return partial(_write_served, catalog)


def _write_served(catalog: Catalog, live: Sequence[WorkerRow]) -> bytes:
    workers = {is_remote: workers_of_queue(live, "remote" if is_remote else "gpu") for is_remote in (False, True)}
    reasons = tuple(
        _explain_absence(spec, workers[spec.is_remote], needed)
        for spec, needed in zip(catalog, _list_needed_adapters(catalog), strict=True)
    )
    return _write_list(catalog, reasons)


@lru_cache(maxsize=8)
def _write_list(catalog: Catalog, reasons: tuple[str | None, ...]) -> bytes:
    """The list in JSON. It differs only by the reasons, which change when a worker starts or ends."""
    listed = ModelList(
        data=[
            view.model_copy(update={"is_served": reason is None, "unserved_reason": reason})
            for view, reason in zip(_view_models(catalog), reasons, strict=True)
        ],
        upscalers=[_view_upscaler(spec) for spec in catalog.upscalers.values()],
        interpolators=[_view_interpolator(spec) for spec in catalog.interpolators.values()],
        lip_models=[_view_lips(spec) for spec in catalog.lip_models.values()],
    )
    return listed.model_dump_json().encode()
