"""Wraps ffmpeg-python, and decides how ffmpeg may open a file: local ones only, by demuxers that lead to no other."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# ffmpeg-python is untyped; this is the one file that touches it.

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import ffmpeg
from ffmpeg.nodes import InputNode

from phoenix.media.sniff import DEMUXERS


class Stream(Protocol):
    """A stream of a graph, to be filtered further."""

    def filter(self, name: str, /, *args: Any, **options: Any) -> "Stream": ...

    def __getitem__(self, selector: str, /) -> "Stream": ...


def file_url(path: Path) -> str:
    """An explicit `file:` URL, so that `-x.mp4` is not an option and `concat:a|b` not a protocol."""
    return f"file:{path.absolute()}"


def open_file(path: Path, *, index: int = 0, demuxers: Sequence[str] = DEMUXERS, **options: Any) -> Stream:
    """An input that can read no other file than `path`.

    `index` tells the inputs of one graph apart: ffmpeg-python merges equal ones, and a clip may be joined to itself.
    """
    kwargs = {
        "filename": file_url(path),
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(demuxers),
        **options,
    }
    return InputNode("input", args=[index], kwargs=kwargs).stream()


def open_pipe(**options: Any) -> Stream:
    """Standard input."""
    return InputNode("input", kwargs={"filename": "pipe:0", "protocol_whitelist": "pipe", **options}).stream()


def combine(streams: Sequence[Stream], name: str, **options: Any) -> Stream:
    """A filter that takes several streams."""
    return ffmpeg.filter(list(streams), name, **options)


def write_file(streams: Sequence[Stream], output: Path, options: dict[str, Any]) -> list[str]:
    """Arguments that write `output`, never ask, and report progress on standard output."""
    return _arguments(ffmpeg.output(*streams, file_url(output), **options), log_level="warning")


def write_nothing(stream: Stream) -> list[str]:
    """Arguments that run a graph only for what its filters print, at level `info`."""
    return _arguments(ffmpeg.output(stream, "-", f="null"), log_level="info")


def _arguments(output: Any, *, log_level: str) -> list[str]:
    prelude = ["-nostdin", "-hide_banner", "-nostats", "-loglevel", log_level, "-progress", "pipe:1"]
    return prelude + list(ffmpeg.get_args(output, overwrite_output=True))
