"""The body that changes a reel that has ended."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from phoenix.contract.requests import (
    ClipRequest,
    DraftRequest,
    HoldMode,
    JobOptions,
    KeptSound,
    Quality,
    SoundtrackRequest,
    Transition,
)
from phoenix.contract.wire_types import (
    MAX_CLIPS,
    WHOLE,
    AspectRatio,
    CaptionMode,
    FitNarration,
    ModelId,
    Omittable,
    Request,
    Resolution,
    Seed,
    VoiceName,
)

EditOp = Literal["replace", "reroll", "insert", "remove", "move", "take"]
ClipIndex = Annotated[int, Field(ge=0, le=MAX_CLIPS, description="From 0."), WHOLE]

_NEEDED: Mapping[EditOp, str] = {"replace": "clip", "insert": "clip", "move": "to", "take": "take"}
_ALLOWED: Mapping[EditOp, frozenset[str]] = {"reroll": frozenset({"seed"})}


class ClipEdit(Request):
    """One change of the clips of a reel. `index` counts the clips as the changes before it have left them."""

    op: EditOp = Field(
        description="`replace` the clip by `clip`, `reroll` it with another seed, `insert` `clip` before it (or at the "
        "end, with the number of clips as `index`), `remove` it, `move` it so that its index is `to`, or show another "
        "`take` of it."
    )
    index: ClipIndex
    clip: Omittable[ClipRequest] = Field(
        default=None,
        description="What is left out comes from the clip that is replaced; for `insert`, from what all clips of the "
        "reel have in common.",
    )
    to: Omittable[ClipIndex] = None
    take: Omittable[ClipIndex] = None
    seed: Omittable[Seed] = Field(default=None, description="The new seed of `reroll`; drawn at random if left out.")

    @model_validator(mode="after")
    def _has_what_its_op_takes(self) -> Self:
        needed = _NEEDED.get(self.op)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"{self.op} needs {needed}")
        given = {name for name in ("clip", "to", "take", "seed") if getattr(self, name) is not None}
        if extra := given - {needed} - _ALLOWED.get(self.op, frozenset()):
            raise ValueError(f"{self.op} takes no {min(extra)}")
        return self


class EditRequest(JobOptions):
    """Changes of a reel that has ended. They make a new job, and the clips that stay as they are, are reused.

    The new job has the `title`, the `tags` and the `metadata` of the original if they are left out. The other options
    hold for one job.
    """

    clips: Annotated[list[ClipEdit], Field(max_length=MAX_CLIPS)] = Field(
        default_factory=list[ClipEdit],
        description="Changes of the clips, which are made in this order.",
        json_schema_extra={"default": []},
    )
    model: Omittable[ModelId] = Field(
        default=None,
        description="Another model renders all clips, with the same prompts, seeds and lengths. What the original left "
        "to its model is left to the new one.",
    )
    quality: Omittable[Quality] = None
    aspect_ratio: Omittable[AspectRatio] = None
    resolution: Omittable[Resolution] = None
    soundtrack: Omittable[SoundtrackRequest] = None
    drop_soundtrack: bool = Field(default=False, strict=True, description="The result has no soundtrack.")
    clip_sound: Omittable[KeptSound] = None
    captions: Omittable[CaptionMode] = None
    voice: Omittable[VoiceName] = None
    fit_narration: Omittable[FitNarration] = None
    transition: Omittable[Transition] = None
    reuse: bool = Field(default=True, strict=True, description="Whether clips that stay as they are, are reused.")
    hold: Omittable[HoldMode] = Field(
        default=None, description="`draft` renders a draft of the new reel first, which waits for your approval."
    )
    draft: Omittable[DraftRequest] = Field(default=None, description="Only together with `hold`.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.draft is not None and self.hold is None:
            raise ValueError("draft needs hold")
        if self.soundtrack is not None and self.drop_soundtrack:
            raise ValueError("give a soundtrack or drop it, not both")
        changes: list[object] = [self.clips, self.model, self.quality, self.aspect_ratio, self.resolution]
        changes += [self.soundtrack, self.drop_soundtrack, self.clip_sound, self.captions, self.voice, self.transition]
        if not any([*changes, self.title, self.fit_narration is not None]):
            raise ValueError("this edit changes nothing; say what to change, in clips for example")
        return self
