"""Uploads, and the list, the metadata and the deletion of artifacts. `api.uploads` checks and stores the files."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from phoenix.api.dependencies import AppStateDep, CallerDep, DatabaseDep, OwnerDep, SettingsDep, limit_uploads
from phoenix.api.http.body_limits import declared_bytes
from phoenix.api.http.declarations import (
    BINARY,
    PAGE_LISTED,
    ArtifactIdInPath,
    PageCursor,
    Responses,
    SearchText,
    WithSignedUrls,
    link_next_page,
)
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.http.multipart import FIELD, receive_file
from phoenix.api.steering.hidden_words import show_artifact
from phoenix.api.steering.owners import WantedOwnerDep, get_searched_owner
from phoenix.api.uploads import UploadStoreDep, new_upload, probe_upload, quota_of
from phoenix.contract import Artifact, ArtifactKind, ArtifactPage, MediaKind, Omittable, PageLimit, StorageUsage
from phoenix.jobs.library.files import ArtifactFilter, count_stored_files
from phoenix.jobs.library.files import list_artifacts as list_rows
from phoenix.jobs.repository import get_artifact as get_artifact_row
from phoenix.jobs.retention import delete_upload
from phoenix.jobs.views import view_artifact

router = APIRouter(tags=["artifacts"], route_class=StrictRoute)

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


@router.post(
    UPLOADS_PATH, status_code=201, openapi_extra=_BODY, responses=_RESPONSES, dependencies=[Depends(limit_uploads)]
)
async def create_upload(
    request: Request, response: Response, state: AppStateDep, uploads: UploadStoreDep, caller: CallerDep
) -> Artifact:
    """Upload a file.

    A sound, picture or video, as `multipart/form-data` with the field `file`. The whole file is checked before it is
    accepted: a file that is truncated, too long, or not media is refused with the reason.
    """
    services = state.services
    services.reserve.check(incoming_bytes=declared_bytes(request.scope))
    # A caller at its limit gets the error before it sends the file.
    least_bytes = max(1, declared_bytes(request.scope) - FORM_OVERHEAD_BYTES)
    await uploads.check_quota(caller, size_bytes=least_bytes)
    with TemporaryDirectory(prefix="phoenix-upload-", ignore_cleanup_errors=True) as folder:
        received = await receive_file(
            request, Path(folder) / FIELD, max_bytes=services.settings.limits.max_upload_bytes
        )
        services.reserve.check()
        upload = new_upload(received, await probe_upload(state, received.path))
        artifact = await uploads.add(upload, caller)
    response.headers["Location"] = f"/v1/artifacts/{artifact.id}"
    return view_artifact(artifact)


async def get_filter(
    kind: Omittable[ArtifactKind] = None,
    media: Omittable[MediaKind] = None,
    q: Annotated[
        Omittable[SearchText],
        Query(description="Words in the name of the uploaded file, or words that the job of the file is found by."),
    ] = None,
) -> ArtifactFilter:
    return ArtifactFilter(kind, media, q)


@router.head("/v1/artifacts", include_in_schema=False)
@router.get("/v1/artifacts", responses=PAGE_LISTED)
async def list_artifacts(
    request: Request,
    response: Response,
    state: AppStateDep,
    whose: WantedOwnerDep,
    wanted: Annotated[ArtifactFilter, Depends(get_filter)],
    limit: Annotated[PageLimit, Query()] = 20,
    cursor: PageCursor = None,
) -> ArtifactPage:
    """List artifacts, newest first.

    The caller's uploads, and the clips, results, sounds and thumbnails that its jobs have made. With `owner`, the files
    of another key or of all keys, without the names of uploads. The next page is also in the `Link` header.
    """
    if (wanted.search_text or "").strip():
        get_searched_owner(state, whose)
    async with state.services.database.read() as session:
        rows, next_cursor = await list_rows(session, wanted, owner_id=whose.owner_id, limit=limit, cursor=cursor)
    link_next_page(request, response, next_cursor)
    shown = [show_artifact(view_artifact(row), whose.caller, state.services.settings) for row in rows]
    return ArtifactPage(data=shown, has_more=next_cursor is not None, next_cursor=next_cursor)


@router.head("/v1/storage", include_in_schema=False)
@router.get("/v1/storage")
async def get_storage(database: DatabaseDep, settings: SettingsDep, caller: CallerDep) -> StorageUsage:
    """Show what the files of your key take.

    By kind of file, with the limit of the key.
    """
    quota = quota_of(caller, settings.limits)
    async with database.read() as session:
        kinds = await count_stored_files(session, caller.owner_id)
    return StorageUsage(
        size_bytes=sum(kind.size_bytes for kind in kinds),
        max_bytes=(quota.max_stored_bytes or None) if quota else None,
        kinds=kinds,
    )


@router.delete("/v1/artifacts/{artifact_id}", status_code=204)
async def delete_artifact(database: DatabaseDep, owner: OwnerDep, artifact_id: ArtifactIdInPath) -> None:
    """Delete an upload.

    409 `ARTIFACT_IN_USE` while an unfinished job needs it; `job_ids` has the jobs. A file that a job has made belongs
    to that job, and is deleted with it: the same 409 names the job.
    """
    async with database.write(frees_space=True) as uow:
        await delete_upload(uow, artifact_id, owner_id=owner)


@router.head("/v1/artifacts/{artifact_id}", include_in_schema=False)
@router.get("/v1/artifacts/{artifact_id}")
async def get_artifact(
    state: AppStateDep, caller: CallerDep, artifact_id: ArtifactIdInPath, signed: WithSignedUrls = False
) -> Artifact:
    """Show an artifact.

    An upload, a clip or a result, with the properties that probing found.
    """
    async with state.services.database.read() as session:
        artifact = view_artifact(await get_artifact_row(session, artifact_id, owner_id=caller.owner_id))
    return await state.signed_urls.with_url(artifact, caller) if signed else artifact
