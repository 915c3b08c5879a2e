"""Whose work a request is about: the caller's own, or with `owner` the work of another key or of all keys."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import Field

from phoenix.access.keys import Caller, Scope
from phoenix.api.dependencies import AppStateDep, get_caller
from phoenix.api.http.declarations import JobIdInPath
from phoenix.api.lifespan import AppState
from phoenix.contract import Omittable, Text
from phoenix.errors import FieldError, Forbidden, InvalidRequest
from phoenix.jobs.library.search import JobSearch, search_jobs
from phoenix.jobs.repository import JobFilter, Page, fetch_owner_id

ALL = "all"
_READ_METHODS = frozenset({"GET", "HEAD"})

OwnerInQuery = Annotated[
    Omittable[Annotated[Text, Field(min_length=1, max_length=64)]],
    Query(
        description="The id of a key, or `all`: jobs of that key or of all keys, in place of your own. Requires the "
        "scope `operator` to read, and `admin` to change something."
    ),
]


@dataclass(frozen=True)
class WantedOwner:
    """The caller, and the owner that it asks for; None for all owners."""

    caller: Caller
    owner_id: str | None


@dataclass(frozen=True)
class JobSubject:
    """One job, its owner, and the caller that asks for it."""

    job_id: str
    owner_id: str
    caller: Caller

    @property
    def is_foreign(self) -> bool:
        return self.owner_id != self.caller.owner_id


async def get_wanted_owner(request: Request, owner: OwnerInQuery = None) -> WantedOwner:
    """Raises like `get_caller`, and `Forbidden` for the work of another key without the scope."""
    caller = await get_caller(request)
    if owner is None or owner == caller.owner_id:
        return WantedOwner(caller, caller.owner_id)
    caller.check(Scope.OPERATOR if request.method in _READ_METHODS else Scope.ADMIN)
    return WantedOwner(caller, None if owner == ALL else owner)


WantedOwnerDep = Annotated[WantedOwner, Depends(get_wanted_owner)]


async def find_jobs(
    state: AppState, whose: WantedOwner, wanted: JobFilter, search: JobSearch, *, limit: int, cursor: str | None
) -> Page:
    """One page of jobs. Raises `Forbidden` for a search by words that the caller may not see."""
    if not search:
        return await state.job_views.jobs.list_page(wanted, owner_id=whose.owner_id, limit=limit, cursor=cursor)
    owner_id = get_searched_owner(state, whose)
    return await search_jobs(state.services.database, search, wanted, owner_id=owner_id, limit=limit, cursor=cursor)


def get_searched_owner(state: AppState, whose: WantedOwner) -> str:
    """The owner whose jobs are searched. Raises `InvalidRequest` for all owners, and `Forbidden` for hidden words."""
    owner_id = whose.owner_id
    if owner_id is None:
        raise InvalidRequest.from_field_errors([FieldError("/query/owner", "name one key: a search is of one owner")])
    if owner_id != whose.caller.owner_id and not state.services.settings.api.show_prompts_to_operators:
        raise Forbidden(
            "The words of other keys are hidden, and so is a search for them. Filter by `state`, `kind`, `model` or "
            "time, or set PHOENIX_API__SHOW_PROMPTS_TO_OPERATORS."
        )
    return owner_id


async def get_job_subject(state: AppStateDep, wanted: WantedOwnerDep, job_id: JobIdInPath) -> JobSubject:
    """Raises `NotFound` for a job that does not exist, once all owners were asked for."""
    owner_id = wanted.owner_id
    if owner_id is None:
        owner_id = await fetch_owner_id(state.services.database, job_id)
    return JobSubject(job_id, owner_id, wanted.caller)


JobSubjectDep = Annotated[JobSubject, Depends(get_job_subject)]
