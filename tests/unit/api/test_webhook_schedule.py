"""When a webhook is tried again, and how it is signed."""

import json
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from phoenix.api.background.webhook_attempt import DELAYS_S, parse_retry_after_s, retry_in_s, sign_headers
from phoenix.clock import utc_now

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = json.dumps({"type": "job.succeeded", "data": {"x": "é"}}).encode()
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_the_tries_spread_over_three_days() -> None:
    delays = [retry_in_s(attempt, retry_after_s=None, jitter=0) for attempt in range(1, 11)]

    assert delays == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert DELAYS_S[0] == 0


def test_a_target_that_asks_for_more_time_gets_it() -> None:
    assert retry_in_s(1, retry_after_s=120, jitter=0.5) == 120
    assert retry_in_s(2, retry_after_s=120, jitter=0) == 300


def test_nobody_can_ask_for_more_than_a_day() -> None:
    assert retry_in_s(1, retry_after_s=1e9, jitter=0) == 86400


def test_deliveries_to_one_target_are_not_retried_at_once() -> None:
    assert retry_in_s(2, retry_after_s=None, jitter=1) == pytest.approx(330)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("-1", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 5000, 999_999_999),
        ("Sat, 21 Nov 99999 12:01:00 GMT", None),
        ("Sat, 21 Nov 99999999999 12:01:00 GMT", None),
        ("Sat, 21 Nov 2026 12:01:00 +99999999999999", None),
    ],
)
def test_a_wish_to_wait_is_read(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after_s(header, NOW) == seconds


def signed(*secrets: str) -> dict[str, str]:
    return dict(sign_headers("whd_1", int(utc_now().timestamp()), BODY, secrets))


def test_a_receiver_knows_a_webhook_for_ours() -> None:
    assert Webhook(SECRET).verify(BODY, signed(SECRET)) == json.loads(BODY)


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_while_a_secret_is_replaced_either_is_good(known: str) -> None:
    Webhook(known).verify(BODY, signed(SECRET, OTHER))


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "secret"])
def test_a_webhook_that_was_tampered_with_is_refused(change: str) -> None:
    headers = signed(OTHER if change == "secret" else SECRET)
    body = BODY + b" " if change == "body" else BODY
    if change == "id":
        headers["webhook-id"] = "whd_2"
    if change == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) - 1)

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_an_old_webhook_is_refused() -> None:
    headers = sign_headers("whd_1", int(utc_now().timestamp()) - 360, BODY, [SECRET])

    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(BODY, dict(headers))
