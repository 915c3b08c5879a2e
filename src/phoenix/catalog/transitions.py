"""Checks on what is joined and laid under: crossfades, fades, and the artifacts that a request points at."""

from collections.abc import Mapping, Sequence

from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import ReelRequest, SoundtrackRequest, StitchRequest, Transition
from phoenix.contract.resolved import Adjustment
from phoenix.errors import Fault, InvalidRequest


class Findings:
    """Collects faults until the end, so that a client learns of all of them at once.

    A value of the reel is checked once per clip, but a finding about it is kept only once.
    """

    def __init__(self) -> None:
        self._faults: dict[Fault, None] = {}
        self._adjustments: dict[str, Adjustment] = {}

    def fault(self, pointer: str, detail: str) -> None:
        self._faults[Fault(pointer, detail)] = None

    def adjust(self, pointer: str, *, requested: str, resolved: str, reason: str) -> None:
        self._adjustments[pointer] = Adjustment(pointer=pointer, requested=requested, resolved=resolved, reason=reason)

    @property
    def adjustments(self) -> list[Adjustment]:
        return list(self._adjustments.values())

    def raise_faults(self) -> None:
        """Raises `InvalidRequest` with every fault in the order found; returns if there are none."""
        faults = tuple(self._faults)
        if not faults:
            return
        first = f"{faults[0].pointer}: {faults[0].detail}"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidRequest(first + more, faults=faults)


TOLERANCE_S = 1e-6


def joined_length(transition: Transition, lengths_s: Sequence[float]) -> float:
    """Length of the joined picture in seconds: each crossfade overlaps two clips."""
    overlap_s = transition.duration_s if transition.kind == "crossfade" else 0
    return sum(lengths_s) - overlap_s * (len(lengths_s) - 1)


def check_crossfade(transition: Transition, lengths_s: Sequence[float], findings: Findings) -> None:
    """A clip may have a crossfade at each end, so it must be as long as two of them."""
    if transition.kind != "crossfade" or len(lengths_s) < 2:
        return
    longest_s = min(lengths_s) / 2
    if transition.duration_s > longest_s + TOLERANCE_S:
        findings.fault(
            "/transition/duration_s",
            f"a crossfade takes at most half of the shortest clip, here {longest_s:.4g} s;"
            " shorten it, lengthen the clips, or use a cut",
        )


def check_fades(sound: SoundtrackRequest, length_s: float, findings: Findings, *, pointer: str) -> None:
    fades_s = sound.fade_in_s + sound.fade_out_s
    if fades_s > length_s + TOLERANCE_S:
        name = "fade_out_s" if sound.fade_out_s else "fade_in_s"
        findings.fault(
            f"{pointer}/{name}",
            f"the fades take {fades_s:g} s and the result is {length_s:.4g} s long; shorten them",
        )


def check_sound(
    sound: SoundtrackRequest | None, media: Mapping[str, MediaInfo], findings: Findings, *, pointer: str
) -> None:
    """Checks that the artifact exists, has sound, and does not end before `start_s`."""
    if sound is None or sound.artifact_id is None:
        return
    info = _find(sound.artifact_id, media, findings, pointer=f"{pointer}/artifact_id")
    if info is None:
        return
    if info.media == "image" or (info.media == "video" and info.audio_codec is None):
        findings.fault(f"{pointer}/artifact_id", "this artifact has no sound; give one that has")
    elif info.duration_s is not None and sound.start_s >= info.duration_s:
        findings.fault(f"{pointer}/start_s", f"the sound is {info.duration_s:.4g} s long; begin before its end")


def check_images(request: ReelRequest, media: Mapping[str, MediaInfo], findings: Findings) -> None:
    for index, clip in enumerate(request.clips):
        if clip.image_artifact_id is None:
            continue
        pointer = f"/clips/{index}/image_artifact_id"
        info = _find(clip.image_artifact_id, media, findings, pointer=pointer)
        if info is not None and info.media != "image":
            findings.fault(pointer, f"this artifact is {info.media}; give an image")


def video_lengths(request: StitchRequest, media: Mapping[str, MediaInfo], findings: Findings) -> list[float]:
    """Seconds of each video, in order; empty if any is not known."""
    lengths_s: list[float] = []
    for index, artifact_id in enumerate(request.artifact_ids):
        pointer = f"/artifact_ids/{index}"
        info = _find(artifact_id, media, findings, pointer=pointer)
        if info is not None and info.media != "video":
            findings.fault(pointer, f"this artifact is {info.media}; give a video")
        if info is not None and info.duration_s is not None:
            lengths_s.append(info.duration_s)
    return lengths_s if len(lengths_s) == len(request.artifact_ids) else []


def _find(artifact_id: str, media: Mapping[str, MediaInfo], findings: Findings, *, pointer: str) -> MediaInfo | None:
    info = media.get(artifact_id)
    if info is None:
        findings.fault(pointer, f"there is no artifact {artifact_id} of yours; upload it first")
    return info
