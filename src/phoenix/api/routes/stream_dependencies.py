"""Who may follow a job: its owner, and whoever holds a token for it, in the URL or in a cookie."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Cookie, Depends, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from phoenix.api import lifespan as opened
from phoenix.api.auth.stream_tokens import stream_path
from phoenix.api.dependencies import Running, get_owner
from phoenix.api.http.parameters import JobIdInPath
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
    running: Running,
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
            return (await running.tokens.read(presented, job_id)).owner_id
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
StreamOwner = Annotated[str | None, Depends(get_stream_owner)]
StreamReader = Annotated[str | None, Depends(find_reader)]


async def hold_job_stream(running: Running, owner: StreamOwner) -> AsyncGenerator[None]:
    """For a stream of one job. Raises `RateLimited`."""
    async with AsyncExitStack() as held:
        await _hold(held, running, owner)
        yield


async def hold_stream(running: Running, owner: StreamReader) -> AsyncGenerator[None]:
    """For a stream of all of the caller's jobs. Raises `RateLimited`."""
    async with AsyncExitStack() as held:
        await _hold(held, running, owner)
        yield


async def _hold(held: AsyncExitStack, running: opened.Running, owner_id: str | None) -> None:
    # While the database is away the owner is unknown, and the stream only asks the client to reconnect.
    if owner_id is not None:
        await held.enter_async_context(running.open_streams.held(owner_id))
