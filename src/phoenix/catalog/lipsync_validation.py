"""Decides whether a lip-sync can be made, and fills in every default. Pure: the caller looks up media."""

import math
from collections.abc import Mapping

from phoenix.catalog import resolve
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.conditions import find_artifact
from phoenix.catalog.resolve import ValidationReport
from phoenix.catalog.stored_entries import store_postprocessor
from phoenix.clock import in_seconds
from phoenix.contract import MAX_CLIPS, LipsyncRequest, MediaInfo, ResolvedLipsync

_TOLERANCE_S = 1e-6


def admit_lipsync(
    request: LipsyncRequest,
    catalog: Catalog,
    *,
    default_model: str,
    finds_faces: bool,
    max_duration_s: float,
    part_s: float = 60,
    media: Mapping[str, MediaInfo],
) -> ResolvedLipsync:
    """The lip-sync as it will be made. Raises `InvalidRequest` with all of its field errors.

    `finds_faces`: whether the workers have a face detector. `max_duration_s`: the longest result of this server.
    `part_s`: about how long the parts are in which a long result is made.
    """
    report = ValidationReport()
    model = request.model or default_model
    spec = catalog.lip_models.get(model)
    if spec is None:
        known = ", ".join(catalog.lip_models)
        report.add_error("/model", f"there is no lip model {model!r} here; choose one of: {known}")
    video = find_artifact(request.video, media, report, pointer="/video")
    audio = find_artifact(request.audio, media, report, pointer="/audio")
    if video is not None:
        _check_pictures(request, video, report, finds_faces=finds_faces)
    if audio is not None and (audio.media == "image" or (audio.media == "video" and audio.audio_codec is None)):
        report.add_error("/audio", "this artifact has no sound; give an artifact with sound")
    duration_s = _length_s(request, video, audio)
    if duration_s > max_duration_s + _TOLERANCE_S:
        made, most = in_seconds(duration_s), in_seconds(max_duration_s)
        report.add_error("/audio", f"the result would be {made} long and this server makes at most {most}")
    report.raise_errors()
    assert spec is not None
    assert video is not None
    return ResolvedLipsync(
        video=request.video,
        audio=request.audio,
        model=model,
        entry=store_postprocessor(spec),
        box=request.box,
        when_shorter=request.when_shorter,
        sound=request.sound,
        is_picture=video.media == "image",
        width=max(2, (video.width or 0) // 2 * 2),
        height=max(2, (video.height or 0) // 2 * 2),
        fps=video.fps if video.media == "video" and video.fps else spec.fps,
        duration_s=duration_s,
        parts=min(MAX_CLIPS, max(1, math.ceil(duration_s / part_s - _TOLERANCE_S))),
    )


def _check_pictures(request: LipsyncRequest, info: MediaInfo, report: ValidationReport, *, finds_faces: bool) -> None:
    """Checks that there are pictures, that the box is inside them, and that the sound to keep is there."""
    if info.media not in ("video", "image"):
        report.add_error("/video", f"this artifact is {info.media}; give a video or a picture")
        return
    box = request.box
    if box is None and not finds_faces:
        report.add_error("/box", "this server has no face detector; give the box of the face")
    if box is not None and (box.x + box.width > (info.width or 0) or box.y + box.height > (info.height or 0)):
        detail = f"the box leaves the picture, which is {info.width}x{info.height}; give a box inside it"
        report.add_error("/box", detail)
    if request.sound == "keep" and info.audio_codec is None:
        report.add_error("/sound", "the video has no sound to keep; use replace")


def _length_s(request: LipsyncRequest, video: MediaInfo | None, audio: MediaInfo | None) -> float:
    """Seconds of the result: of the sound, or of the shorter one of both if the longer one is cut."""
    sound_s = (audio and resolve.sound_length_s(audio)) or 0.0
    if video is None or video.media != "video" or request.when_shorter != "trim":
        return sound_s
    return min(sound_s, resolve.picture_length_s(video) or sound_s)
