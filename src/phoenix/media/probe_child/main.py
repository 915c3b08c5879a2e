"""Reads media files in a separate process, where a hostile file can do no harm. `probe` runs it.

Takes one JSON argument, and prints one JSON object per file.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import json
import resource
import sys
from contextlib import suppress
from typing import Any

from phoenix.media.probe_child.codecs import StatedStream, check_codec, read_layout, read_stated_streams
from phoenix.media.probe_child.completeness import check_whole
from phoenix.media.probe_child.description import describe
from phoenix.media.probe_child.limits import Limits, UnreadableFile
from phoenix.media.probe_child.pictures import read_picture
from phoenix.media.probe_child.stream_times import read_times
from phoenix.media.probe_child.streams import StreamStats, check_headers, choose_streams

# An index is spread over a file in small parts, so a large read is mostly in vain.
_READ_BYTES = 4096
# libavformat guesses missing properties of a stream from its beginning.
_GUESSED_FROM_BYTES = 1_000_000


def main() -> None:
    request = json.loads(sys.argv[1])
    confine(request.pop("resources"))
    files = request.pop("files")
    limits = Limits(**request)
    for path, demuxer in files:
        print(json.dumps(probe_file(path, demuxer, limits)), flush=True)  # noqa: T201


def confine(resources: dict[str, int]) -> None:
    """Limits what this process may use, by the names of `setrlimit` without RLIMIT_."""
    for name, value in resources.items():
        # Some systems refuse a limit on the address space; the time limit of the parent still applies.
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def probe_file(path: str, demuxer: str | None, limits: Limits) -> dict[str, Any]:
    try:
        return read_picture(path, limits) if demuxer is None else read_streams(path, demuxer, limits)
    except UnreadableFile as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "it takes too much memory to read"}
    except ImportError:
        # The parent reports that a library is missing.
        raise
    # PyAV derives some of its errors only from `Exception`. Their texts name the path of the file here, and their types
    # say nothing to the client that sent the file.
    except Exception:  # noqa: BLE001
        return {"error": "it is damaged or not what it says it is"}


def read_streams(path: str, demuxer: str, limits: Limits) -> dict[str, Any]:
    import av  # noqa: PLC0415 - imported only for sounds and videos

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(limits.demuxers),
        "blocksize": str(_READ_BYTES),
        "probesize": str(_GUESSED_FROM_BYTES),
    }
    with av.open(f"file:{path}", format=demuxer, options=options, metadata_errors="replace") as container:
        if len(container.streams) > limits.max_streams:
            raise UnreadableFile(f"it has {len(container.streams)} streams; at most {limits.max_streams} are read")
        video, audio = choose_streams(container)
        stated = read_stated_streams(container)
        for stream in (video, audio):
            if stream is not None:
                check_codec(path, stream, stated.get(stream.index, StatedStream()))
        layout = None if audio is None else read_layout(audio, stated.get(audio.index, StatedStream()))
        check_headers(container, video, audio, limits)
        stats = [StreamStats(stream) for stream in (video, audio) if stream is not None]
        for stream_stats in stats:
            stream_stats.stream.thread_count = 1
        read_times(path, demuxer, container, stats, limits)
        check_whole(path, demuxer, container, stats)
        return describe(container, video, audio, stats, layout)
