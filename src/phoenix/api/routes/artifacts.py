"""Uploads and the metadata of artifacts.

An upload is received within bounds, probed, stored, and then recorded. A failed upload leaves nothing behind.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Request, Response

from phoenix.access.keys import ANYBODY
from phoenix.api.dependencies import AppStateDep, DatabaseDep, OwnerDep
from phoenix.api.http.declarations import BINARY, ArtifactIdInPath, Responses
from phoenix.api.http.multipart import FIELD, ReceivedFile, receive_file
from phoenix.api.lifespan import AppState
from phoenix.clock import in_seconds
from phoenix.contract import Artifact, MediaInfo
from phoenix.db import Database
from phoenix.errors import FieldError, InvalidRequest, NotFound, PhoenixError, Unavailable
from phoenix.ids import new_artifact_id
from phoenix.jobs.artifacts import add_upload
from phoenix.jobs.repository import get_artifact as get_artifact_row
from phoenix.jobs.submission.admission_control import check_uploads
from phoenix.jobs.tables import ArtifactRow
from phoenix.jobs.views import view_artifact
from phoenix.media.errors import UnreadableMedia
from phoenix.media.probe import ProbeLimits, media_type_of, probe_media
from phoenix.media.sniff import ACCEPTED
from phoenix.services import Services
from phoenix.settings import LimitSettings
from phoenix.storage.keys import ObjectKey, upload_key
from phoenix.storage.store import ArtifactStore

router = APIRouter(tags=["artifacts"])

UPLOADS_PATH = "/v1/uploads"
FORM_OVERHEAD_BYTES = 100_000
"""Allowance for the rest of the body: boundaries and headers."""

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Upload"}}},
    }
}
UPLOAD_SCHEMA: dict[str, Any] = {
    "title": "Upload",
    "type": "object",
    "required": [FIELD],
    "properties": {
        FIELD: {**BINARY, "contentMediaType": "application/octet-stream", "description": "Audio, image or video."}
    },
}
_RESPONSES: Responses = {
    201: {"headers": {"Location": {"description": "Path of the artifact.", "schema": {"type": "string"}}}}
}


@router.post(UPLOADS_PATH, status_code=201, openapi_extra=_BODY, responses=_RESPONSES)
async def create_upload(request: Request, response: Response, state: AppStateDep, owner: OwnerDep) -> Artifact:
    """Upload a file.

    A sound, picture or video, as `multipart/form-data` with the field `file`. The whole file is checked before it is
    accepted: a file that is truncated, too long, or not media is refused with the reason.
    """
    services = state.services
    async with services.database.read() as session:
        # A caller at its daily limit gets the error before it sends the file.
        await check_uploads(session, owner, size_bytes=1, bytes_per_day=_daily_bytes(services.settings.limits, owner))
    with TemporaryDirectory(prefix="phoenix-upload-", ignore_cleanup_errors=True) as folder:
        received = await receive_file(
            request, Path(folder) / FIELD, max_bytes=services.settings.limits.max_upload_bytes
        )
        artifact = await store_upload(state, received, owner)
    response.headers["Location"] = f"/v1/artifacts/{artifact.id}"
    return view_artifact(artifact)


@router.head("/v1/artifacts/{artifact_id}", include_in_schema=False)
@router.get("/v1/artifacts/{artifact_id}")
async def get_artifact(database: DatabaseDep, owner: OwnerDep, artifact_id: ArtifactIdInPath) -> Artifact:
    """Show an artifact.

    An upload, a clip or a result, with the properties that probing found.
    """
    async with database.read() as session:
        return view_artifact(await get_artifact_row(session, artifact_id, owner_id=owner))


async def store_upload(state: AppState, received: ReceivedFile, owner_id: str) -> ArtifactRow:
    """Makes an artifact of a received file. Raises `InvalidRequest` unless it is complete media."""
    info = await _probe(state, received.path)
    return await _store(state.services, received, info, owner_id)


async def _probe(state: AppState, path: Path) -> MediaInfo:
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


async def _store(services: Services, received: ReceivedFile, info: MediaInfo, owner_id: str) -> ArtifactRow:
    """Stores the bytes first, then the row: an artifact with a row can always be read."""
    artifact_id = new_artifact_id()
    key = upload_key(artifact_id)
    stored = await services.store.put_file(key, received.path)
    try:
        async with services.database.write() as uow:
            await check_uploads(
                uow.session,
                owner_id,
                size_bytes=stored.size_bytes,
                bytes_per_day=_daily_bytes(services.settings.limits, owner_id),
            )
            return await add_upload(
                uow,
                artifact_id=artifact_id,
                owner_id=owner_id,
                key=key,
                media_type=media_type_of(info),
                filename=received.filename,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                info=info,
            )
    except BaseException:
        await asyncio.shield(_discard(services.database, services.store, artifact_id, key, owner_id))
        raise


def _daily_bytes(limits: LimitSettings, owner_id: str) -> int:
    """How many bytes the owner may upload in a day; 0 means no limit."""
    return 0 if owner_id == ANYBODY.owner_id else limits.upload_bytes_per_day


async def _discard(database: Database, store: ArtifactStore, artifact_id: str, key: ObjectKey, owner_id: str) -> None:
    """Deletes the bytes, unless the transaction was committed and only the response to the commit was lost."""
    try:
        async with database.read() as session:
            await get_artifact_row(session, artifact_id, owner_id=owner_id)
    except NotFound:
        await store.delete(key)
    except Unavailable:
        return  # unknown whether there is a row; the retention service deletes files without rows later
