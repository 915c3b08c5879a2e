"""Downloads a file to a `.part` file, resumes after a broken connection, and verifies the file before it renames it."""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from phoenix.client.errors import DownloadCorrupted, PhoenixProblem, PhoenixUnreachable
from phoenix.client.transport import RetryState, Transport

READ_TIMEOUT_S = 60


@dataclass(frozen=True)
class Expected:
    """Size and digest of the file, as the server reports them."""

    size_bytes: int
    sha256: str


class PartFile:
    """A partial download. It is deleted on exit unless it was accepted."""

    def __init__(self, target: Path) -> None:
        self.size_bytes = 0
        self._target = target
        self._path = target.with_name(target.name + ".part")
        self._file = self._path.open("wb")
        self._hash = hashlib.sha256()

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def accept(self, expected: Expected) -> None:
        """Renames the file to its target. Raises `DownloadCorrupted` if its size or digest is wrong."""
        if self.size_bytes != expected.size_bytes or self._hash.hexdigest() != expected.sha256:
            raise DownloadCorrupted(
                f"{self._target.name}: the {self.size_bytes} bytes received differ from the file on the server"
            )
        self._file.close()
        self._path.replace(self._target)


async def download(transport: Transport, path: str, target: Path, expected: Expected) -> None:
    """Writes the whole file to `target`, or nothing. Raises `PhoenixClientError` or `OSError`."""
    with PartFile(target) as part:
        retries = RetryState(transport.retry_policy)
        while part.size_bytes < expected.size_bytes:
            before_bytes = part.size_bytes
            failure: PhoenixProblem | PhoenixUnreachable = PhoenixUnreachable("the file ended too soon")
            try:
                await _receive(transport, path, part)
            except (PhoenixProblem, PhoenixUnreachable) as error:
                failure = error
            if part.size_bytes > before_bytes:
                retries.reset()
            if part.size_bytes < expected.size_bytes:
                await retries.wait_after(failure)
        part.accept(expected)


async def _receive(transport: Transport, path: str, part: PartFile) -> None:
    # A compressed body would not show the offset at which to resume.
    headers = {"Accept-Encoding": "identity"}
    if part.size_bytes:
        headers["Range"] = f"bytes={part.size_bytes}-"
    async with transport.stream(path, headers=headers, read_timeout_s=READ_TIMEOUT_S) as response:
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.restart()
        async for chunk in response.aiter_bytes():
            part.append(chunk)
