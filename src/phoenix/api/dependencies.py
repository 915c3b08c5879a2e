"""FastAPI dependencies of the routes. Only this module decides who the caller is.

All are `async`, though few await anything: FastAPI runs a sync dependency in a thread, which costs more than its work.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from phoenix.access import keys
from phoenix.api.http.request_ids import record_presented, request_id_of, traceparent_of
from phoenix.api.job_views import JobViews
from phoenix.api.lifespan import AppState
from phoenix.db import Database
from phoenix.errors import Unauthenticated
from phoenix.services import Services

_READ_METHODS = frozenset({"GET", "HEAD"})
_SCOPE_KEY = "phoenix.caller"


async def get_app_state(request: Request) -> AppState:
    return request.app.state.phoenix


async def get_services(state: Annotated[AppState, Depends(get_app_state)]) -> Services:
    return state.services


async def get_database(state: Annotated[AppState, Depends(get_app_state)]) -> Database:
    return state.services.database


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
        caller = await state.authenticator.authenticate(request.headers)
    if caller is not keys.ANYBODY:
        record_presented(request.scope, caller.owner_id, caller.secret_id)
    await state.request_limits.count(request.scope, caller)
    state.key_usage.record(caller)
    return caller


@asynccontextmanager
async def counting_failed_auth(request: Request, state: AppState) -> AsyncGenerator[None]:
    """Counts a key or token that the block refuses. Raises `RateLimited` if the client's address has sent too many."""
    try:
        yield
    except Unauthenticated:
        await state.request_limits.count_failed_auth(request.scope)
        raise


async def get_caller(request: Request) -> keys.Caller:
    """The caller; also requires the scope `write` for any method but GET and HEAD. Raises like `get_reader`."""
    caller = await get_reader(request)
    if request.method not in _READ_METHODS:
        caller.check(keys.Scope.WRITE)
    return caller


async def get_owner(request: Request) -> str:
    """Id of the owner whose resources this request creates and reads."""
    return (await get_caller(request)).owner_id


async def get_request_id(request: Request) -> str:
    return request_id_of(request.scope)


async def get_traceparent(request: Request) -> str | None:
    return traceparent_of(request.scope)


AppStateDep = Annotated[AppState, Depends(get_app_state)]
ServicesDep = Annotated[Services, Depends(get_services)]
DatabaseDep = Annotated[Database, Depends(get_database)]
JobViewsDep = Annotated[JobViews, Depends(get_job_views)]
HolderDep = Annotated[keys.Caller, Depends(get_holder)]
CallerDep = Annotated[keys.Caller, Depends(get_caller)]
ReaderDep = Annotated[keys.Caller, Depends(get_reader)]
OwnerDep = Annotated[str, Depends(get_owner)]
RequestIdDep = Annotated[str, Depends(get_request_id)]
TraceparentDep = Annotated[str | None, Depends(get_traceparent)]


class AuthFirstRoute(APIRoute):
    """A route that authenticates the caller before it reads the body, so that a stranger gets no field errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def authenticate_first(request: Request) -> Response:
            await get_caller(request)
            return await handle(request)

        return authenticate_first
