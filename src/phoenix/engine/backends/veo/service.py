"""Wraps the google-genai SDK: starts an operation, polls it, translates the outcome, and limits the response size."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from google import genai
from google.genai import types

from phoenix.engine.backends.veo.errors import (
    OperationUnusable,
    ResponseLost,
    ResponseTooLarge,
    describe_failure,
    moderated,
    translate_upstream_errors,
)
from phoenix.engine.backends.veo.request import VeoRequest
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.settings import VeoSettings

OVERHEAD_BYTES = 1_000_000
"""Allowance for the parts of a response that are no video."""


@dataclass(frozen=True)
class OperationResult:
    """The outcome of an operation that ended: an MP4, or the failure."""

    outcome: bytes | TaskFailed


class VeoService:
    """The Veo service. Thread-safe. Sends each request once; the caller retries.

    Uses the Agent Platform (formerly Vertex AI), with an API key or with the credentials of a project: version 3 of
    the SDK makes no videos through the Gemini Developer API. The service cannot cancel an operation.
    """

    def __init__(self, settings: VeoSettings) -> None:
        # An explicit httpx client, because the default of the SDK may be httpx2, which raises other errors.
        self._http = httpx.Client(
            transport=CappedTransport(max_video_bytes=settings.max_video_bytes), timeout=settings.request_timeout_s
        )
        self._max_video_bytes = settings.max_video_bytes
        key = settings.api_key.get_secret_value() if settings.api_key else None
        self._client = genai.Client(
            vertexai=True,
            api_key=key,
            project=None if key else settings.project,
            location=None if key else settings.location,
            http_options=types.HttpOptions(
                base_url=settings.base_url,
                httpx_client=self._http,
                timeout=round(settings.request_timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    def start_operation(self, request: VeoRequest) -> str:
        """Sends a request, which is billed.

        Returns the name of the operation. Raises `UpstreamError` or `TaskFailed`.
        """
        with translate_upstream_errors():
            operation = self._client.models.generate_videos(
                model=request.model, source=_source(request), config=_config(request)
            )
        if not operation.name:
            raise ResponseLost("Veo accepted the clip without naming an operation")
        return operation.name

    def find_result(self, operation: str) -> OperationResult | None:
        """Returns the outcome of the operation; None while it is running. Raises `UpstreamError` or `TaskFailed`."""
        query = types.GenerateVideosOperation.model_validate({"name": operation})
        try:
            with translate_upstream_errors():
                found = self._client.operations.get(query)
        except TaskFailed as failed:
            raise _unusable_if_unknown(failed) from failed.__cause__
        if not found.done:
            return None
        if found.error:
            return OperationResult(describe_failure(found.error))
        return OperationResult(self._read(found.response or types.GenerateVideosResponse()))

    def close(self) -> None:
        self._client.close()
        self._http.close()

    def _read(self, response: types.GenerateVideosResponse) -> bytes | TaskFailed:
        video = next((made.video for made in response.generated_videos or () if made.video), None)
        if video is None:
            if response.rai_media_filtered_count or response.rai_media_filtered_reasons:
                return moderated("; ".join(response.rai_media_filtered_reasons or ()) or "no reason given")
            return _unusable("Veo made no video, and gave no reason")
        if not video.video_bytes:
            return _unusable(f"Veo left the video at {video.uri or 'an unknown place'} instead of sending it")
        if len(video.video_bytes) > self._max_video_bytes:
            return _unusable(f"Veo's video has {len(video.video_bytes)} bytes, more than {self._max_video_bytes}")
        return video.video_bytes


def _source(request: VeoRequest) -> types.GenerateVideosSource:
    image = types.Image(image_bytes=request.jpeg, mime_type="image/jpeg") if request.jpeg else None
    return types.GenerateVideosSource(prompt=request.prompt, image=image)


def _config(request: VeoRequest) -> types.GenerateVideosConfig:
    return types.GenerateVideosConfig(
        number_of_videos=1,
        duration_seconds=request.duration_s,
        aspect_ratio=request.aspect_ratio,
        resolution=request.resolution,
        seed=request.seed,
        negative_prompt=request.negative_prompt,
        generate_audio=request.generate_audio,
        person_generation=request.person_generation,
    )


def _unusable_if_unknown(failed: TaskFailed) -> TaskFailed:
    """Returns `OperationUnusable` for a 404: the operation has expired. Returns other failures unchanged."""
    if isinstance(failed, OperationUnusable) or getattr(failed.__cause__, "code", None) != 404:
        return failed
    return OperationUnusable(FailureCode.ENGINE_FAILED, failed.detail, stage=Stage.DENOISE, retriable=True)


def _unusable(detail: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE)


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
