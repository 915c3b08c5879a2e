"""What routes ask for in their signatures. Whose request it is gets decided here, and nowhere else.

All of it is `async`, though little of it waits: what is not, FastAPI runs in a thread, which takes longer than it does.
"""

from typing import Annotated

from fastapi import Depends, Request

from phoenix.access import keys
from phoenix.api import running
from phoenix.api.request_ids import request_id_of, traceparent_of
from phoenix.assembly import services
from phoenix.errors import Unauthenticated

_READING = frozenset({"GET", "HEAD"})
_NOTED = "phoenix.caller"


async def get_running(request: Request) -> running.Running:
    return request.app.state.running


async def get_services(running: Annotated[running.Running, Depends(get_running)]) -> services.Services:
    return running.services


async def get_reader(request: Request) -> keys.Caller:
    """Who makes this request, which takes the scope `read`. Raises `Unauthenticated`, `Forbidden` or `RateLimited`."""
    caller: keys.Caller | None = request.scope.get(_NOTED)
    if caller is None:
        # Several ask, and a request counts once.
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
    """As above; whatever changes something takes the scope `write`."""
    caller = await get_reader(request)
    if request.method not in _READING:
        caller.check(keys.Scope.WRITE)
    return caller


async def get_owner(request: Request) -> str:
    """Id of the owner of what this request makes and sees."""
    return (await get_caller(request)).owner_id


async def get_request_id(request: Request) -> str:
    return request_id_of(request.scope)


async def get_traceparent(request: Request) -> str | None:
    return traceparent_of(request.scope)


Running = Annotated[running.Running, Depends(get_running)]
Services = Annotated[services.Services, Depends(get_services)]
Caller = Annotated[keys.Caller, Depends(get_caller)]
Reader = Annotated[keys.Caller, Depends(get_reader)]
Owner = Annotated[str, Depends(get_owner)]
RequestId = Annotated[str, Depends(get_request_id)]
Traceparent = Annotated[str | None, Depends(get_traceparent)]
