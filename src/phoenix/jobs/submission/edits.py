"""What an edit makes of the request of a reel: a new request, which is checked and submitted like any other. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.clip_adapters import tier_scales
from phoenix.catalog.clip_postprocessing import puppet_face
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.request_validation import SEED_SPACE
from phoenix.catalog.resolve import Size, ValidationReport
from phoenix.contract import (
    MAX_CLIPS,
    TAKE_SEED_STEP,
    ClipEdit,
    ClipLipsync,
    ClipRequest,
    ClipSource,
    Condition,
    EditRequest,
    LoraRequest,
    ReelRequest,
    ResolvedClip,
    ResolvedClipLips,
    ResolvedReel,
    UpscaleRequest,
)
from phoenix.errors import FieldError

_T = TypeVar("_T")
_OF_CLIP = re.compile(r"/clips/([0-9]+)(/([a-z_]+).*)?")
_OF_OPTIONS = {"priority", "queue_timeout_s", "run_timeout_s", "webhook", "metadata", "title", "tags"}
_OF_REEL = {"model", "quality", "aspect_ratio", "resolution", "soundtrack", "clip_sound", "transition"} | {
    "captions",
    "voice",
    "fit_narration",
}
_SHARED = ("negative_prompt", "duration_s", "steps", "guidance_scale", "loras")
"""What an inserted clip takes from the other clips, if they agree on it."""


def as_requested(reel: ResolvedReel, catalog: Catalog) -> ReelRequest:
    """A request for the same reel. It leaves out what the entry of its model decided, and names the rest."""
    model = catalog.find(reel.model)
    if model is not None and reel.quality in model.qualities:
        model = model.at_quality(reel.quality)
    first = reel.clips[0]
    has_own_rate = first.interpolate is not None or model is None or reel.fps != model.fps.default
    return ReelRequest(
        model=reel.model,
        quality=reel.quality,
        extends=reel.extends and ClipSource(job_id=reel.extends.job_id, clip_index=reel.extends.clip_index),
        clips=[_clip_as_requested(reel, clip, model, catalog) for clip in reel.clips],
        aspect_ratio=_unless(reel.aspect_ratio, model and model.size.default_aspect_ratio),
        resolution=_unless(reel.resolution, model and model.size.default_resolution),
        fps=reel.fps if has_own_rate else None,
        upscale=first.upscale and UpscaleRequest(id=first.upscale.id, scale=first.upscale.scale),
        interpolate=first.interpolate,
        deterministic=first.deterministic,
        soundtrack=reel.soundtrack,
        clip_sound=reel.clip_sound,
        captions=reel.captions,
        voice=reel.voice and reel.voice.name,
        on_failed_check=reel.on_failed_check,
        fit_narration=reel.fit_narration,
        transition=reel.transition,
    )


def _clip_as_requested(
    reel: ResolvedReel, clip: ResolvedClip, model: ModelSpec | None, catalog: Catalog
) -> ClipRequest:
    return ClipRequest(
        prompt=clip.prompt,
        negative_prompt=_unless(clip.negative_prompt, model and model.negative_prompt),
        duration_s=clip.duration_s,
        seed=(clip.seed - clip.take * TAKE_SEED_STEP) % SEED_SPACE,
        takes=_unless(clip.takes, 1),
        take=_unless(clip.take, 0),
        # The numbers of an entry that is gone say nothing to another model.
        steps=model and _unless(clip.steps, model.steps.default),
        guidance_scale=model and _unless(clip.guidance_scale, model.guidance_scale.default),
        loras=_loras_as_requested(reel, clip, model, catalog),
        conditions=_conditions_as_requested(reel, clip),
        caption=_unless(clip.caption, ""),
        narration=_unless(clip.narration, ""),
        lip_sync=clip.lip_sync and _lips_as_requested(clip, clip.lip_sync, model),
    )


def _lips_as_requested(clip: ResolvedClip, lips: ResolvedClipLips, model: ModelSpec | None) -> ClipLipsync:
    """The lips without the box of the animatic's puppet, which is elsewhere in a clip of another size."""
    is_puppet = model is not None and model.engine == "animatic" and lips.box == puppet_face(Size(*clip.output_size))
    return ClipLipsync(model=lips.model, box=None if is_puppet else lips.box)


def _unless(value: _T, default: _T | None) -> _T | None:
    return None if value == default else value


def _loras_as_requested(
    reel: ResolvedReel, clip: ResolvedClip, model: ModelSpec | None, catalog: Catalog
) -> list[LoraRequest] | None:
    """The adapters of the clip without the adapters of its tier. An adapter that the clip lacked is switched off."""
    of_tier = {} if model is None else tier_scales(model, catalog.adapters_of(model), reel.quality)
    scales = dict.fromkeys(of_tier, 0.0) | {lora.id: lora.scale for lora in clip.loras}
    changed = {adapter_id: scale for adapter_id, scale in scales.items() if scale != of_tier.get(adapter_id)}
    return [LoraRequest(id=adapter_id, scale=scale) for adapter_id, scale in changed.items()] or None


def _conditions_as_requested(reel: ResolvedReel, clip: ResolvedClip) -> list[Condition]:
    """The conditions without the first frame that follows from `extends`, which the new first clip gets."""
    conditions = [condition.as_requested() for condition in clip.conditions]
    if reel.extends is None or clip.index:
        return conditions
    extended = (reel.extends.job_id, reel.extends.clip_index)
    return [
        each
        for each in conditions
        if each.role != "first_frame" or (each.source.job_id, each.source.clip_index) != extended
    ]


@dataclass(frozen=True)
class _Draft:
    """A clip of the new reel, and the change that made it what it is; None for a clip of the original."""

    clip: ClipRequest
    change: int | None = None


@dataclass(frozen=True)
class EditedReel:
    """The request that an edit makes, and for each of its clips the index of the change that made it."""

    request: ReelRequest
    edit: EditRequest
    changes: Sequence[int | None]

    def explain(self, field_errors: Iterable[FieldError]) -> Sequence[FieldError]:
        """The errors of the new request as errors of the edit: their pointers are pointers into the edit."""
        return [self._explain(error) for error in field_errors]

    def _explain(self, error: FieldError) -> FieldError:
        found = _OF_CLIP.fullmatch(error.pointer)
        if found is None:
            is_of_edit = error.pointer.strip("/").split("/")[0] in EditRequest.model_fields
            return error if is_of_edit else replace(error, pointer="/model")
        index, rest, field = int(found[1]), found[2], found[3]
        change = self.changes[index] if index < len(self.changes) else None
        if change is not None and (clip := self.edit.clips[change].clip) and field in clip.model_fields_set:
            return replace(error, pointer=f"/clips/{change}/clip{rest}")
        pointer = "/clips" if change is None else f"/clips/{change}"
        return FieldError(pointer, f"clip {index} of the new reel: {error.detail}")


def edit_reel(
    reel: ResolvedReel,
    edit: EditRequest,
    catalog: Catalog,
    *,
    draw_seed: Callable[[], int],
    title: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> EditedReel:
    """The request of the edited reel. Raises `InvalidRequest` for a change that the clips do not allow.

    `title`, `tags` and `metadata` belong to the original. `draw_seed` draws the seeds of clips that need a new one.
    """
    report = ValidationReport()
    original = as_requested(reel, catalog)
    drafts = [_Draft(clip) for clip in original.clips]
    for number, change in enumerate(edit.clips):
        drafts = _apply(change, number, drafts, report, draw_seed)
    if not drafts:
        report.add_error("/clips", "the edit leaves no clip; a reel has at least one")
    elif len(drafts) > MAX_CLIPS:
        report.add_error("/clips", f"the new reel would have {len(drafts)} clips, and a reel has at most {MAX_CLIPS}")
    report.raise_errors()
    given = {name: value for name in _OF_REEL if (value := getattr(edit, name)) is not None}
    options: dict[str, Any] = {name: getattr(edit, name) for name in edit.model_fields_set & _OF_OPTIONS}
    kept = {"title": title, "tags": list(tags), "metadata": dict(metadata or {})} | options
    without = {"soundtrack": None} if edit.drop_soundtrack else {}
    clips = {"clips": [draft.clip for draft in drafts], "reuse": edit.reuse, "hold": edit.hold, "draft": edit.draft}
    # Copied, not validated: all parts are valid, and no rule concerns several of them.
    request = original.model_copy(update={**given, **kept, **without, **clips})
    return EditedReel(request, edit, [draft.change for draft in drafts])


def _apply(
    change: ClipEdit, number: int, drafts: list[_Draft], report: ValidationReport, draw_seed: Callable[[], int]
) -> list[_Draft]:
    """The clips after one change. A change that is not possible is reported, and changes nothing."""
    last = len(drafts) - (change.op != "insert")
    for name in ("index", "to"):
        if (value := getattr(change, name)) is not None and value > last:
            there = f"the last index here is {last}" if last >= 0 else "no clip is left here"
            report.add_error(f"/clips/{number}/{name}", there)
            return drafts
    if change.op == "take" and (fault := _find_missing_take(change, drafts[change.index].clip)):
        report.add_error(f"/clips/{number}/take", fault)
        return drafts
    return _make(change, number, drafts, draw_seed)


def _find_missing_take(change: ClipEdit, clip: ClipRequest) -> str | None:
    takes = clip.takes or 1
    if takes == 1:
        return f"clip {change.index} has no takes; `reroll` renders it again"
    return None if (change.take or 0) < takes else f"clip {change.index} has takes 0 to {takes - 1}"


def _make(change: ClipEdit, number: int, drafts: list[_Draft], draw_seed: Callable[[], int]) -> list[_Draft]:
    """The clips after a change whose indices are there."""
    index = change.index
    if change.op == "insert":
        new = _Draft(_fill(change.clip, _common(drafts), seed=draw_seed()), number)
        return [*drafts[:index], new, *drafts[index:]]
    clip, others = drafts[index].clip, [*drafts[:index], *drafts[index + 1 :]]
    if change.op == "remove":
        return others
    if change.op == "replace":
        clip = _fill(change.clip, clip.model_dump(exclude={"prompt", "take"}), seed=clip.seed)
    elif change.op == "reroll":
        clip = clip.model_copy(update={"seed": _new_seed(change, clip, draw_seed), "take": None})
    elif change.op == "take":
        clip = clip.model_copy(update={"take": change.take})
    to = index if change.to is None else change.to
    return [*others[:to], _Draft(clip, number), *others[to:]]


def _new_seed(change: ClipEdit, clip: ClipRequest, draw_seed: Callable[[], int]) -> int:
    if change.seed is not None:
        return change.seed
    while (seed := draw_seed()) == clip.seed:
        pass
    return seed


def _common(drafts: Sequence[_Draft]) -> Mapping[str, Any]:
    """The values on which all clips agree."""
    if not drafts:
        return {}
    first = drafts[0].clip
    agreed = (name for name in _SHARED if all(getattr(each.clip, name) == getattr(first, name) for each in drafts))
    return {name: getattr(first, name) for name in agreed}


def _fill(clip: ClipRequest | None, others: Mapping[str, Any], *, seed: int | None) -> ClipRequest:
    """The given clip, with what it leaves out from `others`."""
    given = clip.model_dump(exclude_unset=True, exclude_none=True) if clip else {}
    if clip and "lip_sync" in clip.model_fields_set:
        given["lip_sync"] = clip.lip_sync
    return ClipRequest.model_validate({**others, "seed": seed, **given})
