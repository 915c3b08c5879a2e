"""The pictures of a request for a video: the file of a form, base64 in JSON, or URLs, which are fetched here."""

import asyncio
import base64
import binascii
import hashlib
import re
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import UploadFile

from phoenix.api.dependencies import TakeSlot
from phoenix.api.http.multipart import ReceivedFile, clean_filename
from phoenix.api.lifespan import AppState
from phoenix.api.uploads import ProbedUpload, probe_upload
from phoenix.contract import MediaInfo, VideoRequest
from phoenix.errors import FieldError, InvalidRequest, TaskFailed
from phoenix.ids import ArtifactId, new_artifact_id
from phoenix.media.fetch import fetch_file
from phoenix.media.ssrf import EgressPolicy

FILE_FIELD = "input_reference"
"""The field of the file in a form, and of the first frame in JSON."""

_SHORTEST_CUT = 4096
"""Characters of base64. A shorter picture stays in the JSON; no other text may be so long."""
_DATA_IN_JSON = re.compile(rb'"data:[a-zA-Z0-9.+/\\-]{0,100};base64,([A-Za-z0-9+/=\\]{%d,})"' % _SHORTEST_CUT)
_DATA = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,(.*)", re.DOTALL)
_CUT = re.compile(r"cut:([0-9]{1,6})")


@dataclass(frozen=True)
class CutBody:
    """A JSON body without its long base64, each in place of which stands its number."""

    json: bytes
    pictures: Sequence[bytes]


def cut_pictures(body: bytes) -> CutBody:
    """Takes the pictures out before the JSON is parsed: the rest is small, and its objects can be counted."""
    found: list[bytes] = []

    def cut(match: re.Match[bytes]) -> bytes:
        found.append(match[1])
        return b'"cut:%d"' % (len(found) - 1)

    return CutBody(_DATA_IN_JSON.sub(cut, body), found)


@dataclass(frozen=True)
class SentPicture:
    """A picture or a video as it was sent: an open file, its bytes, or the URL where it is.

    `place` is its field, as a pointer. The content is None if its base64 cannot be read.
    """

    place: str
    content: UploadFile | bytes | str | None


def list_pictures(video: VideoRequest | None, file: UploadFile | None, cut: Sequence[bytes]) -> list[SentPicture]:
    """The pictures that have to be stored: the file of the form, and what the URLs of the request name.

    Raises `InvalidRequest` if the body has a picture somewhere else.
    """
    sent = [SentPicture(f"/{FILE_FIELD}", file)] if file else []
    if video is None:
        return sent
    urls = {f"/frame_images/{index}": each.image_url.url for index, each in enumerate(video.frame_images or ())}
    urls |= {
        f"/input_references/{index}": each.image_url.url for index, each in enumerate(video.input_references or ())
    }
    if video.input_reference and video.input_reference.image_url:
        urls[f"/{FILE_FIELD}"] = video.input_reference.image_url
    if sum(_CUT.fullmatch(url) is not None for url in urls.values()) < len(cut):
        detail = "base64 of a picture belongs in frame_images, input_references or input_reference"
        raise InvalidRequest.from_field_errors([FieldError("#", detail)])
    return [*sent, *(SentPicture(place, _read_url(url, cut)) for place, url in urls.items())]


def _read_url(url: str, cut: Sequence[bytes]) -> bytes | str | None:
    if match := _CUT.fullmatch(url):
        return _decode(cut[int(match[1])]) if int(match[1]) < len(cut) else None
    match = _DATA.fullmatch(url)
    return _decode(match[1].encode(errors="replace")) if match else url


def _decode(encoded: bytes) -> bytes | None:
    try:
        return base64.b64decode(encoded.replace(b"\\/", b"/"), validate=True)
    except binascii.Error:
        return None


@dataclass(frozen=True)
class ReceivedPicture:
    """A picture on disk, and the id that it gets as an artifact. `info` is None if it is none; the errors say why."""

    place: str
    artifact_id: ArtifactId = field(default_factory=new_artifact_id)
    file: ReceivedFile | None = None
    info: MediaInfo | None = None
    sha256: str | None = None
    """In hexadecimal, of a picture that the request has in it. The URL of any other one says which it is."""
    field_errors: Sequence[FieldError] = ()

    def as_upload(self) -> ProbedUpload:
        """The upload of a picture without errors."""
        assert self.file is not None
        assert self.info is not None
        return ProbedUpload(self.artifact_id, self.file, self.info, self.file.path.stat().st_size)


@asynccontextmanager
async def receive_pictures(
    state: AppState, sent: Sequence[SentPicture], take_slot: TakeSlot
) -> AsyncGenerator[Sequence[ReceivedPicture]]:
    """The pictures as files until the block ends. Raises `TooManyTransfers` if there are any, and no slot."""
    if not sent:
        yield ()
        return
    await take_slot()
    ends_at = asyncio.get_running_loop().time() + state.services.settings.media.fetch_timeout_s
    with TemporaryDirectory(prefix="phoenix-upload-", ignore_cleanup_errors=True) as folder:
        yield [
            await _receive(state, picture, Path(folder) / f"picture-{number}", ends_at)
            for number, picture in enumerate(sent)
        ]


async def _receive(state: AppState, sent: SentPicture, path: Path, ends_at: float) -> ReceivedPicture:
    artifact_id = new_artifact_id()
    if sent.content is None:
        error = FieldError(sent.place, "This data URL is no base64; send `data:image/png;base64,` and the picture.")
        return ReceivedPicture(sent.place, artifact_id, field_errors=[error])
    try:
        if isinstance(sent.content, str):
            sha256, name = None, clean_filename(sent.content.partition("?")[0])
            await _fetch(state, sent.place, sent.content, path, ends_at)
        else:
            sha256 = await asyncio.to_thread(_save, sent.content, path)
            name = clean_filename(sent.content.filename) if isinstance(sent.content, UploadFile) else None
        file = ReceivedFile(path, name)
        return ReceivedPicture(sent.place, artifact_id, file, await probe_upload(state, path), sha256)
    except InvalidRequest as refusal:
        errors = [FieldError(sent.place, error.detail) for error in refusal.field_errors]
        return ReceivedPicture(sent.place, artifact_id, field_errors=errors)


async def _fetch(state: AppState, place: str, url: str, path: Path, ends_at: float) -> None:
    settings = state.services.settings
    try:
        await fetch_file(
            url,
            path,
            policy=EgressPolicy.from_settings(settings.media),
            max_bytes=settings.limits.max_upload_bytes,
            timeout_s=max(0.0, ends_at - asyncio.get_running_loop().time()),
        )
    except TaskFailed as error:
        raise InvalidRequest.from_field_errors([FieldError(place, f"{error.detail}; send a data URL")]) from error


def _save(content: UploadFile | bytes, path: Path) -> str:
    """Writes the picture to `path` and returns its SHA-256 in hexadecimal. Blocks."""
    with path.open("wb+") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            shutil.copyfileobj(content.file, file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_upload(upload: UploadFile) -> str:
    """The SHA-256 of a file of a form, in hexadecimal. Blocks."""
    upload.file.seek(0)
    return hashlib.file_digest(upload.file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def artifact_ids_of(pictures: Sequence[ReceivedPicture]) -> Mapping[str, str]:
    """The artifact ids of pictures by their places."""
    return {picture.place: picture.artifact_id for picture in pictures}
