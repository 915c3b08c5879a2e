"""One try of one delivery: a bounded POST to where `egress` allows. The body of the response is not kept."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore
import httpx

from phoenix import __version__
from phoenix.api.webhooks.schedule import parse_retry_after_s
from phoenix.clock import utc_now
from phoenix.media.egress import EgressPolicy, UrlNotAllowed, check_url, port_of

MAX_ANSWER_BYTES = 64 * 1024
_GONE = 410


@dataclass(frozen=True)
class Outcome:
    """The outcome of a try. `error` is the same for every kind of unreachable host: it must not help to scan ports."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def is_gone(self) -> bool:
        """The target wants no more webhooks."""
        return self.status == _GONE


async def post(
    pool: httpcore.AsyncConnectionPool,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    policy: EgressPolicy,
    time_limit_s: float,
) -> Outcome:
    """Sends the body once. Never raises because of the target; a redirect is not followed, and is a failure."""
    try:
        async with asyncio.timeout(time_limit_s):
            return await _post(pool, check_url(url, policy), body, headers)
    except UrlNotAllowed:
        return Outcome(error="This URL may not be called.")
    except TimeoutError:
        return Outcome(error=f"No answer within {time_limit_s:g} s.")
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError):
        return Outcome(error="No good answer.")


async def _post(pool: httpcore.AsyncConnectionPool, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> Outcome:
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
    all_headers: dict[str | bytes, str | bytes] = {
        "host": url.netloc.decode(),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "accept-encoding": "identity",
        "user-agent": f"phoenix/{__version__}",
        **headers,
    }
    async with pool.stream("POST", target, headers=all_headers, content=body) as response:
        answered = {name.lower(): value for name, value in response.headers}
        await _skim(response)
    if 200 <= response.status < 300:
        return Outcome(response.status)
    retry_after_s = parse_retry_after_s(answered.get(b"retry-after", b"").decode("latin-1"), utc_now())
    return Outcome(response.status, f"The answer was {response.status}.", retry_after_s)


async def _skim(response: httpcore.Response) -> None:
    """Reads a short response to its end, so that the connection can be reused; of a long one only the beginning."""
    size_bytes = 0
    async for chunk in response.aiter_stream():
        size_bytes += len(chunk)
        if size_bytes > MAX_ANSWER_BYTES:
            return
