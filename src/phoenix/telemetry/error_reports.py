"""Reports of unexpected errors to Sentry, if `SENTRY_DSN` is set and its SDK is installed."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from phoenix import __version__
from phoenix.errors import install_extra
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_ABOUT_REQUESTS = ("query_string", "cookies", "headers", "data", "env")


def report_errors(
    process: str, environment: Mapping[str, str] = os.environ, *, transport: Callable[..., Any] | None = None
) -> bool:
    """Sends what is logged as an error to Sentry from now on. Returns whether it does. Call once per process.

    `SENTRY_ENVIRONMENT`, `SENTRY_RELEASE` and others work as documented there. `transport` is for tests.
    """
    if not environment.get("SENTRY_DSN"):
        return False
    try:
        import sentry_sdk  # noqa: PLC0415
    except ImportError:
        _logger.warning("errors are not reported: the SDK of Sentry is missing", remedy=install_extra("sentry"))
        return False
    sentry_sdk.init(
        dsn=environment["SENTRY_DSN"],
        release=environment.get("SENTRY_RELEASE") or f"phoenix@{__version__}",
        environment=environment.get("SENTRY_ENVIRONMENT"),
        # Local variables have prompts and secrets. What identifies people is left out by default.
        include_local_variables=False,
        max_request_body_size="never",
        before_send=without_secrets,
        transport=transport,
    )
    sentry_sdk.set_tag("process", process)
    return True


def without_secrets(event: Any, _hint: Any) -> Any:
    """The event without the parts of a request that may have a key, a token or a prompt."""
    request = event.get("request")
    if request:
        for name in _ABOUT_REQUESTS:
            request.pop(name, None)
        request["url"] = str(request.get("url", "")).partition("?")[0]
    return event
