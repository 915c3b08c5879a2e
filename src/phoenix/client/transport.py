"""Sends requests, retries them where this is safe, and turns every response other than 2xx into an exception."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import anyio
import httpx
from pydantic import BaseModel
from pydantic_core import to_json

from phoenix import __version__
from phoenix.client.errors import PhoenixProblem, PhoenixUnreachable, problem_from

TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` tries in a row, with delays that double from `first_delay_s` up to `longest_delay_s`."""

    attempts: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 60
    waits_for_server: bool = True
    """Whether to try again if the first connection fails. A server that has answered once is always waited for."""

    def delay_s(self, failures: int, *, retry_after_s: float | None = None, jitter: float = 0) -> float | None:
        """Seconds to wait after `failures` (from 1) in a row. None to give up.

        `retry_after_s`: the Retry-After of the server; the policy gives up if it exceeds `longest_delay_s`. `jitter`,
        from 0 to 1, adds up to a quarter, so that the clients of a restarted server do not return all at once.
        """
        if failures >= self.attempts or (retry_after_s or 0) > self.longest_delay_s:
            return None
        backoff_s = min(self.first_delay_s * 2 ** (failures - 1), self.longest_delay_s)
        return max(backoff_s, retry_after_s or 0) * (1 + jitter / 4)


class RetryState:
    """Counts the consecutive failures of one operation."""

    def __init__(self, retry_policy: RetryPolicy) -> None:
        self.retry_policy = retry_policy
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    async def wait_after(self, error: PhoenixProblem | PhoenixUnreachable) -> None:
        """Sleeps until the next try. Raises `error` if it is final or if the policy gives up."""
        retry_after_s = None
        if isinstance(error, PhoenixProblem):
            if error.status not in TRANSIENT_STATUSES:
                raise error
            retry_after_s = error.retry_after_s
        self._failures += 1
        delay_s = self.retry_policy.delay_s(self._failures, retry_after_s=retry_after_s, jitter=random.random())
        if delay_s is None:
            raise error
        await anyio.sleep(delay_s)


Params = Mapping[str, str | int | list[str]]
JsonObject = Mapping[str, Any]
UploadField = tuple[str, BinaryIO, str]
"""File name, open file, media type."""

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
NOT_DONE_STATUSES = frozenset({429, 503})
"""Statuses of a request that the server has not executed. After 502 or 504 of a gateway, it may have."""


def _encode(body: BaseModel | JsonObject) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True, exclude_none=True).encode()
    # JSON has no NaN and no infinity. The server names the field of a null.
    return to_json(body, inf_nan_mode="null")


class Transport:
    """A connection pool to one server."""

    def __init__(self, base_url: str, api_key: str | None, retry_policy: RetryPolicy) -> None:
        """Raises `ValueError` for a key that no header can hold."""
        headers = {"User-Agent": f"phoenix-client/{__version__}"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                # Not the key itself: errors end in logs.
                raise ValueError("api_key has a character that no key has: copy the whole key, without a line break")
            headers["Authorization"] = f"Bearer {api_key}"
        self.retry_policy = retry_policy
        self.base_url = base_url.rstrip("/")
        self._has_answered = False
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
        body: BaseModel | JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        upload: UploadField | None = None,
    ) -> httpx.Response:
        """Returns the 2xx response. An idempotent request is also retried after a broken connection.

        Raises `PhoenixProblem` or `PhoenixUnreachable` once the retry policy gives up.
        """
        request = self._http.build_request(
            method,
            path,
            params=params,
            headers={**(headers or {}), **({"Content-Type": "application/json"} if body else {})},
            content=_encode(body) if body else None,
            files={"file": upload} if upload else None,
        )
        retries = RetryState(self.retry_policy)
        while True:
            try:
                return await self._send_once(request)
            except httpx.TransportError as error:
                failure = unreachable(self.base_url, error)
                is_final = not is_idempotent and not isinstance(error, NOT_SENT)
                if is_final or not (self._has_answered or self.retry_policy.waits_for_server):
                    raise failure from error
                await retries.wait_after(failure)
            except PhoenixProblem as problem:
                if not is_idempotent and problem.status not in NOT_DONE_STATUSES:
                    raise
                await retries.wait_after(problem)

    async def _send_once(self, request: httpx.Request) -> httpx.Response:
        response = await self._http.send(request)
        self._has_answered = True
        if not response.is_success:
            raise problem_from(response)
        return response

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        headers: Mapping[str, str],
        read_timeout_s: float,
        method: str = "GET",
        body: BaseModel | JsonObject | None = None,
    ) -> AsyncGenerator[httpx.Response]:
        """Sends one request without retries. Yields the 2xx response before its body is read.

        `read_timeout_s`: the longest gap between two bytes. Raises `PhoenixProblem`, or `PhoenixUnreachable`
        if there is no response or the connection breaks while the body is read.
        """
        timeout = httpx.Timeout(10, read=read_timeout_s)
        content = _encode(body) if body else None
        headers = {**headers, **({"Content-Type": "application/json"} if content else {})}
        # Files may be redirected to the object store; httpx does not send the key to another origin.
        try:
            async with self._http.stream(
                method, path, headers=headers, content=content, timeout=timeout, follow_redirects=True
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise problem_from(response)
                yield response
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error


def unreachable(base_url: str, error: Exception) -> PhoenixUnreachable:
    return PhoenixUnreachable(f"{base_url} does not answer: {str(error) or type(error).__name__}")
