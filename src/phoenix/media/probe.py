"""Probes media files in a child process with limits, and refuses unusable files."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phoenix.child_processes import ResourceLimits, tied
from phoenix.contract import MediaInfo
from phoenix.errors import PhoenixError, install_extra
from phoenix.media.errors import UnreadableMedia
from phoenix.media.sniff import DEMUXERS, HEAD_BYTES, MediaFormat, find_format, name_other_kind
from phoenix.media.stored_colour import StoredColour
from phoenix.media.timeline import Timeline, parse_timeline
from phoenix.settings import Settings

# Isolated Python does not look for modules in the folder or the environment of the caller.
_CHILD = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
    "from phoenix.media.probe_child.main import main; main()"
)
# One child reads several files: starting Python and loading the decoders takes longer than reading a clip.
_FILES_PER_CHILD = 50
# A busy machine may need as many seconds for one second of processor time. A file that keeps the decoders busy reaches
# the limit on that time first, so to reach this one is no fault of a file.
_WALL_S_PER_CPU_S = 6
_MEMORY_BYTES = 2 * 1024**3
_OPEN_FILES = 128
# The child parses files of strangers, so it inherits no secrets.
_PASSED_ENVIRONMENT = ("LD_LIBRARY_PATH", "LANG", "LC_ALL")
_SUBTYPES = {
    "mp3": "mpeg",
    "mov": "quicktime",
    "matroska": "x-matroska",
    "avi": "x-msvideo",
    "amr": "AMR",
}


@dataclass(frozen=True)
class ProbeLimits:
    """Limits for probed files. `max_pixels` is for still pictures, `max_frame_pixels` for the pictures of a video."""

    max_duration_s: float = 3600
    max_pixels: int = 67_108_864
    max_frame_pixels: int = 33_177_600
    max_streams: int = 16
    timeout_s: float = 10
    """Of processor time, for each file."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "ProbeLimits":
        return cls(
            max_duration_s=settings.limits.max_upload_duration_s,
            max_pixels=settings.limits.max_upload_pixels,
            max_frame_pixels=settings.limits.max_upload_frame_pixels,
            timeout_s=settings.media.probe_timeout_s,
        )


@dataclass(frozen=True)
class ProbedFile:
    """The contents of a file.

    Videos with equal fingerprints can be joined without re-encoding, except if it is None. Only videos have a colour.
    """

    info: MediaInfo
    timeline: Timeline
    fingerprint: str | None = None
    colour: StoredColour | None = None


def probe_media(path: Path, limits: ProbeLimits) -> MediaInfo:
    """Returns the contents of a file. Raises `UnreadableMedia`, and `PhoenixError` if the machine is too busy.

    Takes up to `limits.timeout_s` of processor time, and blocks for up to six times as long.
    Reads the index of the file, or every packet if there is none, and decodes the first packets of each stream.
    """
    return probe_files([path], limits)[0].info


def probe_files(paths: Sequence[Path], limits: ProbeLimits) -> list[ProbedFile]:
    """Returns the contents of many files. Raises `UnreadableMedia` with the index of the first unusable file."""
    found: list[ProbedFile] = []
    for start in range(0, len(paths), _FILES_PER_CHILD):
        chunk = paths[start : start + _FILES_PER_CHILD]
        try:
            found += _probe_chunk(chunk, limits)
        except UnreadableMedia as error:
            raise UnreadableMedia(error.detail, index=start + error.index) from None
    return found


def media_type_of(info: MediaInfo) -> str:
    """Returns the media type of a probed file: `audio/mpeg`, `video/mp4`, `image/png`."""
    return f"{info.media}/{_SUBTYPES.get(info.format, info.format)}"


def _probe_chunk(paths: Sequence[Path], limits: ProbeLimits) -> list[ProbedFile]:
    media_formats = [_sniff(path, index) for index, path in enumerate(paths)]
    responses = _query_child(paths, media_formats, limits)
    for index in range(len(paths)):
        if index >= len(responses):
            # The child crashed, or ran out of processor time or memory, which happens with no valid file.
            raise UnreadableMedia("it cannot be read within the limits", index=index)
        if "error" in responses[index]:
            raise UnreadableMedia(responses[index]["error"], index=index)
    found = [
        _parse_response(media_format, response) for media_format, response in zip(media_formats, responses, strict=True)
    ]
    for index, file in enumerate(found):
        if file.colour is not None and (name := file.colour.unconvertible):
            raise UnreadableMedia(f"its colours are stored as {name}, which cannot be converted here", index=index)
    return found


def _sniff(path: Path, index: int) -> MediaFormat:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise UnreadableMedia("it is empty", index=index)
    media_format = find_format(head)
    if media_format is None:
        kind = name_other_kind(head) or "not a sound, picture or video of a known format"
        raise UnreadableMedia(f"it is {kind}", index=index)
    return media_format


def _query_child(
    paths: Sequence[Path], media_formats: Sequence[MediaFormat], limits: ProbeLimits
) -> list[dict[str, Any]]:
    """Returns one response per file, in order; fewer if the child ended early."""
    timeout_s = limits.timeout_s * len(paths)
    resources = ResourceLimits(_MEMORY_BYTES, file_bytes=0, cpu_s=timeout_s, open_files=_OPEN_FILES)
    request = {
        # The child has one thread, so that even its address space may be limited.
        "resources": {**resources.by_name, "AS": _MEMORY_BYTES},
        "files": [
            (str(path.absolute()), media_format.demuxer)
            for path, media_format in zip(paths, media_formats, strict=True)
        ],
        "max_duration_s": limits.max_duration_s,
        "max_pixels": limits.max_pixels,
        "max_frame_pixels": limits.max_frame_pixels,
        "max_streams": limits.max_streams,
        "demuxers": DEMUXERS,
    }
    output = _run_child(json.dumps(request), _WALL_S_PER_CPU_S * timeout_s)
    if not output and find_spec("av") is None:
        raise PhoenixError(f"media cannot be probed here: {install_extra('media')}")
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]


def _run_child(request: str, timeout_s: float) -> bytes:
    """Returns the output of the child. Raises `PhoenixError` at the time limit."""
    try:
        done = subprocess.run(  # noqa: S603 - an argument list, no shell
            tied([sys.executable, "-I", "-c", _CHILD, request]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={name: os.environ[name] for name in _PASSED_ENVIRONMENT if name in os.environ},
        )
    except subprocess.TimeoutExpired as late:
        raise PhoenixError("the machine is too busy to read the file") from late
    return done.stdout


def _parse_response(media_format: MediaFormat, response: dict[str, Any]) -> ProbedFile:
    fingerprint, found = response.pop("fingerprint", None), response.pop("timeline", None)
    if found is None:
        return ProbedFile(MediaInfo(format=media_format.name, **response), Timeline())
    timeline = parse_timeline(found)
    colour = StoredColour(**response.pop("colour")) if "colour" in response else None
    info = MediaInfo(
        format=media_format.name,
        duration_s=_rounded(timeline.duration_s),
        video_duration_s=_rounded(timeline.picture_s),
        audio_duration_s=_rounded(timeline.sound_s),
        **response,
    )
    return ProbedFile(info, timeline, fingerprint, colour)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
