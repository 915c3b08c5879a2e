"""Checks the conditions of a clip against the catalog entry and against the files that they name. Pure."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import Size, ValidationReport, picture_length_s, sound_length_s
from phoenix.catalog.rules import ConditionRule
from phoenix.clock import in_seconds, plain_number
from phoenix.contract import (
    SOUND_ROLES,
    TIMED_ROLES,
    VIDEO_ROLES,
    ClipRequest,
    ClipSource,
    Condition,
    ConditionRole,
    ConditionSource,
    MediaInfo,
    MediaKind,
    ReelRequest,
    ResolvedCondition,
    ResolvedExtension,
    media_of,
)

KnownMedia = Mapping[str, MediaInfo]
"""Media info of the caller's artifacts by id."""

KnownClips = Mapping[tuple[str, int], str]
"""Artifact ids of the caller's finished clips, by job id and index."""


@dataclass(frozen=True)
class KnownFiles:
    """The caller's files that a request names. A reference to another file or clip is a field error.

    `media` has the media info of all files, also of the clips. If `clips` is None, the clips of jobs are not checked.
    """

    media: KnownMedia
    clips: KnownClips | None

    def find_clip(self, source: ConditionSource | ClipSource) -> str | None:
        """The artifact id of the finished clip that the source names."""
        if source.job_id is None or source.clip_index is None or self.clips is None:
            return None
        return self.clips.get((source.job_id, source.clip_index))

    def lacks(self, source: ConditionSource | ClipSource) -> bool:
        """Whether the source names a clip of a job that the caller does not have."""
        return self.clips is not None and source.job_id is not None and self.find(source) is None

    def find(self, source: ConditionSource | ClipSource) -> MediaInfo | None:
        """The media info of the artifact or of the finished clip that the source names."""
        artifact_id = source.artifact_id if isinstance(source, ConditionSource) else None
        return self.media.get(artifact_id or self.find_clip(source) or "")


_BEGINNINGS: frozenset[ConditionRole] = frozenset({"first_frame", "source_video"})
"""The roles that say how a clip begins."""

_SAID = ConditionRule(shortest_s=0.01)
"""For the sound that the lips of a clip say. They are closed after a short one, and a long one is cut."""

_A = {"image": "a picture", "video": "a video", "audio": "a sound"}


@dataclass(frozen=True)
class ClipLength:
    """The length of a clip in frames, and its frame rate."""

    num_frames: int
    fps: int

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def tolerance_s(self) -> float:
        """Half a frame: a file that ends so much earlier still shows every frame of the clip."""
        return 0.5 / self.fps


def resolve_conditions(
    clip: ClipRequest,
    index: int,
    model: ModelSpec,
    report: ValidationReport,
    *,
    length: ClipLength,
    files: KnownFiles,
    previous: MediaInfo | None,
) -> list[ResolvedCondition]:
    """The conditions of the clip, in its order. `check_files` checks the kinds of the files; `files` has the lengths.

    `previous`: the clip before, as it will be; None for the first clip.
    """
    pointer = f"/clips/{index}/conditions"
    if clip.lip_sync is not None and "audio" not in model.conditions:
        model = model.model_copy(update={"conditions": {**model.conditions, "audio": _SAID}})
    _check_counts(clip.conditions, model, report, pointer=pointer)
    checks = _Checks(model, report, length, files, previous)
    for place, condition in enumerate(clip.conditions):
        checks.check(condition, f"{pointer}/{place}")
    checks.check_mask(clip.conditions, pointer)
    return [_resolve(condition, model, files) for condition in clip.conditions]


def check_files(clip: ClipRequest, index: int, files: KnownFiles, report: ValidationReport) -> None:
    """Checks that each file or clip that the clip names is the caller's, and of the kind that its role wants."""
    for place, condition in enumerate(clip.conditions):
        source, wanted = condition.source, media_of(condition.role)
        pointer = f"/clips/{index}/conditions/{place}/source"
        if source.artifact_id is not None:
            info = find_artifact(source.artifact_id, files.media, report, pointer=f"{pointer}/artifact_id")
            if info is not None and not _has(info, wanted):
                detail = f"this artifact is {info.media}; {condition.role} wants {_A[wanted]}"
                report.add_error(f"{pointer}/artifact_id", detail)
        elif files.lacks(source):
            report.add_error(f"{pointer}/job_id", explain_missing_clip(source))


def explain_missing_clip(source: ConditionSource | ClipSource) -> str:
    """Why a clip cannot be a source. It does not say whether another caller has such a job."""
    return f"no job {source.job_id} of yours has a finished clip {source.clip_index}; wait until it is done"


def begin_with_extended(request: ReelRequest, model: ModelSpec, report: ValidationReport) -> ReelRequest:
    """The request whose first clip begins with the clip that the reel extends, unless it says how it begins."""
    first, *others = request.clips
    if request.extends is None or any(each.role in _BEGINNINGS for each in first.conditions):
        return request
    if "first_frame" not in model.conditions:
        detail = (
            f"{model.id} takes no first_frame; choose another model, or say by conditions how the first clip begins"
        )
        report.add_error("/extends", detail)
        return request
    source = ConditionSource(job_id=request.extends.job_id, clip_index=request.extends.clip_index)
    begun = first.model_copy(update={"conditions": [*first.conditions, Condition(role="first_frame", source=source)]})
    return request.model_copy(update={"clips": [begun, *others]})


def resolve_extension(
    extended: ClipSource, files: KnownFiles, report: ValidationReport, *, size: Size, fps: int
) -> ResolvedExtension | None:
    """The clip that the reel extends. Both have one size and one frame rate: the join does not change a picture."""
    artifact_id, info = files.find_clip(extended), files.find(extended)
    if artifact_id is None or info is None:
        return None
    if (info.width, info.height, round(info.fps or 0)) != (size.width, size.height, fps):
        report.add_error(
            "/extends",
            f"the clip has {info.width}x{info.height} pixels and {plain_number(info.fps or 0)} frames per second, and"
            f" this reel {size.width}x{size.height} and {fps}; ask for the same aspect_ratio, resolution and fps",
        )
    return ResolvedExtension(
        job_id=extended.job_id,
        clip_index=extended.clip_index,
        artifact_id=artifact_id,
        duration_s=picture_length_s(info) or 0,
    )


def _has(info: MediaInfo, wanted: MediaKind) -> bool:
    return info.media == wanted or (wanted == "audio" and info.audio_codec is not None)


def find_artifact(
    artifact_id: str, media: Mapping[str, MediaInfo], report: ValidationReport, *, pointer: str
) -> MediaInfo | None:
    """The media info of the artifact. None, and reported, if the caller has no such artifact."""
    info = media.get(artifact_id)
    if info is None:
        report.add_error(pointer, f"there is no artifact {artifact_id} of yours; upload it first")
    return info


def _resolve(condition: Condition, model: ModelSpec, files: KnownFiles) -> ResolvedCondition:
    rule = model.conditions.get(condition.role)
    default = rule.strength.default if rule and rule.strength else None
    strength = condition.strength if condition.strength is not None else default
    return ResolvedCondition(
        role=condition.role,
        source=condition.source,
        clip_artifact_id=files.find_clip(condition.source),
        at_s=condition.at_s,
        strength=strength,
        overlap_s=rule and rule.overlap_s,
    )


def _check_counts(conditions: Sequence[Condition], model: ModelSpec, report: ValidationReport, *, pointer: str) -> None:
    counts = Counter[ConditionRole](condition.role for condition in conditions)
    for role, rule in model.conditions.items():
        if counts[role] < rule.minimum:
            number = "" if rule.minimum == 1 else f"{rule.minimum} of "
            report.add_error(pointer, f"{model.id} needs {number}{_A[media_of(role)]} with the role {role}; add it")
    seen = Counter[ConditionRole]()
    for place, condition in enumerate(conditions):
        seen[condition.role] += 1
        if (rule := model.conditions.get(condition.role)) is not None:
            for detail in _find_conflicts(condition.role, rule, counts, is_over=seen[condition.role] > rule.maximum):
                report.add_error(f"{pointer}/{place}/role", f"{model.id} {detail}")


def _find_conflicts(
    role: ConditionRole, rule: ConditionRule, counts: Counter[ConditionRole], *, is_over: bool
) -> Iterator[str]:
    if is_over:
        yield f"takes at most {rule.maximum} of the role {role} for a clip; leave this out"
    for other in rule.excludes:
        if counts[other]:
            yield f"does not take {role} together with {other}; choose one of them"
    for other in rule.requires:
        if not counts[other]:
            yield f"takes {role} only together with {other}; add it"


@dataclass(frozen=True)
class _Checks:
    """The checks of one condition alone."""

    model: ModelSpec
    report: ValidationReport
    length: ClipLength
    files: KnownFiles
    previous: MediaInfo | None

    def check(self, condition: Condition, pointer: str) -> None:
        rule = self.model.conditions.get(condition.role)
        self._check_time(condition, f"{pointer}/at_s")
        self._check_source(condition, rule, f"{pointer}/source")
        if rule is None:
            self.report.add_error(f"{pointer}/role", _explain_role(self.model, condition.role))
        else:
            self._check_strength(condition, rule, f"{pointer}/strength")
            self._check_clip_length(condition.role, rule, f"{pointer}/role")
            self._check_overlap(condition.role, rule, f"{pointer}/role")

    def _check_clip_length(self, role: ConditionRole, rule: ConditionRule, pointer: str) -> None:
        shortest_s, longest_s = rule.shortest_clip_s or 0, rule.longest_clip_s or math.inf
        if shortest_s - self.length.tolerance_s <= self.length.seconds <= longest_s + self.length.tolerance_s:
            return
        if shortest_s == longest_s:
            limit = f"of {in_seconds(shortest_s)} only"
        elif self.length.seconds < shortest_s:
            limit = f"of at least {in_seconds(shortest_s)}"
        else:
            limit = f"of at most {in_seconds(longest_s)}"
        self.report.add_error(
            pointer,
            f"{self.model.id} takes {role} in clips {limit}, and this clip is {in_seconds(self.length.seconds)} long;"
            " change duration_s",
        )

    def _check_overlap(self, role: ConditionRole, rule: ConditionRule, pointer: str) -> None:
        if rule.overlap_s is not None and self.length.seconds <= rule.overlap_s:
            self.report.add_error(
                pointer,
                f"{self.model.id} begins a clip with {in_seconds(rule.overlap_s)} of the {role}, and the clip is"
                f" {in_seconds(self.length.seconds)} long; ask for a longer clip",
            )

    def _check_time(self, condition: Condition, pointer: str) -> None:
        if condition.role not in TIMED_ROLES:
            if condition.at_s is not None:
                self.report.add_error(pointer, f"the role {condition.role} has no time; leave it out")
        elif condition.at_s is None:
            self.report.add_error(pointer, f"say at which second of the clip the {condition.role} is")
        elif condition.at_s > self.length.seconds:
            self.report.add_error(
                pointer, f"the clip is {in_seconds(self.length.seconds)} long; choose a time before its end"
            )

    def _check_strength(self, condition: Condition, rule: ConditionRule, pointer: str) -> None:
        strength, limits = condition.strength, rule.strength
        if strength is None:
            return
        if limits is None:
            self.report.add_error(pointer, f"{self.model.id} takes no strength for {condition.role}; leave it out")
        elif not limits.minimum <= strength <= limits.maximum:
            between = f"{plain_number(limits.minimum)} to {plain_number(limits.maximum)}"
            self.report.add_error(pointer, f"{self.model.id} takes a strength of {between} for {condition.role}")

    def _check_source(self, condition: Condition, rule: ConditionRule | None, pointer: str) -> None:
        source = condition.source
        if source.previous_clip and self.previous is None:
            detail = "the first clip has no clip before it; give artifact_id, or job_id with clip_index"
            self.report.add_error(f"{pointer}/previous_clip", detail)
        info = self._find_info(source)
        if info is None or rule is None:
            return
        named_by, name = _name(source)
        if condition.role in SOUND_ROLES and info.audio_codec is None and source.artifact_id is None:
            detail = f"{name} has no sound; give the artifact_id of a sound for {condition.role}"
            self.report.add_error(f"{pointer}/{named_by}", detail)
        else:
            self._check_length(condition.role, info, rule, f"{pointer}/{named_by}", name)

    def _find_info(self, source: ConditionSource) -> MediaInfo | None:
        return self.previous if source.previous_clip else self.files.find(source)

    def _check_length(self, role: ConditionRole, info: MediaInfo, rule: ConditionRule, pointer: str, name: str) -> None:
        length_s = _length_s(role, info)
        needed_s = self.length.seconds if rule.needed_s is None else rule.needed_s
        if length_s is not None and length_s < needed_s - self.length.tolerance_s:
            self.report.add_error(
                pointer,
                f"{name} is {in_seconds(length_s)} long, and {self.model.id} needs at least"
                f" {in_seconds(needed_s)} for {role} here; give a longer one",
            )

    def check_mask(self, conditions: Sequence[Condition], pointer: str) -> None:
        """A mask belongs to the source video, frame by frame: both are equally long."""
        lengths: dict[ConditionRole, tuple[int, float]] = {}
        for place, condition in enumerate(conditions):
            info = self._find_info(condition.source)
            length_s = _length_s(condition.role, info) if info else None
            if length_s is not None:
                lengths.setdefault(condition.role, (place, length_s))
        if "mask" not in lengths or "source_video" not in lengths:
            return
        (place, mask_s), (_, video_s) = lengths["mask"], lengths["source_video"]
        if abs(mask_s - video_s) > self.length.tolerance_s:
            self.report.add_error(
                f"{pointer}/{place}/source",
                f"the mask is {in_seconds(mask_s)} long and its video {in_seconds(video_s)}; give both the same length",
            )


def _name(source: ConditionSource) -> tuple[str, str]:
    """The field that names the source, and what a message calls the source."""
    if source.previous_clip:
        return "previous_clip", "the clip before this one"
    return ("artifact_id", "this artifact") if source.artifact_id is not None else ("job_id", "this clip")


def _explain_role(model: ModelSpec, role: ConditionRole) -> str:
    if role in SOUND_ROLES:
        return (
            f"{model.id} takes no {role}, and no model class that Phoenix runs is led by a sound; set lip_sync to move"
            " the lips of the clip by it, or give it as the soundtrack to play it with the reel"
        )
    if not model.conditions:
        return f"{model.id} takes no conditions; leave it out, or choose a model that takes {role}"
    return f"{model.id} takes no {role}; it takes {', '.join(model.conditions)}"


def _length_s(role: ConditionRole, info: MediaInfo) -> float | None:
    """Seconds of what the role uses of the file; None for a picture, or if the length is unknown."""
    if role in VIDEO_ROLES:
        return picture_length_s(info)
    return sound_length_s(info) if role in SOUND_ROLES else None
