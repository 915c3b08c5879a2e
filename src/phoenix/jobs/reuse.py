"""Clips that need no rendering, because the owner has the file of an equal clip.

Two clips are equal if they have the same content key: the hash of what decides the pixels and the sound. The file of a
reused clip is not copied: each job that has the clip has a row of its own with the same key of the store, and the bytes
are deleted with the last of these rows.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlmodel import col

from phoenix.contract import JobOptions, ReelRequest, ResolvedClip, ResolvedCondition, ResolvedReel, ResolvedRequest
from phoenix.db import UnitOfWork, change_new_row
from phoenix.ids import new_artifact_id
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.tables import ArtifactRow, JobRow, ReusableClipRow, TaskRow
from phoenix.settings import EngineSettings

_SEED_SPACE = 2**32
_KEY_VERSION = 1
"""Raised by a release whose clips must not be mixed with earlier clips."""

# Described by what they stand for: by the hashes of files and entries instead of their ids.
_BY_CONTENT = {"index", "take", "takes", "take_of", "loras", "upscale", "interpolate", "lip_sync", "conditions"}
_NOT_IN_FILE = {"caption", "narration"}


def content_keys(reel: ResolvedReel, hashes: Mapping[str, str]) -> Mapping[int, str]:
    """The content keys of the clips by index, in hexadecimal. A clip is left out if one of its files is not known.

    `hashes`: SHA-256 of the files that the conditions name, by artifact id.
    """
    keys: dict[int, str] = {}
    if reel.entry is None:
        return keys
    for clip in reel.renders:
        inputs = [_describe_input(condition, hashes, keys.get(clip.place - 1)) for condition in clip.conditions]
        if all(each is not None for each in inputs):
            described = [_KEY_VERSION, reel.entry.fingerprint, _describe_clip(clip, reel), inputs]
            canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
            keys[clip.index] = hashlib.sha256(canonical.encode()).hexdigest()
    return keys


def narration_keys(reel: ResolvedReel) -> Mapping[int, str]:
    """The content keys of the narration, by the positions of its tasks: hashes of the text and of the voice."""
    keys: dict[int, str] = {}
    for clip in reel.narrated:
        voice = reel.voice.model_dump(mode="json") if reel.voice else None
        canonical = json.dumps(["narration", _KEY_VERSION, clip.narration, voice], sort_keys=True)
        keys[reel.position_of_narration(clip)] = hashlib.sha256(canonical.encode()).hexdigest()
    return keys


def _describe_clip(clip: ResolvedClip, reel: ResolvedReel) -> Mapping[str, Any]:
    return {
        **clip.model_dump(mode="json", exclude=_BY_CONTENT | _NOT_IN_FILE),
        "loras": [[reel.adapters[lora.id].fingerprint, lora.scale] for lora in clip.loras],
        "postprocessors": [reel.postprocessors[spec_id].fingerprint for spec_id in clip.postprocessors],
        "size": clip.output_size,
        "is_interpolated": clip.interpolate is not None,
        **_describe_lips(clip, reel),
    }


def _describe_lips(clip: ResolvedClip, reel: ResolvedReel) -> Mapping[str, Any]:
    """Nothing for a clip without moved lips, whose key is the key of earlier versions."""
    if clip.lip_sync is None:
        return {}
    lips = clip.lip_sync.model_dump(mode="json", include={"box", "follows"})
    voice = reel.voice.model_dump(mode="json") if reel.voice and clip.says_narration else None
    return {"lip_sync": {**lips, "says": [clip.narration, voice] if clip.says_narration else None}}


def _describe_input(
    condition: ResolvedCondition, hashes: Mapping[str, str], previous_key: str | None
) -> Sequence[Any] | None:
    """The condition with the content of its source; None if that is not known."""
    content = previous_key if condition.source.previous_clip else hashes.get(condition.artifact_id or "")
    if content is None:
        return None
    return [condition.role, condition.is_from_clip, content, condition.at_s, condition.strength, condition.overlap_s]


@dataclass(frozen=True)
class EarlierWork:
    """What a new job takes from earlier jobs of its owner."""

    reusable: Collection[int] = ()
    """Positions of the clips and of the narration that need no work if the owner has an equal one."""
    edited_from: str | None = None
    """The job of which the new job is an edit."""


NO_EARLIER_WORK = EarlierWork()


def find_earlier_work(
    request: JobOptions, resolved: ResolvedRequest, settings: EngineSettings, *, edited_from: str | None = None
) -> EarlierWork:
    """What a new job may reuse: the clips whose seed the client has chosen, as no other clip equals an earlier clip.

    None of a remote model, whose service does not promise the same video for the same seed. An edit keeps these too: it
    means the very clips of its original.
    """
    if not isinstance(request, ReelRequest) or not isinstance(resolved, ResolvedReel):
        return NO_EARLIER_WORK
    if not (settings.reuse_clips and request.reuse):
        return EarlierWork(edited_from=edited_from)
    spoken = frozenset(resolved.position_of_narration(clip) for clip in resolved.narrated)
    if resolved.is_remote and edited_from is None:
        return EarlierWork(spoken, edited_from)
    chosen = {index for index, clip in enumerate(request.clips) if (clip.seed, request.seed) != (None, None)}
    return EarlierWork(spoken.union(clip.index for clip in resolved.renders if clip.place in chosen), edited_from)


@dataclass(frozen=True)
class FoundClip:
    """A finished clip with its file, and the task that has it."""

    artifact: ArtifactRow
    task: TaskRow


async def find_reusable(
    uow: UnitOfWork, reel: ResolvedReel, keys: Mapping[int, str], wanted: Collection[int], *, owner_id: str
) -> Mapping[int, FoundClip]:
    """Finished work of the owner that equals the tasks `wanted` of a new reel, by position. Locks its files.

    A clip that continues the clip before it is found only together with the clip that it really continues, and a clip
    whose lips say its narration only together with the narration: the same text may be spoken otherwise again.
    """
    asked = {keys[index] for index in wanted if index in keys}
    if not asked:
        return {}
    kept = await _find_kept(uow, asked, owner_id)
    found: dict[int, FoundClip] = {}
    for position in wanted:
        _, match = kept.get(keys.get(position, ""), (None, None))
        if match is not None and position >= len(reel.renders):
            found[position] = match
    for clip in reel.renders:
        reusable, match = kept.get(keys.get(clip.index, ""), (None, None))
        if reusable is None or match is None or clip.index not in wanted:
            continue
        before = found.get(clip.place - 1)
        is_next = not clip.continues_previous or (before and before.artifact.key == reusable.continues_key)
        if is_next and (not clip.says_narration or reel.position_of_narration(reel.clips[clip.place]) in found):
            found[clip.index] = match
    return found


async def _find_kept(
    uow: UnitOfWork, keys: Collection[str], owner_id: str
) -> Mapping[str, tuple[ReusableClipRow, FoundClip]]:
    is_its_task = (col(TaskRow.job_id) == col(ArtifactRow.job_id)) & (col(TaskRow.artifact_id) == col(ArtifactRow.id))
    statement = (
        select(ReusableClipRow, ArtifactRow, TaskRow)
        .join(ArtifactRow, col(ArtifactRow.id) == col(ReusableClipRow.artifact_id))
        .join(TaskRow, is_its_task)
        .where(col(ReusableClipRow.owner_id) == owner_id, col(ReusableClipRow.content_key).in_(keys))
        # A file that is being deleted is passed over. Waiting for it could deadlock, since more files are locked here.
        .with_for_update(of=ArtifactRow, read=True, key_share=True, skip_locked=True)
    )
    rows = (await uow.session.execute(statement)).all()
    return {reusable.content_key: (reusable, FoundClip(artifact, task)) for reusable, artifact, task in rows}


def reuse_clip(job: JobRow, task: TaskRow, found: FoundClip, now: datetime) -> ArtifactRow:
    """Ends a new task with the file of an earlier one. Returns the job's row of that file."""
    changed = {"id": new_artifact_id(), "job_id": job.id, "shares_file": True, "created_at": now, "last_used_at": None}
    artifact = ArtifactRow.model_validate(found.artifact.model_dump() | changed)
    change_new_row(
        task,
        state=TaskState.SUCCEEDED,
        is_reused=True,
        finished_at=now,
        artifact_id=artifact.id,
        warnings=list(found.task.warnings),
        checks=list(found.task.checks),
        made_with=dict(found.task.made_with),
    )
    return artifact


async def reroll(uow: UnitOfWork, job: JobRow, task: TaskRow, tasks: Sequence[TaskRow]) -> None:
    """Gives a clip the next seed, in the stored request too, and new content keys to all clips that are not done.

    The caller holds the lock on the job's row.
    """
    request = job.parse_request()
    assert isinstance(request, ResolvedReel)
    old = request.renders[task.position].seed
    new = old + 1 if old + 1 < _SEED_SPACE else 0
    changed = request.model_copy(
        update={
            name: [clip.model_copy(update={"seed": new}) if clip.index == task.position else clip for clip in clips]
            for name, clips in (("clips", request.clips), ("takes", request.takes))
        }
    )
    task.rerolled_from = old
    job.request = changed.model_dump(mode="json")
    named = {each.artifact_id for clip in changed.renders for each in clip.conditions if each.artifact_id}
    statement = select(col(ArtifactRow.id), col(ArtifactRow.sha256)).where(
        col(ArtifactRow.id).in_(named), col(ArtifactRow.owner_id) == job.owner_id
    )
    hashes: Mapping[str, str] = dict((await uow.session.execute(statement)).all()) if named else {}
    keys = content_keys(changed, hashes)
    for other in tasks:
        if other.kind is TaskKind.RENDER and other.state is not TaskState.SUCCEEDED:
            other.content_key = keys.get(other.position)


async def hand_over_files(uow: UnitOfWork, job_id: str, files: Mapping[str, str]) -> tuple[str, ...]:
    """Passes the files of a job that is being deleted to the other jobs that have them.

    `files`: keys of the store by artifact id, locked together with the other rows of these keys. Returns the keys that
    no other job has.
    """
    if not files:
        return ()
    others = select(col(ArtifactRow.key), func.min(col(ArtifactRow.id))).where(
        col(ArtifactRow.key).in_(files.values()), col(ArtifactRow.job_id) != job_id
    )
    heirs: Mapping[str, str] = dict((await uow.session.execute(others.group_by(col(ArtifactRow.key)))).all())
    moved = {artifact_id: heirs[key] for artifact_id, key in files.items() if key in heirs}
    if moved:
        await _move(uow, moved)
    of_job = delete(ReusableClipRow).where(col(ReusableClipRow.artifact_id).in_(files))
    await uow.session.execute(of_job.execution_options(synchronize_session=False))
    return tuple(key for key in files.values() if key not in heirs)


async def _move(uow: UnitOfWork, moved: Mapping[str, str]) -> None:
    reusable = col(ReusableClipRow.artifact_id)
    counted = select(col(ArtifactRow.id)).where(col(ArtifactRow.id).in_(moved), col(ArtifactRow.shares_file).is_(False))
    heirs = [moved[artifact_id] for artifact_id in await uow.session.scalars(counted)]
    for statement in (
        update(ReusableClipRow).where(reusable.in_(moved)).values(artifact_id=case(moved, value=reusable)),
        update(ArtifactRow).where(col(ArtifactRow.id).in_(heirs)).values(shares_file=False),
    ):
        await uow.session.execute(statement.execution_options(synchronize_session=False))
