"""What an agent writes of a reel, and the bodies of the API that it becomes."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from phoenix.client import AsyncPhoenix
from phoenix.contract.edits import EditOp
from phoenix.errors import PhoenixError

Fields = dict[str, Any]
Sound = Annotated[str | None, Field(description="An artifact, art_…, or an https URL.")]
Crossfade = Annotated[float | None, Field(description="Seconds for which clips overlap; a cut if left out.")]


class Incomplete(PhoenixError):
    """The call lacks what it needs."""


class ClipSpec(BaseModel):
    """One clip. What is left out comes from the reel, or from the clip that is replaced."""

    prompt: str | None = Field(default=None, description="What it shows.")
    duration_s: float | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    caption: str | None = Field(default=None, description="Shown over the clip.")
    narration: str | None = Field(default=None, description="Spoken over the clip.")
    lip_sync: bool = Field(default=False, description="The face in it says the narration.")
    continues_previous: bool = Field(default=False, description="It begins with the last frame of the clip before.")
    more: Fields = Field(default={}, description="Other fields of a clip of POST /v1/reels: conditions, loras, takes.")

    def to_body(self) -> Fields:
        body = self.model_dump(exclude={"continues_previous", "lip_sync", "more"}, exclude_none=True) | self.more
        if self.lip_sync:
            body.setdefault("lip_sync", True)
        if self.continues_previous:
            first = {"role": "first_frame", "source": {"previous_clip": True}}
            body["conditions"] = [first, *body.get("conditions", [])]
        return body


class ClipChange(BaseModel):
    """One change of the clips. `index` counts the clips, from 0, as the changes before it have left them."""

    op: EditOp
    index: int
    clip: ClipSpec | None = Field(default=None, description="For replace and insert.")
    to: int | None = Field(default=None, description="The new index, for move.")
    take: int | None = Field(default=None, description="The take to show, for take.")
    seed: int | None = Field(default=None, description="For reroll; random if left out.")

    def to_body(self) -> Fields:
        body = self.model_dump(exclude={"clip"}, exclude_none=True)
        return body | ({"clip": self.clip.to_body()} if self.clip else {})


class ReelSpec(BaseModel):
    """A reel: its clips, or a storyboard that has them. What is left out is up to the model."""

    clips: list[ClipSpec] = Field(default=[], description="In order. They take the place of the storyboard's.")
    storyboard_id: str | None = Field(default=None, description="Renders this storyboard.")
    model: str | None = Field(default=None, description="An id of list_models.")
    duration_s: float | None = Field(default=None, description="Of each clip.")
    aspect_ratio: str | None = Field(default=None, description="Such as 16:9.")
    resolution: str | None = Field(default=None, description="Such as 480p.")
    quality: str | None = Field(default=None, description="draft, standard or high.")
    title: str | None = None
    soundtrack: Sound = None
    crossfade_s: Crossfade = None
    more: Fields = Field(default={}, description="Other fields of POST /v1/reels: captions, hold, tags, webhook.")

    async def to_body(self, phoenix: AsyncPhoenix) -> Fields:
        """The body of `POST /v1/reels`. Raises `Incomplete` for a storyboard without a reel."""
        plain = {"model", "duration_s", "aspect_ratio", "resolution", "quality", "title"}
        body = self.model_dump(include=plain, exclude_none=True) | joined(self.soundtrack, self.crossfade_s) | self.more
        if self.storyboard_id:
            body = await _reel_of(phoenix, self.storyboard_id) | body
        if self.clips or "clips" not in body:
            body["clips"] = [clip.to_body() for clip in self.clips]
        return body


async def _reel_of(phoenix: AsyncPhoenix, storyboard_id: str) -> Fields:
    reel = (await phoenix.get_storyboard(storyboard_id)).model_dump(mode="json")["reel"]
    if reel is None:
        raise Incomplete(f"{storyboard_id} has no reel yet: refine it, or give clips.")
    return reel


def without_nulls(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def joined(soundtrack: str | None, crossfade_s: float | None) -> Fields:
    """How the clips are joined, and the sound that is laid over them."""
    fields: Fields = {}
    if soundtrack is not None:
        fields["soundtrack"] = {"artifact_id" if soundtrack.startswith("art_") else "url": soundtrack}
    if crossfade_s is not None:
        fields["transition"] = {"kind": "crossfade", "duration_s": crossfade_s}
    return fields
