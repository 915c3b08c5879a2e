"""An httpx transport that bounds the size of responses: videos come inside them, in base64."""

from collections.abc import Iterator

import httpx

OVERHEAD_BYTES = 1_000_000


class ResponseTooLarge(Exception):
    """answer is larger than it may be."""


class CappedTransport(httpx.HTTPTransport):
    """Aborts a response that is larger than a video of `max_video_bytes` can make it."""

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
                raise ResponseTooLarge(f"answer is larger than {self._max_bytes} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()
