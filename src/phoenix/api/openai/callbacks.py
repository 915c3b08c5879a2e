"""The webhooks of videos that were asked for in OpenRouter's form, with its words and its signature."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import partial

from phoenix.api.background.webhook_attempt import SignedWebhook, Signer, sign
from phoenix.api.openai.views import ROUTED_KEY, video_id_of
from phoenix.contract.videos import VideoCallback
from phoenix.settings import Settings

_STATUSES = {"succeeded": "completed", "failed": "failed", "canceled": "cancelled", "expired": "expired"}


def choose_signer(settings: Settings) -> Signer:
    """What signs the webhooks of this server."""
    if not settings.videos.enabled:
        return sign
    return partial(sign_callback, base_url=(settings.api.public_url or "").rstrip("/"))


def sign_callback(
    message_id: str, body: bytes, sent_at_s: int, secrets: Sequence[str], *, base_url: str
) -> SignedWebhook:
    """The webhook as its receiver reads it. One in OpenRouter's form has the headers of all webhooks, too."""
    # The body of any other webhook is not parsed, which is most of them.
    callback = _find_callback(body, base_url) if ROUTED_KEY.encode() in body else None
    if callback is None:
        return sign(message_id, body, sent_at_s, secrets)
    body = callback.model_dump_json().encode()
    signed = sign(message_id, body, sent_at_s, secrets)
    # The form has room for one signature: the newest secret makes it.
    digest = hmac.new(secrets[0].encode(), b"%d,%s" % (sent_at_s, body), hashlib.sha256).hexdigest()
    own = {
        "X-OpenRouter-Idempotency-Key": f"{callback.data.id}-{callback.data.status}",
        "X-OpenRouter-Signature": f"t={sent_at_s},v1={digest}",
    }
    return SignedWebhook(body, {**signed.headers, **own})


def _find_callback(body: bytes, base_url: str) -> VideoCallback | None:
    """The webhook in OpenRouter's form; None for what is no video of this form, or has not ended."""
    payload = json.loads(body)
    job = payload["data"]
    status = _STATUSES.get(job["state"])
    if status is None or ROUTED_KEY not in job["metadata"]:
        return None
    video_id, error = video_id_of(job["job_id"]), job["error"]
    content_url = f"{base_url}/v1/videos/{video_id}/content?index=0"
    data = {"id": video_id, "status": status, "error": error and error["message"]}
    data["unsigned_urls"] = [content_url] if status == "completed" else []
    return VideoCallback.model_validate(
        {"type": f"video.generation.{status}", "created_at": payload["timestamp"], "data": data}
    )
