"""Reports to Sentry: only with a DSN, and without the secrets of a request."""

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from phoenix.telemetry.error_reports import report_errors, without_secrets


class StoredReports(Transport):
    """Stores what would be sent."""

    events: ClassVar[list[Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)


@pytest.fixture
def reports() -> Iterator[list[Any]]:
    StoredReports.events.clear()
    environment = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "test"}
    assert report_errors("phoenix-worker", environment, transport=StoredReports)
    yield StoredReports.events
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def test_without_a_dsn_nothing_is_reported() -> None:
    assert not report_errors("phoenix-api", {})


def test_a_logged_error_is_reported_without_local_variables(reports: list[Any]) -> None:
    try:
        raise ValueError("it broke")
    except ValueError:
        logging.getLogger("phoenix").exception("the attempt failed unexpectedly")

    (event,) = reports
    assert (event["environment"], event["tags"]["process"]) == ("test", "phoenix-worker")
    assert event["exception"]["values"][0]["value"] == "it broke"
    assert all("vars" not in frame for frame in event["exception"]["values"][0]["stacktrace"]["frames"])


def test_a_report_has_no_key_no_token_and_no_body_of_the_request() -> None:
    request = {
        "url": "http://phoenix/v1/events?token=secret",
        "query_string": "token=secret",
        "headers": {"authorization": "Bearer secret"},
        "data": {"prompt": "secret"},
        "cookies": {},
        "method": "GET",
    }

    assert without_secrets({"request": request}, {}) == {
        "request": {"url": "http://phoenix/v1/events", "method": "GET"}
    }
