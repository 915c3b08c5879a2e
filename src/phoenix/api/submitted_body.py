"""What is read from the body of a submission: its fingerprint, and the artifacts that it names."""

import hashlib
import json
from collections.abc import Iterator

from pydantic import BaseModel

from phoenix.contract import LipsyncRequest, ReelRequest, SoundSource, SoundtrackJobRequest, StitchRequest

SubmittedBody = ReelRequest | StitchRequest | SoundtrackJobRequest | LipsyncRequest


def fingerprint_of(body: BaseModel) -> str:
    """SHA-256 of the body in canonical form: neither the order of fields nor white space changes it."""
    canonical = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def list_references(body: SubmittedBody) -> Iterator[str | None]:
    """The artifact ids in the body; None for a reference that the client left out."""
    match body:
        case ReelRequest():
            yield from (condition.source.artifact_id for clip in body.clips for condition in clip.conditions)
        case StitchRequest():
            yield from body.artifact_ids
        case LipsyncRequest():
            yield from (body.video, body.audio)
        case SoundtrackJobRequest():
            pass
    sound, _ = sound_of(body)
    yield sound.artifact_id if sound else None


def sound_of(body: SubmittedBody) -> tuple[SoundSource | None, str]:
    """The sound that the job prepares, if any, and its pointer."""
    match body:
        case SoundtrackJobRequest():
            return body.source, "/source"
        case LipsyncRequest():
            return None, ""
        case _:
            return body.soundtrack, "/soundtrack"
