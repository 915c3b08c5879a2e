"""Sends requests, retrying where that is safe, and turns everything but 2xx into an exception."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO

import httpx
from pydantic import BaseModel

from phoenix import __version__
from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable, problem_from
from phoenix.client.retrying import RetryPolicy, Tries

Params = Mapping[str, str | int]
UploadField = tuple[str, BinaryIO, str]
"""File name, open file, media type."""

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
NOT_DONE_STATUSES = frozenset({429, 503})
"""The server itself refused the request; after a gateway's 502 or 504 it may have been carried out."""


class Transport:
    """A connection pool to one server."""

    def __init__(self, base_url: str, api_key: str | None, retry_policy: RetryPolicy) -> None:
        headers = {"User-Agent": f"phoenix-client/{__version__}"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self.retry_policy = retry_policy
        self.base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.base_url, headers=headers, timeout=httpx.Timeout(10, read=60, write=60)
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        is_idempotent: bool,
        params: Params | None = None,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        upload: UploadField | None = None,
    ) -> httpx.Response:
        """Returns the 2xx response. A request that `is_idempotent` is also retried after a broken connection.

        Raises `PhoenixProblem` or `PhoenixUnreachable` once the retry policy gives up.
        """
        request = self._http.build_request(
            method,
            path,
            params=params,
            headers={**(headers or {}), **({"Content-Type": "application/json"} if body else {})},
            content=body.model_dump_json(exclude_unset=True, exclude_none=True) if body else None,
            files={"file": upload} if upload else None,
        )
        tries = Tries(self.retry_policy)
        while True:
            try:
                return await self._send_once(request)
            except httpx.TransportError as error:
                failure = unreachable(self.base_url, error)
                if not is_idempotent and not isinstance(error, NOT_SENT):
                    raise failure from error
                await tries.wait_after(failure)
            except PhoenixProblem as problem:
                if not is_idempotent and problem.status not in NOT_DONE_STATUSES:
                    raise
                await tries.wait_after(problem)

    async def _send_once(self, request: httpx.Request) -> httpx.Response:
        response = await self._http.send(request)
        if not response.is_success:
            raise problem_from(response)
        return response

    @asynccontextmanager
    async def stream(
        self, path: str, *, headers: Mapping[str, str], read_timeout_s: float
    ) -> AsyncGenerator[httpx.Response]:
        """A 2xx response to GET, its body not yet read; never retried. `read_timeout_s`: longest gap between two bytes.

        Raises `PhoenixProblem`, and `PhoenixUnreachable`, also if the connection breaks while the body is read.
        """
        timeout = httpx.Timeout(10, read=read_timeout_s)
        # Files may be redirected to the object store; httpx does not send the key to another origin.
        try:
            async with self._http.stream(
                "GET", path, headers=headers, timeout=timeout, follow_redirects=True
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise problem_from(response)
                yield response
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error


def unreachable(base_url: str, error: Exception) -> PhoenixUnreachable:
    return PhoenixUnreachable(f"{base_url} does not answer: {str(error) or type(error).__name__}")
