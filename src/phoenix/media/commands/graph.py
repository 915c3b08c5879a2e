"""Wraps ffmpeg-python. Lets ffmpeg open local files only, with demuxers that open no further files."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# ffmpeg-python is untyped; only this file uses it.

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import ffmpeg
from ffmpeg.nodes import InputNode

from phoenix.media.sniff import DEMUXERS
from phoenix.media.timeline import SourceStream

# Options of a command that reads streams by `open_stream`.
KEEP_TIME: dict[str, Any] = {"copyts": None}


class Stream(Protocol):
    """A stream of a filter graph."""

    def filter(self, name: str, /, *args: Any, **options: Any) -> "Stream": ...

    def __getitem__(self, selector: str, /) -> "Stream": ...


def file_url(path: Path) -> str:
    """Returns a `file:` URL, so that ffmpeg reads `-x.mp4` as no option, and `concat:a|b` as no protocol."""
    return f"file:{path.absolute()}"


def open_file(path: Path, *, index: int = 0, demuxers: Sequence[str] = DEMUXERS, **options: Any) -> Stream:
    """Returns an input that reads only the file at `path`.

    `index` has to differ between the inputs of one graph, because ffmpeg-python merges equal inputs, and a clip may be
    joined to itself.
    """
    kwargs = {
        "filename": file_url(path),
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(demuxers),
        **options,
    }
    return InputNode("input", args=[index], kwargs=kwargs).stream()


def open_stream(source: SourceStream, *, index: int = 0, **options: Any) -> Stream:
    """Returns one stream of a file as an input. `index` and `options` are arguments of `open_file`.

    Its time stamps are the time stamps in the file if the command has `KEEP_TIME`. Otherwise, ffmpeg shifts them by the
    start of the stream that begins first.
    """
    return open_file(source.path, index=index, **options)[str(source.index)]


def since(zero_s: float) -> str:
    """Returns the expression of time stamps that are counted from `zero_s`."""
    return f"round(PTS-{zero_s:.9f}/TB)"


def open_pipe(**options: Any) -> Stream:
    """Returns standard input as an input of the graph."""
    return InputNode("input", kwargs={"filename": "pipe:0", "protocol_whitelist": "pipe", **options}).stream()


def combine(streams: Sequence[Stream], name: str, **options: Any) -> Stream:
    """Returns the output of a filter that takes several streams."""
    return ffmpeg.filter(list(streams), name, **options)


def write_file(streams: Sequence[Stream], output: Path, options: dict[str, Any]) -> list[str]:
    """Returns arguments that write `output` without a question, and report progress on standard output."""
    return _arguments(ffmpeg.output(*streams, file_url(output), **options), log_level="warning")


def write_nothing(stream: Stream, options: dict[str, Any]) -> list[str]:
    """Returns arguments that run a graph without an output file, for the text that its filters print."""
    return _arguments(ffmpeg.output(stream, "-", f="null", **options), log_level="info")


def _arguments(output: Any, *, log_level: str) -> list[str]:
    prelude = ["-nostdin", "-hide_banner", "-nostats", "-loglevel", log_level, "-progress", "pipe:1"]
    return prelude + list(ffmpeg.get_args(output, overwrite_output=True))
