"""The models of the catalog, and which of them a live worker serves."""

from fastapi import APIRouter

from phoenix.api.dependencies import CallerDep, ServicesDep
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.catalog.model import FloatRange, IntRange, ModelSpec
from phoenix.catalog.resolve import longest_s, shortest_s
from phoenix.contract import Model, ModelList, NumberRange
from phoenix.jobs.scheduling.workers import list_served_models


def view_model(spec: ModelSpec, *, is_served: bool) -> Model:
    """The public view of `spec`. Lengths are in seconds at its default frame rate."""
    return Model(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        engine=spec.engine,
        is_draft=spec.is_draft,
        takes_image=spec.takes_image,
        resolutions=list(spec.size.resolutions),
        default_resolution=spec.size.default_resolution,
        aspect_ratios=list(spec.size.aspect_ratios),
        default_aspect_ratio=spec.size.default_aspect_ratio,
        fps=_view_range(spec.fps),
        duration_s=_view_durations(spec),
        steps=_view_range(spec.steps),
        guidance_scale=_view_range(spec.guidance_scale),
        is_served=is_served,
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


router = APIRouter(tags=["models"], route_class=StrictRoute)


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models")
async def list_models(services: ServicesDep, _caller: CallerDep) -> ModelList:
    """List the models.

    The options and defaults of each, and whether a live worker serves it. Jobs for a model that no worker serves wait.
    """
    async with services.database.read() as session:
        served = await list_served_models(session)
    return ModelList(data=[view_model(spec, is_served=spec.id in served) for spec in services.catalog])
