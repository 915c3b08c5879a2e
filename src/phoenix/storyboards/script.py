"""The answer of a language model: its JSON schema, what is read from its text, and how it becomes a plan. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from phoenix.clock import in_seconds
from phoenix.contract import MAX_PROMPT_LENGTH, CharacterRequest, ClipRequest, ReelRequest, StoryboardRequest
from phoenix.contract.storyboards import MAX_CHARACTERS
from phoenix.errors import FieldError, InvalidRequest
from phoenix.storyboards.limits import PlanLimits
from phoenix.storyboards.plan import Document, Plan, PlannedClip
from phoenix.storyboards.spoken_length import MOST_WORDS_PER_S, WORDS_PER_S, count_words, words_in

MAX_ANSWER_LENGTH = 200_000
"""Characters. A server may ignore the limit on tokens."""
MAX_FAULTS = 20
"""Faults that a language model is given at once."""

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


class _ScriptPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCharacter(_ScriptPart):
    """A character as a language model describes it."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    description: Annotated[str, Field(min_length=1, max_length=200)]


def _without_blanks(names: list[str]) -> list[str]:
    return [name for name in names if name.strip()]


class ScriptedClip(_ScriptPart):
    """A clip as a language model writes it."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_LENGTH)]
    characters: Annotated[list[str], AfterValidator(_without_blanks)] = Field(default_factory=list[str])
    duration_s: FiniteFloat | None = None
    caption: str | None = None
    narration: str | None = None


class Script(_ScriptPart):
    """The whole answer."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    message: Annotated[str, Field(min_length=1, max_length=2000)]
    style: Annotated[str, Field(max_length=400)] = ""
    characters: Annotated[list[ScriptedCharacter], Field(max_length=MAX_CHARACTERS)] = Field(
        default_factory=list[ScriptedCharacter]
    )
    clips: Annotated[list[ScriptedClip], Field(min_length=1)]

    def as_plan(self) -> Plan:
        """The plan, whose prompts get the characters and the style later."""
        return Plan(
            title=self.title,
            message=self.message,
            style=self.style.strip(),
            characters=tuple(CharacterRequest.model_construct(**each.model_dump()) for each in self.characters),
            clips=tuple(
                PlannedClip(clip.prompt, tuple(clip.characters), clip.duration_s, clip.caption, clip.narration)
                for clip in self.clips
            ),
        )


def script_of(reel: ReelRequest, *, message: str) -> Document:
    """A reel that the user has changed, as the answer that a language model would have given."""
    clips = [
        {"prompt": clip.prompt, "characters": list[str]()}
        | clip.model_dump(include={"duration_s", "caption", "narration"}, exclude_none=True)
        for clip in reel.clips
    ]
    return {"title": reel.title or "Reel", "message": message, "style": "", "characters": list[str](), "clips": clips}


def script_schema(request: StoryboardRequest, limits: PlanLimits) -> Document:
    """The JSON schema of the answer, in the subset that servers can hold a model to: every field is required.

    The fields of a clip have the types of the reel's own contract, with the limits of the model.
    """
    contract = cast("Document", ClipRequest.model_json_schema()["properties"])
    prompt = "What this clip alone shows: subject, action, place, light, camera. No style, no look of characters."
    clip: Document = {
        "prompt": {"type": contract["prompt"]["type"], "description": prompt},
        "characters": _list_of({"type": "string"}, "Names of the characters that this clip shows."),
    }
    if limits.duration_s is None:
        shown = f"Seconds, from {limits.shortest_s} to {limits.longest_s}."
        ends = {"minimum": limits.shortest_s, "maximum": limits.longest_s}
        clip["duration_s"] = {"type": contract["duration_s"]["type"], "description": shown, **ends}
    if request.caption:
        shown = "A short line that is shown over this clip, in the language of the user; empty for none."
        clip["caption"] = {"type": "string", "description": shown}
    if request.narrate:
        rate = f"at most {round(WORDS_PER_S)} words for each of its seconds"
        said = f"What a voice says in this clip: {rate}; empty for none."
        clip["narration"] = {"type": "string", "description": said}
    fields: Document = {
        "title": {"type": "string", "description": "A short name for the reel."},
        "message": {"type": "string", "description": "One or two sentences to the user about what you wrote."},
    }
    if request.style is None:
        look = "How every clip looks, in at most 300 characters; it is added to each prompt."
        fields["style"] = {"type": "string", "description": look}
    looks = "Further characters that return, each with how it always looks; at most 150 characters each."
    character = _object({"name": {"type": "string"}, "description": {"type": "string"}})
    fields["characters"] = _list_of(character, looks)
    fields["clips"] = _list_of(_object(clip), "In the order in which they are shown.")
    return _object(fields)


def _object(properties: Document) -> Document:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list_of(items: Document, description: str) -> Document:
    return {"type": "array", "description": description, "items": items}


def read_script(text: str) -> Script:
    """The script in an answer, also after a thought, between words, or in a code block.

    Raises `InvalidRequest` with every fault.
    """
    said = _THOUGHT.sub("", text)
    try:
        found, _ = json.JSONDecoder().raw_decode(said, max(said.find("{"), 0))
    except (ValueError, RecursionError) as error:
        position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest.from_field_errors([FieldError("", f"this is not JSON{position}")]) from None
    try:
        return Script.model_validate(found)
    except ValidationError as error:
        raise InvalidRequest.from_field_errors(
            [FieldError("".join(f"/{part}" for part in each["loc"]), each["msg"]) for each in error.errors()]
        ) from None


def find_faults(script: Script, request: StoryboardRequest, limits: PlanLimits) -> list[FieldError]:
    """What the request asks for and the script does not have. The faults of its reel are found elsewhere."""
    faults: list[FieldError] = []
    count, asked = len(script.clips), limits.num_clips
    if asked is not None and count != asked:
        faults.append(FieldError("/clips", f"the user asked for {asked} clips, and these are {count}"))
    elif count > limits.max_clips:
        faults.append(FieldError("/clips", f"at most {limits.max_clips} clips are possible, and these are {count}"))
    known = {each.name.casefold() for each in (*request.characters, *script.characters)}
    faults += [
        FieldError(f"/clips/{index}/characters", f"nobody is called {name!r}")
        for index, clip in enumerate(script.clips)
        for name in clip.characters
        if name.casefold() not in known
    ]
    return [*faults, *_find_text_faults(script, request, limits)]


def fit_script(script: Script, request: StoryboardRequest, limits: PlanLimits) -> Script:
    """The script with lengths that the model makes, and without the names of nobody."""
    known = {each.name.casefold() for each in (*request.characters, *script.characters)}
    clips = [
        clip.model_copy(
            update={
                "characters": [name for name in clip.characters if name.casefold() in known],
                "duration_s": _fit_length(clip.duration_s, limits),
            }
        )
        for clip in script.clips
    ]
    return script.model_copy(update={"clips": clips})


def _fit_length(duration_s: float | None, limits: PlanLimits) -> float | None:
    return None if duration_s is None else min(max(duration_s, limits.shortest_s), limits.longest_s)


def _find_text_faults(script: Script, request: StoryboardRequest, limits: PlanLimits) -> list[FieldError]:
    """Captions and narration that were wished for and are not there, and narration that no voice says in time."""
    faults: list[FieldError] = []
    if request.caption and not any((clip.caption or "").strip() for clip in script.clips):
        faults.append(FieldError("/clips", "the user asked for captions, and no clip has one"))
    if not request.narrate:
        return faults
    if not any((clip.narration or "").strip() for clip in script.clips):
        faults.append(FieldError("/clips", "the user asked for narration, and no clip has one"))
    for index, clip in enumerate(script.clips):
        length_s, count = limits.clip_s(clip.duration_s), count_words(clip.narration or "")
        if count > words_in(length_s, MOST_WORDS_PER_S):
            has_time = f"a clip of {in_seconds(length_s)} has time for {words_in(length_s)} words"
            faults.append(FieldError(f"/clips/{index}/narration", f"{has_time}, and these are {count}"))
    return faults


def explain_faults(faults: Sequence[FieldError]) -> str:
    """One line for each fault, for the language model and for the user."""
    lines = [f"{fault.pointer or 'the answer'}: {fault.detail}" for fault in faults[:MAX_FAULTS]]
    more = len(faults) - MAX_FAULTS
    return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])
