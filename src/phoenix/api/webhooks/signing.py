"""The headers of a webhook: its signature (Standard Webhooks 1.0), and the request that caused it. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from phoenix.api import request_ids
from phoenix.telemetry import traces


def sign_headers(message_id: str, sent_at_s: int, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """One signature per secret, so that a receiver may use either while the secret is being rotated."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": " ".join(_sign(message_id, sent_at_s, body, secret) for secret in secrets),
    }


def cause_headers(request_id: str | None, traceparent: str | None) -> Mapping[str, str]:
    """Id and trace of the request that made the job, for the receiver's logs. Not signed: do not rely on them."""
    given = {request_ids.HEADER: request_id, traces.HEADER: traceparent}
    return {name: value for name, value in given.items() if value}


def _sign(message_id: str, sent_at_s: int, body: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%s.%d.%s" % (message_id.encode(), sent_at_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
