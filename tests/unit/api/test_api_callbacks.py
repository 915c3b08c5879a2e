"""Webhooks in OpenRouter's form, checked as its documentation tells receivers to."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from phoenix.api.background.webhook_attempt import SignedWebhook, sign
from phoenix.api.openai.callbacks import choose_signer, sign_callback
from phoenix.clock import utc_now
from phoenix.settings import VideosSettings, load_settings

SECRET = "whsec_" + "c2VjcmV0" * 4
VIDEO = "video_01kag3e9zq4f7w5m8x2c6b0n1d"
ROUTED = {"video_protocol": "openrouter"}


def payload(state: str, *, metadata: dict[str, str] = ROUTED, error: str | None = None) -> bytes:
    data: dict[str, Any] = {"job_id": "job_" + VIDEO.removeprefix("video_"), "state": state, "metadata": metadata}
    data["error"] = error and {"code": "GPU_OOM", "message": error}
    return json.dumps({"type": f"job.{state}", "timestamp": "2026-11-30T12:00:00Z", "data": data}).encode()


def signed(body: bytes, sent_at_s: int = 1_800_000_000) -> SignedWebhook:
    return sign_callback("whd_1", body, sent_at_s, (SECRET, "whsec_b2xk"), base_url="https://video.example.org")


@pytest.mark.parametrize(
    ("state", "status", "more"),
    [
        (
            "succeeded",
            "completed",
            {"unsigned_urls": [f"https://video.example.org/v1/videos/{VIDEO}/content?index=0"]},
        ),
        ("failed", "failed", {"error": "Out of memory."}),
        ("canceled", "cancelled", {}),
        ("expired", "expired", {"error": "Out of memory."}),
    ],
)
def test_the_end_of_a_routed_video_is_said_in_the_words_of_openrouter(
    state: str, status: str, more: dict[str, Any]
) -> None:
    sent = signed(payload(state, error=more.get("error")))

    assert json.loads(sent.body) == {
        "type": f"video.generation.{status}",
        "created_at": "2026-11-30T12:00:00Z",
        "data": {"id": VIDEO, "status": status, "unsigned_urls": [], "error": None, **more},
    }
    assert sent.headers["X-OpenRouter-Idempotency-Key"] == f"{VIDEO}-{status}"


def test_a_receiver_of_openrouter_verifies_the_bytes_with_the_newest_secret() -> None:
    sent = signed(payload("succeeded"))

    at, _, digest = sent.headers["X-OpenRouter-Signature"].partition(",")
    message = f"{at.removeprefix('t=')},{sent.body.decode()}".encode()
    assert digest == "v1=" + hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()


def test_a_receiver_of_standard_webhooks_verifies_the_same_bytes() -> None:
    sent = signed(payload("succeeded"), int(utc_now().timestamp()))

    assert Webhook(SECRET).verify(sent.body, dict(sent.headers))["type"] == "video.generation.completed"


@pytest.mark.parametrize(
    "body",
    [payload("succeeded", metadata={}), payload("held"), payload("failed", metadata={"note": "video_protocol"})],
    ids=["of another job", "before its end", "with the word elsewhere"],
)
def test_any_other_webhook_is_sent_as_it_is(body: bytes) -> None:
    assert signed(body) == sign("whd_1", body, 1_800_000_000, (SECRET, "whsec_b2xk"))


def test_without_the_routes_all_webhooks_have_one_form() -> None:
    assert choose_signer(load_settings(videos=VideosSettings(enabled=False))) is sign
