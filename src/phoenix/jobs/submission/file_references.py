"""Which stored files a job is made of, by the names in its request: pinned while it is accepted, kept until it ends.

Whoever deletes a file locks its row first and looks for references after: a submit that has the row by then is left
its file, and one that comes later finds it gone.
"""

import re
from collections.abc import Collection, Mapping

from sqlalchemy import Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.catalog.resolve import ValidationReport
from phoenix.contract.requests import SoundtrackRequest
from phoenix.contract.resolved import ResolvedReel, ResolvedRequest, ResolvedSoundtrack, ResolvedStitch
from phoenix.db.unit_of_work import UnitOfWork
from phoenix.jobs.repository import IS_UNFINISHED
from phoenix.jobs.tables import ArtifactRow, JobRow

_PREFIX = "art_"
_NAMES = re.compile(rf"{_PREFIX}[0-9a-z]+")


async def pin_references(uow: UnitOfWork, resolved: ResolvedRequest, *, owner_id: str) -> None:
    """Keeps the owner's files that the request names from being deleted until the commit.

    Raises `InvalidRequest` if one is gone: it was there when the request was admitted, which was before this.
    """
    references = references_of(resolved)
    if not references:
        return
    # In order of id, as whoever deletes several locks them. Many submits may hold one file at the same time.
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
    """Those of the artifacts that an unfinished job of these owners names, which its workers may have yet to read."""
    # As text: a newer version's requests are looked through like any other. A prompt may name one in vain.
    request = cast(col(JobRow.request), Text)
    statement = select(request).where(
        col(JobRow.owner_id).in_(owner_ids), IS_UNFINISHED, request.contains(_PREFIX, autoescape=True)
    )
    # One pass over the requests, however many artifacts are asked about.
    requests = await session.stream_scalars(statement)
    return frozenset([name async for text in requests for name in _NAMES.findall(text)]).intersection(artifact_ids)
