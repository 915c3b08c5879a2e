"""The times of the blocks of a Matroska file are read from their headers."""

import os
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.flashes import FlashingClip
from fixtures.media_files import MediaMaker
from phoenix.media.probe_child.matroska import Blocks, BrokenMatroska, read_blocks

# The first bytes of a Matroska file.
EBML = b"\x1a\x45\xdf\xa3\x80"


def packet_times(path: Path) -> list[list[int]]:
    with av.open(str(path)) as container:
        times: list[list[int]] = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.pts is not None:
                times[packet.stream.index].append(packet.pts)
    return times


@pytest.mark.parametrize(
    ("name", "codecs"), [("a.mkv", ("libx264", "aac")), ("a.webm", ("libvpx", "libvorbis"))], ids=["mkv", "webm"]
)
def test_each_stream_has_the_times_of_its_packets(media: MediaMaker, name: str, codecs: tuple[str, str]) -> None:
    path = FlashingClip(name, picture_from_s=0.5, codecs=codecs).write(media)

    found = read_blocks(str(path))

    shifts = [min(packets) - min(blocks) for packets, blocks in zip(packet_times(path), found.times, strict=True)]
    assert not found.is_cut
    assert [[time + shift for time in times] for times, shift in zip(found.times, shifts, strict=True)] == (
        packet_times(path)
    )


def test_a_recording_without_sizes_is_read(media: MediaMaker) -> None:
    live = media.folder / "live.mkv"
    media.ffmpeg("-i", str(media.video("a.mkv")), "-c", "copy", "-live", "1", str(live))

    assert len(read_blocks(str(live)).times[0]) == 32


def test_a_last_frame_that_is_shown_long_ends_late(media: MediaMaker) -> None:
    held = media.folder / "held.mkv"
    hold = r"setts=duration=if(eq(N\,31)\,500\,DURATION):time_base=1/1000"
    media.ffmpeg("-i", str(media.video("a.mkv")), "-c", "copy", "-bsf:v", hold, str(held))

    found = read_blocks(str(held))

    assert found.ends == [found.times[0][-1] + 500]


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_file_that_ends_before_its_stated_size_is_truncated(media: MediaMaker, fraction: float) -> None:
    cut = media.beginning_of(media.video("a.mkv"), fraction)

    assert read_blocks(str(cut)).is_cut


def test_only_headers_are_read(media: MediaMaker) -> None:
    path = media.video("a.mkv", frames=60, size="640x360", source="mandelbrot")

    before = _bytes_read()
    read_blocks(str(path))

    assert _bytes_read() - before < 0.05 * path.stat().st_size


def _bytes_read() -> int:
    """What this process has read from files so far."""
    return int(Path(f"/proc/{os.getpid()}/io").read_text().split()[1])


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_hang_or_crash(tail: bytes) -> None:
    try:
        found = read_blocks_of(EBML + tail)
    except BrokenMatroska:
        return
    assert sum(map(len, found.times)) <= len(tail)


def read_blocks_of(data: bytes) -> Blocks:
    file = os.memfd_create("a.mkv")
    try:
        os.write(file, data)
        return read_blocks(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
