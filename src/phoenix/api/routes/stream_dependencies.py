"""Who may follow a job: its owner, and whoever holds a token for it, in the URL or in a cookie."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Cookie, Depends, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from phoenix.api.auth.stream_tokens import stream_path
from phoenix.api.dependencies import AppStateDep, get_owner
from phoenix.api.http.parameters import JobIdInPath
from phoenix.api.lifespan import AppState
from phoenix.contract.events import StreamToken
from phoenix.errors import Unavailable

COOKIE = "phoenix_stream"


def set_cookie(request: Request, response: Response, job_id: str, token: StreamToken) -> None:
    """For pages of the same site: a cookie sent only with requests for this stream, and hidden from scripts."""
    response.set_cookie(
        COOKIE,
        token.token,
        expires=token.expires_at,
        path=stream_path(job_id),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


async def get_stream_owner(
    request: Request,
    state: AppStateDep,
    job_id: JobIdInPath,
    token: Annotated[
        str | SkipJsonSchema[None], Query(description="From `POST …/stream-tokens`, where no header can be set.")
    ] = None,
    cookie: Annotated[str | SkipJsonSchema[None], Cookie(alias=COOKIE, include_in_schema=False)] = None,
) -> str | None:
    """Id of the followed job's owner; None while the database is away. Key and token go before the cookie."""
    presented = cookie if token is None and "authorization" not in request.headers else token
    try:
        if presented is not None:
            return (await state.tokens.read(presented, job_id)).owner_id
        return await get_owner(request)
    except Unavailable:
        return None


async def find_reader(request: Request) -> str | None:
    """Id of the owner whose jobs are all followed; None while the database is away."""
    try:
        return await get_owner(request)
    except Unavailable:
        return None


# None rather than an error: any status but 200 closes a browser's EventSource for good.
StreamOwnerDep = Annotated[str | None, Depends(get_stream_owner)]
StreamReaderDep = Annotated[str | None, Depends(find_reader)]


async def limit_job_streams(state: AppStateDep, owner: StreamOwnerDep) -> AsyncGenerator[None]:
    """For a stream of one job. Raises `RateLimited`."""
    async with AsyncExitStack() as stack:
        await _acquire_slot(stack, state, owner)
        yield


async def limit_owner_streams(state: AppStateDep, owner: StreamReaderDep) -> AsyncGenerator[None]:
    """For a stream of all of the caller's jobs. Raises `RateLimited`."""
    async with AsyncExitStack() as stack:
        await _acquire_slot(stack, state, owner)
        yield


async def _acquire_slot(stack: AsyncExitStack, state: AppState, owner_id: str | None) -> None:
    # While the database is away the owner is unknown, and the stream only asks the client to reconnect.
    if owner_id is not None:
        await stack.enter_async_context(state.open_streams.slot(owner_id))
