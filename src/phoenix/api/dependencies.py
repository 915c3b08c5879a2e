"""FastAPI dependencies of the routes. Only this module decides who the caller is.

All are `async`, though few await anything: FastAPI runs a sync dependency in a thread, which costs more than its work.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from phoenix.access import keys
from phoenix.access.open_slots import transfer_subject
from phoenix.access.tokens import TokenPurpose
from phoenix.api.http.body_limits import declared_bytes
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.api.http.request_ids import forget_presented, record_presented, request_id_of, traceparent_of
from phoenix.api.job_views import JobViews
from phoenix.api.lifespan import AppState
from phoenix.contract import Omittable
from phoenix.db import Database
from phoenix.errors import Unauthenticated
from phoenix.settings import Settings
from phoenix.storage.reserve import StorageReserve
from phoenix.storage.store import ArtifactStore

_READ_METHODS = frozenset({"GET", "HEAD"})
_SCOPE_KEY = "phoenix.caller"


async def get_app_state(request: Request) -> AppState:
    return request.app.state.phoenix


async def get_settings(state: Annotated[AppState, Depends(get_app_state)]) -> Settings:
    return state.services.settings


async def get_database(state: Annotated[AppState, Depends(get_app_state)]) -> Database:
    return state.services.database


async def get_reserve(state: Annotated[AppState, Depends(get_app_state)]) -> StorageReserve:
    return state.services.reserve


async def get_store(state: Annotated[AppState, Depends(get_app_state)]) -> ArtifactStore:
    return state.services.store


async def get_job_views(state: Annotated[AppState, Depends(get_app_state)]) -> JobViews:
    return state.job_views


async def get_holder(request: Request) -> keys.Caller:
    """The caller; requires no scope. Raises `Unauthenticated` or `RateLimited`."""
    caller: keys.Caller | None = request.scope.get(_SCOPE_KEY)
    if caller is None:
        # Several dependencies need the caller, but a request counts once against the limits.
        caller = request.scope[_SCOPE_KEY] = await _authenticate(request)
    return caller


async def get_reader(request: Request) -> keys.Caller:
    """The caller; requires the scope `read`. Raises like `get_holder`, and `Forbidden`."""
    caller = await get_holder(request)
    caller.check(keys.Scope.READ)
    return caller


async def _authenticate(request: Request) -> keys.Caller:
    state = await get_app_state(request)
    async with counting_failed_auth(request, state):
        caller = await state.authenticator.authenticate(request.headers, partial(_count, request, state))
    state.key_usage.record(caller)
    return caller


async def _count(request: Request, state: AppState, caller: keys.Caller) -> bytes | None:
    # Recorded before it is counted: the log line of a refused request names its key.
    record_presented(request.scope, caller.owner_id, caller.secret_id)
    return await state.request_limits.count(request.scope, caller)


@asynccontextmanager
async def counting_failed_auth(request: Request, state: AppState) -> AsyncGenerator[None]:
    """Counts a key or token that the block refuses. Raises `RateLimited` if the client's address has sent too many."""
    try:
        yield
    except Unauthenticated:
        forget_presented(request.scope)
        await state.request_limits.count_failed_auth(request.scope)
        raise


async def get_caller(request: Request) -> keys.Caller:
    """The caller; also requires the scope `write` for any method but GET and HEAD. Raises like `get_reader`."""
    caller = await get_reader(request)
    if request.method not in _READ_METHODS:
        caller.check(keys.Scope.WRITE)
    return caller


async def get_admin(request: Request) -> keys.Caller:
    """The caller; requires the scope `admin`. Raises like `get_caller`."""
    caller = await get_caller(request)
    caller.check(keys.Scope.ADMIN)
    return caller


async def get_operator(request: Request) -> keys.Caller:
    """The caller; requires the scope `operator` or `admin`. Raises like `get_caller`."""
    caller = await get_caller(request)
    caller.check(keys.Scope.OPERATOR)
    return caller


async def get_owner(request: Request) -> str:
    """Id of the owner whose resources this request creates and reads."""
    return (await get_caller(request)).owner_id


async def get_request_id(request: Request) -> str:
    return request_id_of(request.scope)


async def get_traceparent(request: Request) -> str | None:
    return traceparent_of(request.scope)


MediaToken = Annotated[
    Omittable[str],
    Query(description="From a signed URL, for a player that cannot set headers. It takes the place of a key."),
]


async def get_media_reader(
    request: Request, state: Annotated[AppState, Depends(get_app_state)], token: MediaToken = None
) -> keys.Caller:
    """The caller, or the caller that signed the URL.

    Raises like `get_caller`, and `Forbidden` for a token of another job or artifact.
    """
    if token is None:
        return await get_caller(request)
    resource_id = next(request.path_params[name] for name in ("job_id", "artifact_id") if name in request.path_params)
    async with counting_failed_auth(request, state):
        grant = await state.tokens.read(TokenPurpose.MEDIA, token, resource_id)
    if not grant.secret_id:
        return keys.ANYBODY
    record_presented(request.scope, grant.owner_id, grant.secret_id)
    reader = keys.Caller(grant.owner_id, frozenset({keys.Scope.READ}), grant.secret_id)
    await state.request_limits.count(request.scope, reader)
    return reader


AppStateDep = Annotated[AppState, Depends(get_app_state)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
DatabaseDep = Annotated[Database, Depends(get_database)]
ReserveDep = Annotated[StorageReserve, Depends(get_reserve)]
StoreDep = Annotated[ArtifactStore, Depends(get_store)]
JobViewsDep = Annotated[JobViews, Depends(get_job_views)]
HolderDep = Annotated[keys.Caller, Depends(get_holder)]
CallerDep = Annotated[keys.Caller, Depends(get_caller)]
AdminDep = Annotated[keys.Caller, Depends(get_admin)]
OperatorDep = Annotated[keys.Caller, Depends(get_operator)]
ReaderDep = Annotated[keys.Caller, Depends(get_reader)]
MediaReaderDep = Annotated[keys.Caller, Depends(get_media_reader)]
OwnerDep = Annotated[str, Depends(get_owner)]
RequestIdDep = Annotated[str, Depends(get_request_id)]
TraceparentDep = Annotated[str | None, Depends(get_traceparent)]


TakeSlot = Callable[[], Awaitable[None]]


async def get_download_slot(request: Request, state: AppStateDep, caller: CallerDep) -> AsyncGenerator[TakeSlot]:
    """A function that takes a slot for a download. Raises `TooManyTransfers`. Requests without a body need no slot.

    The slot is free again when the response has ended, complete or not.
    """
    async with _download_slots(request, state, caller) as take:
        yield take


async def get_media_slot(request: Request, state: AppStateDep, reader: MediaReaderDep) -> AsyncGenerator[TakeSlot]:
    """Like `get_download_slot`, where a signed URL takes the place of a key."""
    async with _download_slots(request, state, reader) as take:
        yield take


@asynccontextmanager
async def _download_slots(request: Request, state: AppState, caller: keys.Caller) -> AsyncGenerator[TakeSlot]:
    async with AsyncExitStack() as stack:

        async def take() -> None:
            await stack.enter_async_context(state.open_downloads.slot(transfer_subject(request.scope, caller)))

        yield take


async def limit_uploads(request: Request, state: AppStateDep, caller: CallerDep) -> AsyncGenerator[None]:
    """Holds a slot for an upload until the response has ended. Raises `TooManyTransfers` before the body is read."""
    async with state.open_uploads.slot(transfer_subject(request.scope, caller)):
        yield


async def get_upload_slot(request: Request, state: AppStateDep, caller: CallerDep) -> AsyncGenerator[TakeSlot]:
    """A function that takes a slot for an upload, once. Raises `TooManyTransfers`.

    A body that may be longer than bodies without files has one before it is read.
    """
    async with AsyncExitStack() as stack:
        slots = [state.open_uploads.slot(transfer_subject(request.scope, caller))]

        async def take() -> None:
            if slots:
                await stack.enter_async_context(slots.pop())

        if not 0 < declared_bytes(request.scope) <= state.services.settings.limits.max_body_bytes:
            await take()
        yield take


DownloadSlotDep = Annotated[TakeSlot, Depends(get_download_slot)]
UploadSlotDep = Annotated[TakeSlot, Depends(get_upload_slot)]
MediaSlotDep = Annotated[TakeSlot, Depends(get_media_slot)]


class AuthFirstRoute(StrictRoute):
    """A route that authenticates the caller before it reads the body, so that a stranger gets no field errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def authenticate_first(request: Request) -> Response:
            await get_caller(request)
            return await handle(request)

        return authenticate_first
