"""FastAPI dependencies of the routes. Who the caller is gets decided here, and nowhere else.

All are `async`, though few await anything: FastAPI runs sync ones in a thread, which costs more than they do.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from phoenix.access import keys
from phoenix.api import lifespan as app_state
from phoenix.api.http.request_ids import request_id_of, traceparent_of
from phoenix.assembly import services
from phoenix.errors import Unauthenticated

_READING = frozenset({"GET", "HEAD"})
_NOTED = "phoenix.caller"


async def get_running(request: Request) -> app_state.Running:
    return request.app.state.running


async def get_services(running: Annotated[app_state.Running, Depends(get_running)]) -> services.Services:
    return running.services


async def get_reader(request: Request) -> keys.Caller:
    """The caller, who needs the scope `read`. Raises `Unauthenticated`, `Forbidden` or `RateLimited`."""
    caller: keys.Caller | None = request.scope.get(_NOTED)
    if caller is None:
        # Several dependencies ask, but a request counts once against the limits.
        caller = request.scope[_NOTED] = await _admit(request)
    caller.check(keys.Scope.READ)
    return caller


async def _admit(request: Request) -> keys.Caller:
    running = await get_running(request)
    try:
        caller = await running.callers.identify(request.headers)
    except Unauthenticated:
        await running.request_limits.count_failed_auth(request.scope)
        raise
    await running.request_limits.count(request.scope, caller)
    running.key_uses.note(caller)
    return caller


async def get_caller(request: Request) -> keys.Caller:
    """The caller, who also needs the scope `write` for any method but GET and HEAD. Raises as `get_reader`."""
    caller = await get_reader(request)
    if request.method not in _READING:
        caller.check(keys.Scope.WRITE)
    return caller


async def get_owner(request: Request) -> str:
    """Id of the owner of everything that this request creates and sees."""
    return (await get_caller(request)).owner_id


async def get_request_id(request: Request) -> str:
    return request_id_of(request.scope)


async def get_traceparent(request: Request) -> str | None:
    return traceparent_of(request.scope)


Running = Annotated[app_state.Running, Depends(get_running)]
Services = Annotated[services.Services, Depends(get_services)]
Caller = Annotated[keys.Caller, Depends(get_caller)]
Reader = Annotated[keys.Caller, Depends(get_reader)]
Owner = Annotated[str, Depends(get_owner)]
RequestId = Annotated[str, Depends(get_request_id)]
Traceparent = Annotated[str | None, Depends(get_traceparent)]


class AuthFirstRoute(APIRoute):
    """For routes with a body: a stranger's body is neither read nor parsed, and its faults are not reported."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def identify_first(request: Request) -> Response:
            await get_caller(request)
            return await answer(request)

        return identify_first
