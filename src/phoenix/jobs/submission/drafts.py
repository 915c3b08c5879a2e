"""A reel that is held until its draft is approved: the request of the draft, and the two jobs.

The draft is a job of its own, so it is followed, watched and downloaded like every job. Both jobs are written in one
transaction: neither is there without the other.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.model import ModelSpec
from phoenix.contract import ClipLipsync, ClipRequest, ReelRequest, ResolvedClip, ResolvedReel
from phoenix.errors import FieldError
from phoenix.ids import new_job_id
from phoenix.jobs.repository import FullJob
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.submission.edits import as_requested
from phoenix.jobs.submission.submit import DraftLink

DRAFT_MODEL = "animatic"


@dataclass(frozen=True)
class Draft:
    """The draft of a reel, admitted: what was asked for, and what it resolves to."""

    request: ReelRequest
    resolved: ResolvedReel
    earlier: EarlierWork


def draft_of(request: ReelRequest, reel: ResolvedReel, catalog: Catalog) -> ReelRequest:
    """The request of the draft of a reel: the same prompts, seeds, lengths, joins and sound. Pure.

    It has one take of each clip: the take that the reel shows. What only the model of the reel takes is left out:
    adapters, and conditions of other roles. Nothing is upscaled or interpolated.
    """
    wanted = request.draft
    quality = (wanted and wanted.quality) or "standard"
    model_id = (wanted and wanted.model) or (reel.model if wanted and wanted.quality else DRAFT_MODEL)
    original = as_requested(reel, catalog)
    model = catalog.find(model_id)
    is_same = model_id == reel.model
    clips = [
        _draft_clip(clip, resolved, model, is_same=is_same)
        for clip, resolved in zip(original.clips, reel.clips, strict=True)
    ]
    changes: dict[str, Any] = {
        "model": model_id,
        "quality": quality,
        "clips": clips,
        "aspect_ratio": reel.aspect_ratio,
        "fps": original.fps if is_same and reel.clips[0].interpolate is None else None,
        "upscale": None,
        "interpolate": None,
        "extends": original.extends if model is None or "first_frame" in model.conditions else None,
        "title": request.title,
        "priority": request.priority,
        "queue_timeout_s": request.queue_timeout_s,
        "run_timeout_s": request.run_timeout_s,
        "metadata": request.metadata,
        "reuse": request.reuse,
    }
    return original.model_copy(update=changes)


def _draft_clip(clip: ClipRequest, resolved: ResolvedClip, model: ModelSpec | None, *, is_same: bool) -> ClipRequest:
    lips = _draft_lips(clip, model, is_same=is_same)
    taken = [
        each
        for each in clip.conditions
        if model is None or each.role in model.conditions or (lips is not None and each.role == "audio")
    ]
    # The tier of the draft decides the steps. The numbers of one model say nothing to another.
    changes: dict[str, Any] = {"seed": resolved.seed, "takes": None, "take": None, "conditions": taken, "steps": None}
    changes["lip_sync"] = lips
    if not is_same:
        changes |= {"loras": None, "guidance_scale": None}
    return clip.model_copy(update=changes)


def _draft_lips(clip: ClipRequest, model: ModelSpec | None, *, is_same: bool) -> ClipLipsync | None:
    """How the lips of a draft move. The animatic has a puppet; another model has its face where a detector finds it.

    A box of the reel may be elsewhere in a draft of another size.
    """
    if clip.lip_sync is None:
        return None
    if model is not None and model.engine == "animatic":
        return clip.lip_sync.model_copy(update={"box": None})
    return clip.lip_sync if is_same and clip.lip_sync.box is None else None


def explain_draft_error(error: FieldError) -> FieldError:
    """An error of the draft's request as an error of the request of its reel."""
    return FieldError("/draft", f"the draft cannot be made: {error.pointer}: {error.detail}")


async def submit_held(
    submit_one: Callable[..., Awaitable[FullJob]],
    reel: ResolvedReel,
    request: ReelRequest,
    draft: Draft,
    *,
    earlier: EarlierWork,
) -> FullJob:
    """Writes the draft as a queued job, and the reel as a job that is held for it. Returns the reel.

    `submit_one`: `submit.submit` with all arguments that the two jobs share. `earlier`: what the reel may reuse.
    """
    draft_id, job_id = new_job_id(), new_job_id()
    of_draft, of_reel = DraftLink(draft_id, draft_of=job_id), DraftLink(job_id, draft_job_id=draft_id)
    await submit_one(draft.resolved, draft.request, earlier=draft.earlier, link=of_draft)
    return await submit_one(reel, request, earlier=earlier, link=of_reel)
