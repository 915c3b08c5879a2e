"""Command lines that encode frames to a clip, join clips to a reel, and make a poster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from phoenix.media.commands.colour import BT709_TAGS_OF_H264, for_jpeg, input_options, pin_bt709, read, scale_to_bt709
from phoenix.media.commands.graph import (
    KEEP_TIME,
    Stream,
    combine,
    file_url,
    open_file,
    open_pipe,
    open_stream,
    since,
    write_file,
)
from phoenix.media.commands.h264 import Encoding, h264_options
from phoenix.media.commands.sound import AAC, SAMPLE_FORMAT
from phoenix.media.stored_colour import BT709, StoredColour
from phoenix.media.timeline import SAMPLE_RATE_HZ, Picture, SourceStream

# Without dates, versions and encoder settings in the file, the same frames give the same bytes: a clip that is
# rendered again after a crash has an equal checksum.
_REPRODUCIBLE = {"fflags": "+bitexact", "flags:v": "+bitexact", "map_metadata": -1}
_MP4 = {"f": "mp4", "movflags": "+faststart"}
# Frames may take longer than sound. Packets then wait for each other, so that their order is always the same.
_IN_ORDER = {"max_interleave_delta": 0}


@dataclass(frozen=True)
class Resampling:
    """Another frame rate for the result, and how many frames it then has. It is as long as before."""

    fps: Fraction
    num_frames: int
    with_motion: bool = False
    """Whether frames are made between others, from the motion in the picture. Without, frames are repeated."""


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `end` (exclusive) of a picture, at the frame rate of the result."""

    source: SourceStream
    start: int
    end: int
    colour: StoredColour = BT709

    @property
    def num_frames(self) -> int:
        return self.end - self.start


def encode_frames(
    picture: Picture,
    encoding: Encoding,
    output: Path,
    sound: Stream | None = None,
    resampling: Resampling | None = None,
) -> list[str]:
    """Returns the command that encodes raw rgb24 frames on standard input to an H.264 MP4, with `sound` as AAC."""
    size = f"{picture.width}x{picture.height}"
    frames = open_pipe(format="rawvideo", pix_fmt="rgb24", s=size, framerate=picture.fps_text)
    colour = StoredColour(is_rgb=True)
    frames = scale_to_bt709(read(frames, colour), colour, "iw", "ih")
    if resampling is not None:
        frames = _resample(frames, resampling)
        frames = frames.filter("tpad", stop=resampling.num_frames, stop_mode="clone")
        frames = frames.filter("trim", end_frame=resampling.num_frames)
    if sound is None:
        return write_file([frames], output, _h264(encoding, picture))
    return write_file([frames, sound], output, {**_h264(encoding, picture), **AAC, "flags:a": "+bitexact", **_IN_ORDER})


def _resample(frames: Stream, resampling: Resampling) -> Stream:
    fps = f"{resampling.fps.numerator}/{resampling.fps.denominator}"
    if not resampling.with_motion:
        return frames.filter("fps", fps, start_time=0)
    # This filter makes no frame after the last but one of its input, and none at all of fewer than three frames.
    frames = frames.filter("tpad", stop=3, stop_mode="clone")
    return pin_bt709(frames.filter("minterpolate", fps=fps, mi_mode="mci", mc_mode="aobmc", me_mode="bidir"))


def join_copy(concat_list: Path, index: int, output: Path, *, add_tags: bool = False) -> list[str]:
    """Returns the command that copies the pictures of the files of a concat list to one MP4.

    Their encodings have to match exactly. In each file, the picture is the stream at `index`. `add_tags` writes the
    tags of BT.709 into H.264 that states no colours.
    """
    joined = open_file(concat_list, demuxers=("concat", "mov"), format="concat", safe=0)
    tags = {"bsf:v": BT709_TAGS_OF_H264} if add_tags else {}
    return write_file([joined[str(index)]], output, {"c": "copy", **tags, **_REPRODUCIBLE, **_MP4})


def concat_list_text(files: Sequence[tuple[Path, float]]) -> str:
    """Returns the concat list for `join_copy`: files and their lengths in seconds, quoted for the concat demuxer.

    Without a length, the demuxer reads the header of the file, which is rounded to a millisecond, and the next clip
    would not begin on a frame. Raises `ValueError` for a line break in a name, which the format cannot express.
    """
    if any("\n" in str(path) for path, _ in files):
        raise ValueError("a file has a line break in its name, and cannot be joined")
    return "".join(f"file '{_quote(file_url(path))}'\nduration {duration_s:.6f}\n" for path, duration_s in files)


def join_segments(
    segments: Sequence[Segment], overlaps: Sequence[int], picture: Picture, encoding: Encoding, output: Path
) -> list[str]:
    """Returns the command that converts segments to one size and frame rate, and crossfades them to one MP4.

    `overlaps[i]` (at least 1) is the number of frames that segment i shares with segment i + 1.
    """
    joined = _join(segments, overlaps, picture)
    return write_file([pin_bt709(joined)], output, {**_h264(encoding, picture), **KEEP_TIME})


@dataclass(frozen=True)
class FragmentTimes:
    """Where fragments are on the timeline of a playlist.

    Of the packets that the AAC encoder makes of the sound, those from `first_packet` to `end_packet` (exclusive) are
    kept: the others let it hear what comes before and after.
    """

    first_frame: int
    frames_per_fragment: int
    first_sample: int
    first_packet: int
    end_packet: int


def encode_fragments(
    segments: Sequence[Segment],
    overlaps: Sequence[int],
    picture: Picture,
    encoding: Encoding,
    sound: Path,
    times: FragmentTimes,
    output: Path,
) -> list[str]:
    """Returns the command that encodes joined segments, and raw samples at `sound`, to a fragmented MP4.

    `overlaps` may be 0, for a cut. The result is one header, and a fragment per `frames_per_fragment` frames, with time
    stamps of the playlist. Its header depends on `picture` alone, so that all parts of a reel can share one.
    """
    joined = pin_bt709(_join(segments, overlaps, picture, first_frame=times.first_frame))
    raw = open_file(
        sound, index=len(segments), demuxers=(SAMPLE_FORMAT,), format=SAMPLE_FORMAT, ar=SAMPLE_RATE_HZ, ac=2
    )
    heard = raw["a:0"].filter("asetpts", f"N+{times.first_sample}")
    options = {
        # On the processor in every worker: the parts of a reel are made by several, and need equal headers.
        **h264_options(replace(encoding, encoder="libx264"), picture.width, picture.height),
        **_REPRODUCIBLE,
        "flags:a": "+bitexact",
        "profile:v": "high",
        # ffmpeg shifts the picture of a fragmented file with B-frames by their delay.
        "bf": 0,
        "g": times.frames_per_fragment,
        "sc_threshold": 0,
        **AAC,
        "bsf:a": f"noise=drop='lt(n,{times.first_packet})+gte(n,{times.end_packet})'",
        "f": "mp4",
        # `frag_discont` writes absolute times, and only in company of `negative_cts_offsets`.
        "movflags": "+frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets+skip_trailer+frag_discont",
        **_IN_ORDER,
        **KEEP_TIME,
    }
    return write_file([joined, heard], output, options)


def poster(source: SourceStream, colour: StoredColour, at_s: float, width_px: int, output: Path) -> list[str]:
    """Returns the command that writes one frame of a picture as a JPEG, at most `width_px` wide.

    `at_s` counts from the start of the file.
    """
    frame = read(open_stream(source, ss=f"{at_s:.3f}", **input_options(colour)), colour)
    frame = for_jpeg(scale_to_bt709(frame, colour, f"min({width_px},iw)", -2))
    options = {"f": "image2", "update": 1, "frames:v": 1, "q:v": 4, "pix_fmt": "yuvj420p", **_REPRODUCIBLE}
    return write_file([frame], output, options)


def still(source: SourceStream, colour: StoredColour, index: int, output: Path) -> list[str]:
    """Returns the command that writes frame `index` (from 0) of a picture as a PNG, in full size."""
    frame = read(open_stream(source, **input_options(colour)), colour).filter("select", f"eq(n,{index})")
    frame = scale_to_bt709(frame, colour, "trunc(iw*sar/2)*2", "trunc(ih/2)*2").filter("format", "rgb24")
    options = {"f": "image2", "update": 1, "frames:v": 1, "c:v": "png", **_REPRODUCIBLE}
    return write_file([frame], output, options)


def decode_frames(segment: Segment, picture: Picture, output: Path) -> list[str]:
    """Returns the command that writes a segment as raw rgb24 frames, cropped around the middle to fill `picture`."""
    width, height = picture.width, picture.height
    frames = _at_rate(segment, 0, picture)
    frames = scale_to_bt709(frames, segment.colour, width, height, force_original_aspect_ratio="increase")
    frames = frames.filter("crop", width, height).filter("format", "rgb24")
    options = {"f": "rawvideo", "pix_fmt": "rgb24", "frames:v": segment.num_frames, **KEEP_TIME}
    return write_file([frames], output, options)


def _join(segments: Sequence[Segment], overlaps: Sequence[int], picture: Picture, *, first_frame: int = 0) -> Stream:
    joined = _conform(segments[0], 0, picture, first_frame=first_frame)
    total = segments[0].num_frames
    for index, (segment, overlap) in enumerate(zip(segments[1:], overlaps, strict=True), start=1):
        incoming = _conform(segment, index, picture)
        if overlap == 0:
            joined = combine([joined, incoming], "concat", n=2, v=1, a=0)
        else:
            joined = combine(
                [joined, incoming],
                "xfade",
                transition="fade",
                duration=_seconds(overlap, picture.fps),
                offset=_seconds(total - overlap, picture.fps),
            )
        total += segment.num_frames - overlap
    return joined


def _conform(segment: Segment, index: int, picture: Picture, *, first_frame: int = 0) -> Stream:
    """Converts a segment to exactly `num_frames` frames of `picture`, with bars if the aspect ratio differs.

    `first_frame`: the number of its first frame on the timeline of the result.
    """
    width, height = picture.width, picture.height
    frames = _at_rate(segment, index, picture, first_frame=first_frame)
    frames = scale_to_bt709(frames, segment.colour, width, height, force_original_aspect_ratio="decrease")
    return frames.filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2").filter("setsar", 1)


def _at_rate(segment: Segment, index: int, picture: Picture, *, first_frame: int = 0) -> Stream:
    """Returns exactly `num_frames` frames at the rate of `picture`, with square pixels, before `scale_to_bt709`."""
    begin_s = float(first_frame / picture.fps)
    first_s = segment.source.zero_s + float(segment.start / picture.fps) - begin_s
    frames = open_stream(segment.source, index=index, **input_options(segment.colour))
    return (
        read(frames, segment.colour)
        .filter("setpts", since(first_s))
        # The first frame is shown from the start of the file on, also if its picture begins later than its sound.
        # No `setpts` may follow: ffmpeg 7.0 then forgets the frame rate, which `xfade` needs.
        .filter("fps", picture.fps_text, start_time=begin_s)
        # Rounding to another frame rate can lose the last frames, and a last frame may be shown for long: repeat it,
        # then cut to the number that the crossfades were planned with.
        .filter("tpad", stop=segment.num_frames, stop_mode="clone")
        .filter("trim", end_frame=segment.num_frames)
        .filter("scale", "iw*sar", "ih")
    )


def _h264(encoding: Encoding, picture: Picture) -> dict[str, Any]:
    return {**h264_options(encoding, picture.width, picture.height), **_REPRODUCIBLE, **_MP4}


def _seconds(frames: int, fps: Fraction) -> str:
    return f"{float(frames / fps):.6f}"


def _quote(text: str) -> str:
    return text.replace("'", r"'\''")
