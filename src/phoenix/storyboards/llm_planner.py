"""The planner with a language model: asks it, holds its answer to the reel's own rules, and has it repaired once."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from phoenix.catalog.catalog import Catalog
from phoenix.catalog.request_validation import SEED_SPACE, AdmissionLimits, admit_reel
from phoenix.contract import ReelRequest, StoryboardErrorCode, StoryboardRequest
from phoenix.errors import FieldError, InvalidRequest
from phoenix.storyboards.limits import PlanLimits
from phoenix.storyboards.llm import Llm, WritingFailed
from phoenix.storyboards.plan import Document, Plan, compose_reel
from phoenix.storyboards.prompting import ChatMessage, ask_for_repair, chat_about
from phoenix.storyboards.script import explain_faults, find_faults, fit_script, read_script, script_schema

OnText = Callable[[int, str], None]
"""Gets the number of the answer, 1 or 2, and the next part of its text."""


@dataclass(frozen=True)
class WrittenReel:
    """A storyboard that was written: the body of a reel, what the planner says about it, and what it wrote."""

    reel: Document
    message: str
    script: Document | None = None
    """The answer of the language model, for the next message. None for a template."""


@dataclass(frozen=True)
class Talk:
    """What a storyboard is written from."""

    request: StoryboardRequest
    limits: PlanLimits
    wishes: tuple[str, ...] = ()
    """The messages of the user after the idea."""
    answered: int = 0
    """How many of the wishes are in the script."""
    script: Document | None = None
    reel: ReelRequest | None = None
    """The reel as it stands."""


def draw_seed() -> int:
    return secrets.randbelow(SEED_SPACE)


def draft_from(plan: Plan, talk: Talk, catalog: Catalog) -> Document:
    """The body of the reel of a plan. Raises `InvalidRequest` with every fault that POST /v1/reels would find."""
    body = compose_reel(plan, talk.request, talk.limits, earlier=talk.reel, draw_seed=draw_seed)
    try:
        reel = ReelRequest.model_validate(body)
    except ValidationError as error:
        faults = [FieldError("".join(f"/{part}" for part in each["loc"]), each["msg"]) for each in error.errors()]
        raise InvalidRequest.from_field_errors(faults) from None
    limits = AdmissionLimits(max_reel_duration_s=talk.limits.max_reel_s)
    # The files of a user are checked when the reel is posted.
    admit_reel(
        reel, catalog, default_model=talk.limits.model.id, limits=limits, draw_seed=draw_seed, finished_clips=None
    )
    return body


class LlmPlanner:
    """Writes storyboards with a language model. One per process."""

    def __init__(self, llm: Llm, catalog: Catalog, *, timeout_s: float) -> None:
        self._llm = llm
        self._catalog = catalog
        self._timeout_s = timeout_s

    async def write(self, talk: Talk, on_text: OnText) -> WrittenReel:
        """The storyboard, after one repair if the first answer is no reel. Raises `WritingFailed`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._write(talk, on_text)
        except TimeoutError:
            detail = f"The language model has not answered within {self._timeout_s:.0f} s."
            raise WritingFailed(StoryboardErrorCode.TIMEOUT, detail) from None

    async def _write(self, talk: Talk, on_text: OnText) -> WrittenReel:
        schema = script_schema(talk.request, talk.limits)
        messages = chat_about(
            talk.request, talk.limits, schema, wishes=talk.wishes, answered=talk.answered, script=talk.script
        )
        answer = await self._llm.answer(messages, schema, lambda text: on_text(1, text))
        try:
            return self._read(answer, talk)
        except InvalidRequest as refusal:
            repair = [*messages, *ask_for_repair(answer, explain_faults(refusal.field_errors))]
        return await self._repair(repair, schema, talk, on_text)

    async def _repair(
        self, messages: Sequence[ChatMessage], schema: Document, talk: Talk, on_text: OnText
    ) -> WrittenReel:
        answer = await self._llm.answer(messages, schema, lambda text: on_text(2, text))
        try:
            return self._read(answer, talk, is_last=True)
        except InvalidRequest as refusal:
            faults = explain_faults(refusal.field_errors[:3])
            detail = f"The language model wrote no reel that can be made, although it was given its faults: {faults}"
            raise WritingFailed(StoryboardErrorCode.INVALID_ANSWER, detail) from None

    def _read(self, answer: str, talk: Talk, *, is_last: bool = False) -> WrittenReel:
        """Raises `InvalidRequest` with every fault of the answer. What can be fitted is no fault of the last answer."""
        script = read_script(answer)
        if is_last:
            script = fit_script(script, talk.request, talk.limits)
        faults = find_faults(script, talk.request, talk.limits)
        plan = script.as_plan()
        try:
            reel = draft_from(plan, talk, self._catalog)
        except InvalidRequest as refusal:
            raise InvalidRequest.from_field_errors([*faults, *refusal.field_errors]) from None
        if faults:
            raise InvalidRequest.from_field_errors(faults)
        return WrittenReel(reel, plan.message, script.model_dump(mode="json", exclude_none=True))
