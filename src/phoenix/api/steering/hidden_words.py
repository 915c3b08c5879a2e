"""Leaves out of jobs what their owners wrote, for operators and administrators who look at jobs of other keys."""

from typing import Any

from pydantic import HttpUrl

from phoenix.access.keys import Caller
from phoenix.contract import (
    Artifact,
    Clip,
    ClipPreview,
    Job,
    JobSnapshot,
    ResolvedClip,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
    ResolvedSoundtrack,
    SoundSource,
)
from phoenix.events.messages import EncodedEvent, encode, with_id
from phoenix.settings import Settings

HIDDEN = "(hidden)"
_HIDDEN_URL = HttpUrl("https://hidden.invalid/")


def show_job(job: Job, caller: Caller, settings: Settings) -> Job:
    """The job as this caller may see it."""
    is_hidden = job.owner_id != caller.owner_id and not settings.api.show_prompts_to_operators
    return hide_words(job) if is_hidden else job


def show_artifact(artifact: Artifact, caller: Caller, settings: Settings) -> Artifact:
    """The artifact as this caller may see it: without the name of an upload, and without words that are spoken."""
    if artifact.owner_id == caller.owner_id or settings.api.show_prompts_to_operators:
        return artifact
    info = artifact.info.model_copy(update={"words": []})
    return artifact.model_copy(update={"filename": None, "info": info})


def hide_words(job: Job) -> Job:
    """The job without the words of its owner, and without the address of its sound, which may hold a token."""
    changes: dict[str, Any] = {"title": None, "tags": [], "metadata": {}, "words_hidden": True}
    clips = [_hide_in_view(clip) for clip in job.clips]
    return job.model_copy(update={**changes, "clips": clips, "request": _hide_in_request(job.request)})


def hide_in_event(encoded: EncodedEvent) -> EncodedEvent | None:
    """The event without the words of its owner; None for an event that is nothing else, such as a preview."""
    event = encoded.event
    if isinstance(event, ClipPreview):
        return None
    if isinstance(event, JobSnapshot):
        shown = encode(event.model_copy(update={"job": hide_words(event.job)}))
        return with_id(shown, encoded.id, owner_seq=encoded.owner_seq)
    return encoded


def _hide_in_view(clip: Clip) -> Clip:
    return clip.model_copy(update={name: _mask(getattr(clip, name)) for name in ("prompt", "caption", "narration")})


def _hide_in_request(request: ResolvedRequest) -> ResolvedRequest:
    if isinstance(request, ResolvedLipsync):
        return request
    if isinstance(request, ResolvedSoundtrack):
        return request.model_copy(update={"source": _hide_address(request.source)})
    changes = {"soundtrack": request.soundtrack and _hide_address(request.soundtrack)}
    if not isinstance(request, ResolvedReel):
        return request.model_copy(update=changes)
    clips = {name: [_hide_in_clip(clip) for clip in getattr(request, name)] for name in ("clips", "takes")}
    return request.model_copy(update=changes | clips)


def _hide_in_clip(clip: ResolvedClip) -> ResolvedClip:
    names = ("prompt", "negative_prompt", "caption", "narration")
    return clip.model_copy(update={name: _mask(getattr(clip, name)) for name in names})


def _hide_address(source: SoundSource) -> SoundSource:
    return source if source.url is None else source.model_copy(update={"url": _HIDDEN_URL})


def _mask(text: str) -> str:
    # Whether there is a caption, or a narration, explains what a job does.
    return HIDDEN if text else ""
