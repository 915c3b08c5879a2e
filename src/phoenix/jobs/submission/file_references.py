"""Which stored files a job uses, by the names in its request. The files are kept until the job has ended.

A submit pins the files by locking their rows. A deletion locks the row of a file first and looks for references
afterwards: a submit that had locked the row before keeps the file, and a later submit finds no row.
"""

import re
from collections.abc import Collection, Mapping

from sqlalchemy import Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.catalog.resolve import ValidationReport
from phoenix.contract import ResolvedReel, ResolvedRequest, ResolvedSoundtrack, ResolvedStitch, SoundtrackRequest
from phoenix.db import UnitOfWork
from phoenix.jobs.repository import IS_UNFINISHED
from phoenix.jobs.tables import ArtifactRow, JobRow

_PREFIX = "art_"
_NAMES = re.compile(rf"{_PREFIX}[0-9a-z]+")


async def pin_references(uow: UnitOfWork, resolved: ResolvedRequest, *, owner_id: str) -> None:
    """Locks the owner's files that the request names, so that none is deleted before the commit.

    Raises `InvalidRequest` if a file was deleted after the request was admitted.
    """
    references = references_of(resolved)
    if not references:
        return
    # In order of id, as deletions lock them. Many submits may lock one file at the same time.
    pinned = (
        select(col(ArtifactRow.id))
        .where(col(ArtifactRow.id).in_(set(references.values())), col(ArtifactRow.owner_id) == owner_id)
        .order_by(col(ArtifactRow.id))
        .with_for_update(read=True, key_share=True)
    )
    existing = frozenset(await uow.session.scalars(pinned))
    report = ValidationReport()
    for pointer, artifact_id in references.items():
        if artifact_id not in existing:
            report.add_error(pointer, f"there is no artifact {artifact_id} of yours any more")
    report.raise_errors()


def references_of(resolved: ResolvedRequest) -> Mapping[str, str]:
    """Artifact ids by their pointers into the request."""
    match resolved:
        case ResolvedReel():
            images = {f"/clips/{clip.index}/image_artifact_id": clip.image_artifact_id for clip in resolved.clips}
            named = images | _of_sound(resolved.soundtrack, "/soundtrack")
        case ResolvedStitch():
            videos = {f"/artifact_ids/{index}": video for index, video in enumerate(resolved.artifact_ids)}
            named = videos | _of_sound(resolved.soundtrack, "/soundtrack")
        case ResolvedSoundtrack():
            named = _of_sound(resolved.source, "/source")
    return {pointer: artifact_id for pointer, artifact_id in named.items() if artifact_id is not None}


def _of_sound(sound: SoundtrackRequest | None, pointer: str) -> dict[str, str | None]:
    return {f"{pointer}/artifact_id": sound.artifact_id if sound else None}


async def find_referenced(
    session: AsyncSession, artifact_ids: Collection[str], *, owner_ids: Collection[str]
) -> frozenset[str]:
    """The artifacts, among `artifact_ids`, that unfinished jobs of these owners name: workers may still read them."""
    # Searched as text, so that a newer version's requests are searched, too. A prompt with an id keeps its file.
    request = cast(col(JobRow.request), Text)
    statement = select(request).where(
        col(JobRow.owner_id).in_(owner_ids), IS_UNFINISHED, request.contains(_PREFIX, autoescape=True)
    )
    # One pass over the requests for all artifacts.
    requests = await session.stream_scalars(statement)
    return frozenset([name async for text in requests for name in _NAMES.findall(text)]).intersection(artifact_ids)
