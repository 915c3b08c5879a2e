"""Checks crossfades, fades, and the artifacts that a request refers to."""

from collections.abc import Mapping, Sequence

from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import ReelRequest, SoundtrackRequest, StitchRequest, Transition
from phoenix.contract.resolved import Adjustment
from phoenix.errors import FieldError, InvalidRequest


class ValidationReport:
    """Collects field errors until the end, so that a client learns of all of them at once.

    A value of the reel is checked once per clip, but a field error about it is kept only once.
    """

    def __init__(self) -> None:
        self._field_errors: dict[FieldError, None] = {}
        self._adjustments: dict[str, Adjustment] = {}

    def add_error(self, pointer: str, detail: str) -> None:
        self._field_errors[FieldError(pointer, detail)] = None

    def add_adjustment(self, pointer: str, *, requested: str, resolved: str, reason: str) -> None:
        self._adjustments[pointer] = Adjustment(pointer=pointer, requested=requested, resolved=resolved, reason=reason)

    @property
    def adjustments(self) -> list[Adjustment]:
        return list(self._adjustments.values())

    def raise_errors(self) -> None:
        """Raises `InvalidRequest` with every field error in the order found; returns if there are none."""
        field_errors = tuple(self._field_errors)
        if not field_errors:
            return
        first = f"{field_errors[0].pointer}: {field_errors[0].detail}"
        more = f" (and {len(field_errors) - 1} more)" if len(field_errors) > 1 else ""
        raise InvalidRequest(first + more, field_errors=field_errors)


TOLERANCE_S = 1e-6


def joined_length_s(transition: Transition, lengths_s: Sequence[float]) -> float:
    """Length of the joined picture in seconds: each crossfade overlaps two clips."""
    overlap_s = transition.duration_s if transition.kind == "crossfade" else 0
    return sum(lengths_s) - overlap_s * (len(lengths_s) - 1)


def check_crossfade(transition: Transition, lengths_s: Sequence[float], report: ValidationReport) -> None:
    """A clip may have a crossfade at each end, so it must be as long as two of them."""
    if transition.kind != "crossfade" or len(lengths_s) < 2:
        return
    longest_s = min(lengths_s) / 2
    if transition.duration_s > longest_s + TOLERANCE_S:
        report.add_error(
            "/transition/duration_s",
            f"a crossfade takes at most half of the shortest clip, here {longest_s:.4g} s;"
            " shorten it, lengthen the clips, or use a cut",
        )


def check_fades(sound: SoundtrackRequest, length_s: float, report: ValidationReport, *, pointer: str) -> None:
    fades_s = sound.fade_in_s + sound.fade_out_s
    if fades_s > length_s + TOLERANCE_S:
        name = "fade_out_s" if sound.fade_out_s else "fade_in_s"
        report.add_error(
            f"{pointer}/{name}",
            f"the fades take {fades_s:g} s and the result is {length_s:.4g} s long; shorten them",
        )


def check_soundtrack(
    sound: SoundtrackRequest | None, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> None:
    """Checks that the artifact exists, has sound, and does not end before `start_s`."""
    if sound is None or sound.artifact_id is None:
        return
    info = _find_artifact(sound.artifact_id, media, report, pointer=f"{pointer}/artifact_id")
    if info is None:
        return
    if info.media == "image" or (info.media == "video" and info.audio_codec is None):
        report.add_error(f"{pointer}/artifact_id", "this artifact has no sound; give one that has")
    elif info.duration_s is not None and sound.start_s >= info.duration_s:
        report.add_error(f"{pointer}/start_s", f"the sound is {info.duration_s:.4g} s long; begin before its end")


def check_images(request: ReelRequest, media: Mapping[str, MediaInfo], report: ValidationReport) -> None:
    for index, clip in enumerate(request.clips):
        if clip.image_artifact_id is None:
            continue
        pointer = f"/clips/{index}/image_artifact_id"
        info = _find_artifact(clip.image_artifact_id, media, report, pointer=pointer)
        if info is not None and info.media != "image":
            report.add_error(pointer, f"this artifact is {info.media}; give an image")


def video_lengths(request: StitchRequest, media: Mapping[str, MediaInfo], report: ValidationReport) -> list[float]:
    """Seconds of each video, in order; empty if any is not known."""
    lengths_s: list[float] = []
    for index, artifact_id in enumerate(request.artifact_ids):
        pointer = f"/artifact_ids/{index}"
        info = _find_artifact(artifact_id, media, report, pointer=pointer)
        if info is not None and info.media != "video":
            report.add_error(pointer, f"this artifact is {info.media}; give a video")
        if info is not None and info.duration_s is not None:
            lengths_s.append(info.duration_s)
    return lengths_s if len(lengths_s) == len(request.artifact_ids) else []


def _find_artifact(
    artifact_id: str, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> MediaInfo | None:
    info = media.get(artifact_id)
    if info is None:
        report.add_error(pointer, f"there is no artifact {artifact_id} of yours; upload it first")
    return info
