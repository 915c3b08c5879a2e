"""One request that has a storyboard written: stores the request first, and then follows the writing."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response

from phoenix.access.keys import Caller, hold_key
from phoenix.api.dependencies import AppStateDep, CallerDep
from phoenix.api.http.preferences import IdempotencyKey
from phoenix.api.lifespan import AppState
from phoenix.api.storyboards.following import respond, wants_stream
from phoenix.api.submission import fingerprint_of, get_resolver
from phoenix.catalog.catalog import Catalog
from phoenix.contract import (
    PlannerName,
    ReelRequest,
    Storyboard,
    StoryboardMessageRequest,
    StoryboardRequest,
    StoryboardState,
)
from phoenix.db import UnitOfWork
from phoenix.errors import Conflict, FieldError, Gone, InvalidRequest, NotFound
from phoenix.jobs.submission.idempotency import KeyedRequest, acquire_key, find_earlier_job, record_job
from phoenix.speech.voices import NO_ENGINE, resolve_voice
from phoenix.storyboards import repository
from phoenix.storyboards.limits import PlanLimits, fit_request
from phoenix.storyboards.llm_planner import Talk, WrittenReel, draft_from
from phoenix.storyboards.repository import Ticket
from phoenix.storyboards.script import script_of
from phoenix.storyboards.tables import StoryboardRow
from phoenix.storyboards.template import extend_by_template, plan_by_template

_LEASE_MARGIN_S = 30.0
"""Between the time limit of a language model and the moment from which a storyboard counts as lost."""


@dataclass(frozen=True)
class Desk:
    """One request that has a storyboard written."""

    state: AppState
    caller: Caller
    request: Request
    idempotency_key: IdempotencyKey

    def limits_of(self, request: StoryboardRequest) -> PlanLimits:
        """Raises `InvalidRequest`."""
        services = self.state.services
        settings = services.settings
        return fit_request(
            request,
            services.catalog,
            default_model=settings.engine.default_model,
            max_reel_s=settings.limits.max_reel_duration_s,
        )

    async def create(self, body: StoryboardRequest) -> Response:
        """Stores a new storyboard, and has it written."""
        keyed = self._keyed(fingerprint_of(body))
        if keyed and (earlier := await self._find_earlier(keyed)):
            return await self.replay(earlier)
        limits, planner = self.limits_of(body), self._choose_planner(body)
        self._check_voice(body)
        self.state.services.reserve.check()
        if planner == "llm":
            await self.state.request_limits.count_storyboard(self.caller)
        async with self.state.services.database.write() as uow:
            await hold_key(uow, self.caller)
            prepared, earlier = None, await acquire_key(uow, keyed) if keyed else None
            if earlier is None:
                row = await repository.create_storyboard(
                    uow, body, owner_id=self.caller.owner_id, planner=planner, limits=limits
                )
                prepared = await self._prepare(uow, row, limits, keyed)
        return await self._follow(*prepared, status=201) if prepared else await self.replay(earlier or "")

    async def change(self, storyboard_id: str, body: StoryboardMessageRequest | None) -> Response:
        """Adds a message, or tries again without one, and has the storyboard written. Raises `Conflict`."""
        keyed = self._keyed(fingerprint_of(body) if body else "retry")
        if keyed and (earlier := await self._find_earlier(keyed)):
            return await self.replay(earlier)
        owner_id = self.caller.owner_id
        async with self.state.services.database.read_once() as session:
            known = await repository.get_storyboard(session, storyboard_id, owner_id=owner_id)
        limits = self._limits_of_existing(known)
        if body is not None and body.reel is not None:
            await self._check_reel(body.reel)
        self.state.services.reserve.check()
        if known.planner == "llm":
            await self.state.request_limits.count_storyboard(self.caller)
        async with self.state.services.database.write() as uow:
            await hold_key(uow, self.caller)
            prepared, earlier = None, await acquire_key(uow, keyed) if keyed else None
            if earlier is None:
                row = await repository.get_locked(uow, storyboard_id, owner_id=owner_id)
                if body is None:
                    await repository.begin_retry(uow, row)
                else:
                    await repository.add_message(uow, row, body.text, body.reel)
                prepared = await self._prepare(uow, row, limits, keyed)
        return await self._follow(*prepared) if prepared else await self.replay(earlier or "")

    async def replay(self, storyboard_id: str) -> Response:
        """The storyboard of an earlier request with the same key, as it is now. Raises `Gone`."""
        try:
            response = await self.show(storyboard_id)
        except NotFound as error:
            raise Gone("The storyboard that this request made has been deleted.") from error
        response.headers["Idempotent-Replayed"] = "true"
        return response

    async def show(self, storyboard_id: str) -> Response:
        """The storyboard as it is, or its stream. Waits for a writing of this process only to stream it."""
        async with self.state.services.database.read_once() as session:
            found = await repository.get_storyboard(session, storyboard_id, owner_id=self.caller.owner_id)
        is_written = found.state is StoryboardState.WRITING
        writing = self.state.storyboards.find(storyboard_id) if is_written else None
        waits = self.request.method == "POST" or wants_stream(self.request)
        return await respond(self.request, self.state, found, writing if waits else None)

    async def _prepare(
        self, uow: UnitOfWork, row: StoryboardRow, limits: PlanLimits, keyed: KeyedRequest | None
    ) -> tuple[Storyboard, tuple[Ticket, Talk] | None]:
        """The storyboard, written by the template, or with what a language model needs to write it."""
        if keyed:
            await record_job(uow, keyed, row.id)
        talk = repository.talk_of(row, limits)
        if row.planner == "template":
            draft = draft_by_template(talk, self.state.services.catalog)
            await repository.finish_writing(uow, row, draft)
            return repository.view_storyboard(row, await uow.now()), None
        lease_s = self.state.services.settings.llm.timeout_s + _LEASE_MARGIN_S
        ticket = await repository.begin_writing(uow, row, lease_s=lease_s)
        return repository.view_storyboard(row, await uow.now()), (ticket, talk)

    async def _follow(self, storyboard: Storyboard, work: tuple[Ticket, Talk] | None, *, status: int = 200) -> Response:
        writing = self.state.storyboards.begin(*work) if work else None
        return await respond(self.request, self.state, storyboard, writing, status=status)

    async def _check_reel(self, reel: ReelRequest) -> None:
        """Raises `InvalidRequest` for what POST /v1/reels would refuse."""
        resolver = await get_resolver(self.state)
        try:
            await resolver.resolve(reel, owner_id=self.caller.owner_id)
        except InvalidRequest as refusal:
            faults = [FieldError(f"/reel{each.pointer}", each.detail) for each in refusal.field_errors]
            raise InvalidRequest.from_field_errors(faults) from None

    def _choose_planner(self, body: StoryboardRequest) -> PlannerName:
        has_llm = self.state.services.settings.llm.is_configured
        if body.planner == "llm" and not has_llm:
            detail = "this server has no language model; leave planner out, or choose template"
            raise InvalidRequest.from_field_errors([FieldError("/planner", detail)])
        return body.planner or ("llm" if has_llm else "template")

    def _check_voice(self, body: StoryboardRequest) -> None:
        """Raises `InvalidRequest` if nothing here speaks the narration that the planner would write."""
        voice = resolve_voice(body.voice, self.state.services.settings.tts) if body.narrate else None
        if isinstance(voice, FieldError):
            pointer = "/narrate" if voice.detail == NO_ENGINE else voice.pointer
            raise InvalidRequest.from_field_errors([FieldError(pointer, voice.detail)])

    def _limits_of_existing(self, known: Storyboard) -> PlanLimits:
        try:
            return self.limits_of(known.request)
        except InvalidRequest as error:
            raise Conflict(f"The catalog has changed since the storyboard was made: {error.detail}") from error

    def _keyed(self, fingerprint: str) -> KeyedRequest | None:
        if self.idempotency_key is None:
            return None
        route = f"{self.request.method} {self.request.url.path}"
        return KeyedRequest(self.caller.owner_id, route, self.idempotency_key, fingerprint)

    async def _find_earlier(self, keyed: KeyedRequest) -> str | None:
        async with self.state.services.database.read_once() as session:
            return await find_earlier_job(session, keyed)


def draft_by_template(talk: Talk, catalog: Catalog) -> WrittenReel:
    """What the template makes of a talk: of the idea, or of the reel that the user has changed."""
    if talk.script is None or talk.reel is None:
        plan = plan_by_template(talk.request, talk.wishes, talk.limits)
        return WrittenReel(draft_from(plan, talk, catalog), plan.message)
    plan = extend_by_template(talk.request, talk.reel, talk.wishes[talk.answered :], talk.limits)
    body = draft_from(plan, talk, catalog)
    return WrittenReel(body, plan.message, script_of(ReelRequest.model_validate(body), message=plan.message))


async def get_desk(
    state: AppStateDep, caller: CallerDep, request: Request, idempotency_key: IdempotencyKey = None
) -> Desk:
    return Desk(state, caller, request, idempotency_key)


async def get_reading_desk(state: AppStateDep, caller: CallerDep, request: Request) -> Desk:
    return Desk(state, caller, request, None)


DeskDep = Annotated[Desk, Depends(get_desk)]
ReadingDeskDep = Annotated[Desk, Depends(get_reading_desk)]
