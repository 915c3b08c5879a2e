"""Wraps the google-genai SDK: starts an operation, polls it, translates the errors, and limits the response size."""

from collections.abc import Iterator
from functools import cached_property

import httpx
from google.genai import Client, types

from phoenix.engine.backends.veo.errors import (
    OperationUnusable,
    ResponseLost,
    ResponseTooLarge,
    status_of,
    translate_upstream_errors,
)
from phoenix.engine.backends.veo.interactions import find_interaction, start_interaction
from phoenix.engine.backends.veo.outcome import OperationResult
from phoenix.engine.backends.veo.request import VeoRequest
from phoenix.engine.backends.veo.videos import find_operation, start_operation
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import VeoSettings

OVERHEAD_BYTES = 1_000_000
"""Allowance for the parts of a response that are no video."""

LOCATION_OF_INTERACTIONS = "global"
"""Google serves Gemini Omni from this location of a project, and Veo from regions."""


class VeoService:
    """The service of Veo and of Gemini Omni. Thread-safe. Sends each request once; the caller retries.

    Uses the Agent Platform (formerly Vertex AI), with an API key or with the credentials of a project: version 3 of
    the SDK makes no videos with Veo through the Gemini Developer API. The service cannot cancel an operation of Veo.
    """

    def __init__(self, settings: VeoSettings) -> None:
        # An explicit httpx client, because the default of the SDK may be httpx2, which raises other errors.
        self._http = httpx.Client(
            transport=CappedTransport(max_video_bytes=settings.max_video_bytes), timeout=settings.request_timeout_s
        )
        self._settings = settings
        self._videos = self._open_client(settings.location)

    def start_operation(self, request: VeoRequest) -> str:
        """Sends a request, which is billed.

        Returns the name of the operation. Raises `UpstreamError` or `TaskFailed`.
        """
        with translate_upstream_errors():
            if request.api == "interactions":
                name = start_interaction(self._interactions, request)
            else:
                name = start_operation(self._videos, request)
        if not name:
            raise ResponseLost("Google accepted the clip without naming an operation")
        return name

    def find_result(self, request: VeoRequest, operation: str) -> OperationResult | None:
        """Returns the outcome of the operation; None while it is running. Raises `UpstreamError` or `TaskFailed`."""
        limit = self._settings.max_video_bytes
        try:
            with translate_upstream_errors():
                if request.api == "interactions":
                    return find_interaction(self._interactions, operation, max_video_bytes=limit)
                return find_operation(self._videos, operation, max_video_bytes=limit)
        except TaskFailed as failed:
            raise _unusable_if_unknown(failed) from failed.__cause__

    def close(self) -> None:
        self._videos.close()
        self._http.close()

    @cached_property
    def _interactions(self) -> Client:
        return self._open_client(LOCATION_OF_INTERACTIONS)

    def _open_client(self, location: str) -> Client:
        settings = self._settings
        key = settings.api_key.get_secret_value() if settings.api_key else None
        return Client(
            vertexai=True,
            api_key=key,
            project=None if key else settings.project,
            location=None if key else location,
            http_options=types.HttpOptions(
                base_url=settings.base_url,
                httpx_client=self._http,
                timeout=round(settings.request_timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )


def _unusable_if_unknown(failed: TaskFailed) -> TaskFailed:
    """Returns `OperationUnusable` for a 404: the operation has expired. Returns other failures unchanged."""
    if isinstance(failed, OperationUnusable) or failed.__cause__ is None or status_of(failed.__cause__) != 404:
        return failed
    return OperationUnusable(FailureCode.ENGINE_FAILED, failed.detail, stage=Stage.DENOISE, retriable=True)


class CappedTransport(httpx.HTTPTransport):
    """Limits the size of responses, which have videos of at most `max_video_bytes` in base64.

    Raises `ResponseTooLarge`.
    """

    def __init__(self, *, max_video_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_video_bytes * 4 // 3 + OVERHEAD_BYTES

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Capped(response.stream, self._max_bytes)
        return response


class _Capped(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        size_bytes = 0
        for chunk in self._stream:
            size_bytes += len(chunk)
            if size_bytes > self._max_bytes:
                raise ResponseTooLarge(f"is larger than {self._max_bytes} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()
