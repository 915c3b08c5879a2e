"""Makes artifacts of received files, for uploads and for requests that carry a file. The routes receive the files.

A file is probed and checked against every limit before its bytes are stored. If the request is refused later, the bytes
are deleted. If the process is killed in between, retention deletes them, because they have no row.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends

from phoenix.access.keys import ANYBODY, Caller, hold_key
from phoenix.api.dependencies import AppStateDep
from phoenix.api.http.multipart import FIELD, ReceivedFile
from phoenix.api.lifespan import AppState
from phoenix.clock import in_seconds
from phoenix.contract import MediaInfo
from phoenix.db import Database, UnitOfWork
from phoenix.errors import FieldError, InvalidRequest, NotFound, PhoenixError, Unavailable
from phoenix.ids import ArtifactId, new_artifact_id
from phoenix.jobs.artifacts import add_upload
from phoenix.jobs.repository import get_artifact
from phoenix.jobs.submission.admission_control import Quota, check_uploads
from phoenix.jobs.tables import ArtifactRow
from phoenix.media.errors import UnreadableMedia
from phoenix.media.probe import ProbeLimits, media_type_of, probe_media
from phoenix.media.sniff import ACCEPTED
from phoenix.settings import LimitSettings
from phoenix.storage.keys import upload_key
from phoenix.storage.store import ArtifactStore, StoredObject


@dataclass(frozen=True)
class ProbedUpload:
    """A received file that is complete media, and the id that it gets as an artifact. It is not stored yet."""

    artifact_id: ArtifactId
    received: ReceivedFile
    info: MediaInfo
    size_bytes: int


def quota_of(caller: Caller, limits: LimitSettings) -> Quota | None:
    """The quota of the caller's key; None for the operator, who has no limit."""
    return None if caller is ANYBODY else Quota.from_settings(limits, max_stored_bytes=caller.max_stored_bytes)


def new_upload(received: ReceivedFile, info: MediaInfo) -> ProbedUpload:
    """The upload of a received file that `probe_upload` accepted."""
    return ProbedUpload(new_artifact_id(), received, info, received.path.stat().st_size)


async def probe_upload(state: AppState, path: Path) -> MediaInfo:
    """What the received file is. Raises `InvalidRequest` unless it is complete media."""
    limits = ProbeLimits.from_settings(state.services.settings)
    try:
        async with state.probe_slots:
            return await asyncio.to_thread(probe_media, path, limits)
    except UnreadableMedia as error:
        detail = (
            f"This file cannot be used: {error.detail}. Send a whole {ACCEPTED}, of at most "
            f"{in_seconds(limits.max_duration_s)} and {limits.max_pixels} pixels a picture."
        )
        raise InvalidRequest(detail, field_errors=[FieldError(f"/{FIELD}", detail)]) from error
    except PhoenixError as error:
        raise Unavailable(f"Files cannot be probed here: {error.detail}") from error


@dataclass(frozen=True)
class UploadStore:
    """Stores the bytes of uploads and records them, within the limits of the caller's key."""

    database: Database
    store: ArtifactStore
    limits: LimitSettings

    async def check_quota(self, caller: Caller, *, size_bytes: int) -> None:
        """Raises `RateLimited` or `StorageQuotaExceeded` if the caller may not upload so much now. Reserves nothing."""
        quota = quota_of(caller, self.limits)
        if quota is not None:
            async with self.database.read() as session:
                await check_uploads(session, caller.owner_id, quota, size_bytes=size_bytes)

    async def add(self, upload: ProbedUpload, caller: Caller) -> ArtifactRow:
        """Makes an artifact of the file. Raises like `check_quota`, and then stores nothing."""
        await self.check_quota(caller, size_bytes=upload.size_bytes)
        async with self.stored_bytes(upload, caller) as stored, self.database.write() as uow:
            return await self.record(uow, upload, stored, caller)

    @asynccontextmanager
    async def stored_bytes(self, upload: ProbedUpload, caller: Caller) -> AsyncGenerator[StoredObject]:
        """Stores the bytes before the block, whose transaction records them. Deletes them if the block raises."""
        # Bytes first, then the row: an artifact with a row can always be read.
        stored = await self.store.put_file(upload_key(upload.artifact_id), upload.received.path)
        try:
            yield stored
        except BaseException:
            await asyncio.shield(self.discard_bytes(upload, caller))
            raise

    async def record(self, uow: UnitOfWork, upload: ProbedUpload, stored: StoredObject, caller: Caller) -> ArtifactRow:
        """Adds the row of stored bytes. Raises like `check_quota`, and `Unauthenticated` for a revoked key."""
        await hold_key(uow, caller)
        quota = quota_of(caller, self.limits)
        if quota is not None:
            await check_uploads(uow.session, caller.owner_id, quota, size_bytes=stored.size_bytes)
        return await add_upload(
            uow,
            artifact_id=upload.artifact_id,
            owner_id=caller.owner_id,
            key=upload_key(upload.artifact_id),
            media_type=media_type_of(upload.info),
            filename=upload.received.filename,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            info=upload.info,
        )

    async def discard_bytes(self, upload: ProbedUpload, caller: Caller) -> None:
        """Deletes the bytes, unless the transaction was committed and only the response to the commit was lost."""
        try:
            async with self.database.read() as session:
                await get_artifact(session, upload.artifact_id, owner_id=caller.owner_id)
        except NotFound:
            await self.store.delete(upload_key(upload.artifact_id))
        except Unavailable:
            return  # unknown whether there is a row; retention deletes files without rows later


async def get_upload_store(state: AppStateDep) -> UploadStore:
    services = state.services
    return UploadStore(services.database, services.store, services.settings.limits)


UploadStoreDep = Annotated[UploadStore, Depends(get_upload_store)]
