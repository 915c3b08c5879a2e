"""Gets captions into a video: draws them into its picture by libass, or adds a track that a player can switch on."""

from collections.abc import Sequence
from pathlib import Path

from phoenix.contract import MediaInfo
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.captions.cues import Cue
from phoenix.media.captions.font import CAPTION_FILTER, FONT_FOLDER, NO_LIBASS, measure_at
from phoenix.media.captions.layout import TextBox, lay_out
from phoenix.media.captions.subtitle_files import write_ass
from phoenix.media.commands import captions, video
from phoenix.media.ffmpeg import NO_CALLBACKS, FfmpegCallbacks, MediaTools, has_filter, run_ffmpeg
from phoenix.media.reel.join import probe_parts

_SMALLEST_PX = 8


def burn_captions(
    source: Path,
    cues: Sequence[Cue],
    output: Path,
    *,
    tools: MediaTools,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
) -> None:
    """Writes the picture of `source` with captions in it, without its sound. Encodes it once more.

    Raises `TaskFailed`, also for an ffmpeg without libass: it would fail after the picture was decoded.
    """
    if not has_filter(tools.ffmpeg, CAPTION_FILTER):
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, NO_LIBASS, stage=Stage.ASSEMBLE)
    (probed,) = probe_parts([source], tools)
    timing = probed.timeline.picture
    assert timing is not None
    picture = video.Picture(probed.info.width or 2, probed.info.height or 2, timing.fps)
    size_px = font_size_px(picture)
    laid = lay_out(cues, drawn_box(picture))
    script = output.with_suffix(".ass")
    script.write_text(
        write_ass(laid, width_px=picture.width, height_px=picture.height, size_px=size_px), encoding="utf-8"
    )
    command = captions.burn(probed.timeline.get_picture(source), picture, script, FONT_FOLDER, tools.encoding, output)
    run_ffmpeg(command, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    found = probe_parts([output], tools)[0].info.num_frames
    if found != probed.info.num_frames:
        detail = f"the picture with captions has {found} frames, not {probed.info.num_frames}"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ASSEMBLE, retriable=True)


def font_size_px(picture: video.Picture) -> int:
    """The height of a line, in pixels: about a fifteenth of the shorter side."""
    return max(_SMALLEST_PX, round(min(picture.width, picture.height) / 15))


def drawn_box(picture: video.Picture) -> TextBox:
    """The space for captions in a picture: nine tenths of its width, and two lines, or three if it is tall."""
    size_px = font_size_px(picture)
    return TextBox(measure_at(size_px), 0.9 * picture.width, 2 if picture.width >= picture.height else 3)


def add_caption_track(
    source: Path, subtitles: Path, output: Path, *, tools: MediaTools, callbacks: FfmpegCallbacks = NO_CALLBACKS
) -> MediaInfo:
    """Writes `source` with the SRT file `subtitles` as a track, and returns what is in it. Copies picture and sound."""
    (probed,) = probe_parts([source], tools)
    streams = [probed.timeline.get_picture(source)]
    if probed.timeline.sound is not None:
        streams.append(probed.timeline.get_sound(source))
    command = captions.add_track(streams, subtitles, output)
    run_ffmpeg(command, tools=tools, stage=Stage.ASSEMBLE, callbacks=callbacks)
    return probe_parts([output], tools)[0].info
