"""Storyboards: a reel request in the making, with the messages that shaped it, and the events while an LLM writes."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, RootModel, model_validator

from phoenix.contract.requests import DurationS, ReelRequest
from phoenix.contract.resolved import Adjustment
from phoenix.contract.wire_types import (
    PROMPT_PATTERN,
    WHOLE,
    AspectRatio,
    ModelId,
    Omittable,
    Request,
    Text,
    Timestamp,
    View,
    VoiceName,
)

MAX_STORYBOARD_CLIPS = 60
MAX_CHARACTERS = 8
MAX_IDEA_LENGTH = 4000

Idea = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_IDEA_LENGTH,
        pattern=PROMPT_PATTERN,
        description="What the reel should show, in your own words.",
    ),
]
MessageText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_IDEA_LENGTH,
        pattern=PROMPT_PATTERN,
        description="What to change in the storyboard, in your own words.",
    ),
]
Style = Annotated[
    Text, Field(min_length=1, max_length=400, description="How every clip should look; a part of each prompt.")
]
PlannerName = Literal["llm", "template"]
"""Who writes a storyboard: a language model, or a template that knows no language."""


class CharacterRequest(Request):
    """Somebody or something that looks the same in every clip that shows it."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=60, pattern=PROMPT_PATTERN, description="As in the idea and in the prompts."),
    ]
    description: Annotated[
        str,
        Field(min_length=1, max_length=200, pattern=PROMPT_PATTERN, description="How it looks, in a few words."),
    ]


class StoryboardRequest(Request):
    """An idea for a reel. Lengths and shapes that the model does not make are fitted, and reported."""

    idea: Idea
    model: Omittable[ModelId] = Field(
        default=None, description="The model that will render it, an id of GET /v1/models; the default if left out."
    )
    num_clips: Omittable[Annotated[int, Field(ge=1, le=MAX_STORYBOARD_CLIPS), WHOLE]] = Field(
        default=None, description="How many clips the reel has; the planner decides if left out."
    )
    duration_s: Omittable[DurationS] = Field(
        default=None, description="Length of each clip, in seconds; the planner decides if left out."
    )
    aspect_ratio: Omittable[AspectRatio] = None
    style: Omittable[Style] = None
    characters: Annotated[list[CharacterRequest], Field(max_length=MAX_CHARACTERS)] = Field(
        default_factory=list[CharacterRequest], json_schema_extra={"default": []}
    )
    caption: bool = Field(
        default=False, strict=True, description="Whether the planner also writes the captions of the clips."
    )
    narrate: bool = Field(
        default=False,
        strict=True,
        description="Whether the planner also writes what a voice says, as long as each clip has time for.",
    )
    voice: Omittable[VoiceName] = None
    planner: Omittable[PlannerName] = Field(
        default=None, description="`llm` if the server has one and this is left out, or else `template`."
    )

    @model_validator(mode="after")
    def _names_each_character_once(self) -> Self:
        names = [character.name.casefold() for character in self.characters]
        if len(set(names)) < len(names):
            raise ValueError("two characters have one name; give each a name of its own")
        return self

    @model_validator(mode="after")
    def _has_a_voice_for_narration_only(self) -> Self:
        if self.voice is not None and not self.narrate:
            raise ValueError("voice needs narrate")
        return self


class StoryboardMessageRequest(Request):
    """A wish of the user: the storyboard is written again with it."""

    text: MessageText
    reel: Omittable[ReelRequest] = Field(
        default=None, description="The reel as you have changed it yourself; the planner continues from it."
    )


class StoryboardState(StrEnum):
    """`draft`: the reel can be posted. `writing`: an LLM is at work. `failed`: it can be tried again."""

    DRAFT = "draft"
    WRITING = "writing"
    FAILED = "failed"


class StoryboardErrorCode(StrEnum):
    """The reason why a storyboard was not written. A later version may have more."""

    UNAVAILABLE = "UNAVAILABLE"
    UPSTREAM_RATE_LIMITED = "UPSTREAM_RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    MODERATED = "MODERATED"
    INVALID_ANSWER = "INVALID_ANSWER"
    CANCELED = "CANCELED"


class StoryboardError(View):
    """The reason why the last message has no answer."""

    code: StoryboardErrorCode
    message: str
    retriable: bool = Field(description="Whether trying again, with nothing changed, can succeed.")


class StoryboardMessage(View):
    """One message of the talk."""

    role: Literal["user", "assistant"]
    text: str
    at: Timestamp
    refused: bool = Field(
        default=False, description="The language model refused these words, and later answers leave them out."
    )


# With a type of what it returns, that type would be the schema.
def _as_posted(body: Request):
    return body.model_dump(mode="json", exclude_unset=True)


ReelInTheMaking = Annotated[ReelRequest, PlainSerializer(_as_posted)]
"""Shown with the fields that are set and no others, so that a client can post it as it is."""


class Storyboard(View):
    """A reel request in the making."""

    id: str
    state: StoryboardState
    planner: PlannerName = Field(description="`template` if no language model has written it.")
    revision: int = Field(description="Rises with each message and each retry, from 1.")
    request: Annotated[StoryboardRequest, PlainSerializer(_as_posted)]
    reel: ReelInTheMaking | None = Field(
        description="The reel as it stands, for POST /v1/reels as it is; null until there is one."
    )
    messages: list[StoryboardMessage]
    adjustments: list[Adjustment] = Field(description="What was asked for and does not fit the model.")
    error: StoryboardError | None = Field(description="Why the last message has no answer, in the state `failed`.")
    created_at: Timestamp
    updated_at: Timestamp


class StoryboardPage(View):
    """A page of storyboards, newest first."""

    data: list[Storyboard]
    has_more: bool
    next_cursor: str | None


class _StoryboardEventBase(View):
    storyboard_id: str


class StoryboardSnapshot(_StoryboardEventBase):
    """The storyboard as it is now: the first event of each stream."""

    type: Literal["storyboard"] = "storyboard"
    storyboard: Storyboard


class StoryboardDelta(_StoryboardEventBase):
    """A part of the text that the LLM is writing, which is JSON in the end. It is stored nowhere."""

    type: Literal["storyboard.delta"] = "storyboard.delta"
    attempt: int = Field(description="2 while the LLM repairs its first answer, whose text is void then.")
    text: str


class StoryboardWritten(_StoryboardEventBase):
    """The storyboard is a draft. The last event of its stream."""

    type: Literal["storyboard.written"] = "storyboard.written"
    storyboard: Storyboard


class StoryboardFailed(_StoryboardEventBase):
    """The storyboard was not written, for the reason in its `error`. The last event of its stream."""

    type: Literal["storyboard.failed"] = "storyboard.failed"
    storyboard: Storyboard


class StoryboardEvent(
    RootModel[
        Annotated[
            StoryboardSnapshot | StoryboardDelta | StoryboardWritten | StoryboardFailed, Field(discriminator="type")
        ]
    ]
):
    """One event of the stream of a storyboard. `type` says which."""
