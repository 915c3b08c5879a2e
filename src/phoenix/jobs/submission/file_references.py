"""Which stored files a job uses, by the names in its request. The files are kept until the job has ended.

A submit pins the files by locking their rows. A deletion locks the row of a file first and looks for references
afterwards: a submit that had locked the row before keeps the file, and a later submit finds no row.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Text, cast, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.catalog.resolve import ValidationReport
from phoenix.contract import (
    ResolvedClip,
    ResolvedLipsync,
    ResolvedReel,
    ResolvedRequest,
    ResolvedSoundtrack,
    ResolvedStitch,
    SoundSource,
)
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict
from phoenix.jobs.lifecycle import TaskKind, TaskState
from phoenix.jobs.repository import IS_UNFINISHED
from phoenix.jobs.tables import ArtifactRow, JobRow, TaskRow

LAST_USE_PRECISION = timedelta(days=1)
"""A file's last use is recorded at most this often, so that few submits write to it."""

_PREFIX = "art_"
_CLIP = re.compile(r"/clips/([0-9]+)/")
_NAMES = re.compile(rf"{_PREFIX}[0-9a-z]+")


async def pin_references(uow: UnitOfWork, resolved: ResolvedRequest, *, owner_id: str) -> Mapping[str, str]:
    """Locks the owner's files that the request names, so that none is deleted before the commit.

    Returns their SHA-256 by artifact id. Raises `InvalidRequest` if a file was deleted after the request was admitted.
    """
    references = references_of(resolved)
    existing = await _pin(uow, references, owner_id)
    report = ValidationReport()
    for pointer, artifact_id in references.items():
        if artifact_id not in existing:
            report.add_error(pointer, f"there is no artifact {artifact_id} of yours any more")
    report.raise_errors()
    return existing


async def lock_references(uow: UnitOfWork, resolved: ResolvedRequest, *, owner_id: str) -> Mapping[str, str]:
    """Like `pin_references`, for a request that is not submitted: records no use, and passes over deleted files."""
    files = await _lock(uow, set(references_of(resolved).values()), owner_id)
    return {name: sha256 for name, sha256, _ in files}


async def pin_references_again(uow: UnitOfWork, job: JobRow, tasks: Collection[TaskRow]) -> None:
    """Like `pin_references`, for a job that is retried. Files that only its finished tasks read may be gone.

    Raises `Conflict` if another file was deleted.
    """
    clips = {task.position for task in tasks if _is_done(task, TaskKind.RENDER)}
    has_sound = any(_is_done(task, TaskKind.SOUNDTRACK) for task in tasks)
    done = frozenset({"/soundtrack/artifact_id", "/source/artifact_id"} if has_sound else ())
    needed = {
        pointer: name
        for pointer, name in references_of(job.parse_request()).items()
        if pointer not in done and _clip_of(pointer) not in clips
    }
    missing = set(needed.values()) - set(await _pin(uow, needed, job.owner_id))
    if missing:
        raise Conflict(f"The job needs {min(missing)}, which was deleted. Submit a new job with another file.")


def _clip_of(pointer: str) -> int | None:
    """The index of the clip that the pointer is in; None for a pointer outside the clips."""
    found = _CLIP.match(pointer)
    return int(found[1]) if found else None


def _is_done(task: TaskRow, kind: TaskKind) -> bool:
    return task.kind is kind and task.state is TaskState.SUCCEEDED


async def _pin(uow: UnitOfWork, references: Mapping[str, str], owner_id: str) -> Mapping[str, str]:
    """Locks the owner's files among these, by pointer, and records their use. Returns the SHA-256 of each, by id."""
    files = await _lock(uow, set(references.values()), owner_id)
    if not files:
        return {}
    fresh_after = await uow.now() - LAST_USE_PRECISION
    await _record_use(uow, [name for name, _, used_at in files if used_at is None or used_at < fresh_after])
    return {name: sha256 for name, sha256, _ in files}


async def _lock(uow: UnitOfWork, artifact_ids: Collection[str], owner_id: str) -> Sequence[Any]:
    """Rows of (id, SHA-256, last use) of the owner's files among these, locked."""
    if not artifact_ids:
        return ()
    # In order of id, as deletions lock them. Many submits may lock one file at the same time.
    pinned = (
        select(col(ArtifactRow.id), col(ArtifactRow.sha256), col(ArtifactRow.last_used_at))
        .where(col(ArtifactRow.id).in_(artifact_ids), col(ArtifactRow.owner_id) == owner_id)
        .order_by(col(ArtifactRow.id))
        .with_for_update(read=True, key_share=True)
    )
    return (await uow.session.execute(pinned)).all()


async def _record_use(uow: UnitOfWork, artifact_ids: Collection[str]) -> None:
    if not artifact_ids:
        return
    # Of submits that use one file at the same time, one records it, and none waits for it.
    free = select(col(ArtifactRow.id)).where(col(ArtifactRow.id).in_(artifact_ids))
    free = free.with_for_update(skip_locked=True, key_share=True).correlate(None)
    used = update(ArtifactRow).where(col(ArtifactRow.id).in_(free)).values(last_used_at=await uow.now())
    await uow.session.execute(used.execution_options(synchronize_session=False))


def references_of(resolved: ResolvedRequest) -> Mapping[str, str]:
    """Artifact ids by their pointers into the request."""
    match resolved:
        case ResolvedReel():
            extended = {"/extends": resolved.extends.artifact_id if resolved.extends else None}
            named = extended | _of_conditions(resolved.clips) | _of_sound(resolved.soundtrack, "/soundtrack")
        case ResolvedStitch():
            videos = {f"/artifact_ids/{index}": video for index, video in enumerate(resolved.artifact_ids)}
            named = videos | _of_sound(resolved.soundtrack, "/soundtrack")
        case ResolvedSoundtrack():
            named = _of_sound(resolved.source, "/source")
        case ResolvedLipsync():
            named = {"/video": resolved.video, "/audio": resolved.audio}
    return {pointer: artifact_id for pointer, artifact_id in named.items() if artifact_id is not None}


def _of_conditions(clips: Sequence[ResolvedClip]) -> dict[str, str | None]:
    return {
        f"/clips/{clip.index}/conditions/{place}/source/{'job_id' if condition.is_from_clip else 'artifact_id'}": (
            condition.artifact_id
        )
        for clip in clips
        for place, condition in enumerate(clip.conditions)
    }


def _of_sound(sound: SoundSource | None, pointer: str) -> dict[str, str | None]:
    return {f"{pointer}/artifact_id": sound.artifact_id if sound else None}


async def find_referenced(
    session: AsyncSession, artifact_ids: Collection[str], *, owner_ids: Collection[str]
) -> Mapping[str, Collection[str]]:
    """The artifacts, among `artifact_ids`, that unfinished jobs of these owners name, with the ids of these jobs.

    Workers may still read them.
    """
    # Searched as text, so that a newer version's requests are searched, too. A prompt with an id keeps its file.
    request = cast(col(JobRow.request), Text)
    statement = select(col(JobRow.id), request).where(
        col(JobRow.owner_id).in_(owner_ids), IS_UNFINISHED, request.contains(_PREFIX, autoescape=True)
    )
    wanted, found = frozenset(artifact_ids), defaultdict[str, set[str]](set)
    # One pass over the requests for all artifacts.
    async for job_id, text in await session.stream(statement):
        for name in wanted.intersection(_NAMES.findall(text)):
            found[name].add(job_id)
    return found
