"""One try of one webhook delivery: its schedule, its signature, and a bounded POST to a URL that the policy allows."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from phoenix import __version__
from phoenix.api.http import request_ids
from phoenix.clock import in_seconds, utc_now
from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url, port_of
from phoenix.telemetry import traces

_MINUTE_S, _HOUR_S = 60, 3600
DELAYS_S = (
    0,
    5,
    5 * _MINUTE_S,
    30 * _MINUTE_S,
    2 * _HOUR_S,
    5 * _HOUR_S,
    10 * _HOUR_S,
    14 * _HOUR_S,
    20 * _HOUR_S,
    24 * _HOUR_S,
)
"""Seconds before each try: a little more than three days in total, as the Standard Webhooks specification suggests."""

_MAX_DELAY_S = 24 * _HOUR_S


def retry_in_s(attempt: int, *, retry_after_s: float | None, jitter: float) -> float | None:
    """Seconds until the try after `attempt`, which counts from 1; None if `attempt` was the last.

    `retry_after_s` is the target's Retry-After. `jitter`, from 0 to 1, adds up to a tenth of the delay: a target that
    was away must not get all deliveries at once.
    """
    if attempt >= len(DELAYS_S):
        return None
    return max(DELAYS_S[attempt] * (1 + jitter / 10), min(retry_after_s or 0.0, _MAX_DELAY_S))


def parse_retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds from either form of the header; None for anything else."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        return None
    return max((at - now) / timedelta(seconds=1), 0.0)


MAX_RESPONSE_BYTES = 64 * 1024
_GONE = 410


@dataclass(frozen=True)
class DeliveryOutcome:
    """The outcome of a try. `error` is the same for every kind of unreachable host, so that nobody can scan ports."""

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
    timeout_s: float,
) -> DeliveryOutcome:
    """Sends the body once. Failures of the target are part of the outcome; so is a redirect, which is not followed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _post(pool, check_url(url, policy), body, headers)
    except UrlNotAllowed:
        return DeliveryOutcome(error="This URL may not be called.")
    except TimeoutError:
        return DeliveryOutcome(error=f"No response within {in_seconds(timeout_s)}.")
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError):
        return DeliveryOutcome(error="No valid response.")


async def _post(
    pool: httpcore.AsyncConnectionPool, url: httpx.URL, body: bytes, headers: Mapping[str, str]
) -> DeliveryOutcome:
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
        response_headers = {name.lower(): value for name, value in response.headers}
        await _read_bounded(response)
    if 200 <= response.status < 300:
        return DeliveryOutcome(response.status)
    retry_after_s = parse_retry_after_s(response_headers.get(b"retry-after", b"").decode("latin-1"), utc_now())
    return DeliveryOutcome(response.status, f"The response had status {response.status}.", retry_after_s)


async def _read_bounded(response: httpcore.Response) -> None:
    """Reads a short response to its end, so that the connection can be reused, and only the beginning of a long one."""
    size_bytes = 0
    async for chunk in response.aiter_stream():
        size_bytes += len(chunk)
        if size_bytes > MAX_RESPONSE_BYTES:
            return


@dataclass(frozen=True)
class SignedWebhook:
    """What is sent: a body, and the headers that sign it."""

    body: bytes
    headers: Mapping[str, str]


Signer = Callable[[str, bytes, int, Sequence[str]], SignedWebhook]
"""Signs a webhook. It gets the id of the delivery, the stored body, the Unix time in seconds, and the secrets."""


def sign(message_id: str, body: bytes, sent_at_s: int, secrets: Sequence[str]) -> SignedWebhook:
    return SignedWebhook(body, sign_headers(message_id, sent_at_s, body, secrets))


def sign_headers(message_id: str, sent_at_s: int, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """The headers of a signed webhook: one signature per secret, so that either secret works during a rotation."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": " ".join(_sign(message_id, sent_at_s, body, secret) for secret in secrets),
    }


def correlation_headers(request_id: str | None, traceparent: str | None) -> Mapping[str, str]:
    """Id and trace of the request that made the job, for the receiver's logs. They are not signed."""
    given = {request_ids.HEADER: request_id, traces.HEADER: traceparent}
    return {name: value for name, value in given.items() if value}


def _sign(message_id: str, sent_at_s: int, body: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%s.%d.%s" % (message_id.encode(), sent_at_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
