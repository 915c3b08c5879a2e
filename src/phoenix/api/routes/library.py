"""The jobs of an owner as a library: list and search them, name and tag them, show what they were made of."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.openapi.models import Example
from pydantic import Field, TypeAdapter, ValidationError

from phoenix.api.dependencies import AppStateDep, AuthFirstRoute, DatabaseDep, JobViewsDep, OwnerDep
from phoenix.api.http.declarations import (
    PAGE_LISTED,
    Flag,
    IfMatch,
    JobIdInPath,
    PageCursor,
    SearchText,
    link_next_page,
)
from phoenix.api.http.known_parameters import ANY_KEY
from phoenix.api.lifespan import AppState
from phoenix.api.steering.hidden_words import show_job
from phoenix.api.steering.job_acts import JobActsDep
from phoenix.api.steering.owners import JobSubjectDep, WantedOwnerDep, find_jobs, get_searched_owner
from phoenix.contract import (
    Instant,
    Job,
    JobChanges,
    JobKind,
    JobManifest,
    JobPage,
    JobState,
    Metadata,
    Omittable,
    PageLimit,
    Tags,
    Text,
)
from phoenix.embedding.sentence_model import SentenceModelUnusable
from phoenix.embedding.vectors import Vectors
from phoenix.errors import FieldError, InvalidRequest
from phoenix.ids import JOB_ID_PATTERN
from phoenix.jobs.library.meaning import MeaningSearch, describe_job, find_vectors, search_by_meaning
from phoenix.jobs.library.search import JobSearch
from phoenix.jobs.provenance.manifest import read_manifest
from phoenix.jobs.repository import JobFilter, get_full_job, get_job

router = APIRouter(route_class=AuthFirstRoute, tags=["jobs"])

_METADATA = "metadata."
_metadata: TypeAdapter[Metadata] = TypeAdapter(Metadata)
_CHANGES: dict[str, Example] = {
    "a name and tags": {"value": {"title": "Harbour", "tags": ["sea", "dawn"]}},
    "a favorite": {"value": {"favorite": True}},
    "an earlier turn": {"value": {"priority": "high"}},
}


async def get_filter(
    state: Omittable[JobState] = None,
    kind: Omittable[JobKind] = None,
    model: Omittable[SearchText] = None,
    created_after: Omittable[Instant] = None,
    created_before: Omittable[Instant] = None,
) -> JobFilter:
    return JobFilter(state, kind, model, created_after, created_before)


async def get_search(
    request: Request,
    q: Annotated[
        Omittable[SearchText],
        Query(
            description="Words of the title, the tags, the prompts and the metadata, all of which a job has. Words in "
            'double quotes follow each other. "pain" also finds "painting", after the jobs with the whole word.'
        ),
    ] = None,
    tag: Annotated[Omittable[Tags], Query(description="A tag; given several times, all of these tags.")] = None,
    favorite: Annotated[Omittable[Flag], Query(description="Only favorites, or only the others.")] = None,
) -> JobSearch:
    return JobSearch(q, tag or (), _read_metadata(request), favorite)


async def find_meaning(
    state: AppStateDep,
    whose: WantedOwnerDep,
    search: Annotated[JobSearch, Depends(get_search)],
    mode: Annotated[
        Literal["words", "meaning"],
        Query(
            description="How `q` is looked for. `meaning` finds jobs that are about it, also in other words, together "
            "with the jobs that have the words. It needs the extra `search` on the server."
        ),
    ] = "words",
    similar_to: Annotated[
        Omittable[Annotated[str, Field(pattern=JOB_ID_PATTERN)]],
        Query(description="Id of a job of yours, in place of `q`: finds the jobs that are about the same."),
    ] = None,
) -> MeaningSearch | None:
    """The search by meaning that is asked for; None for one by words. Raises `InvalidRequest`."""
    if mode == "words" and similar_to is None:
        return None
    has_text = bool((search.text or "").strip())
    if has_text == (similar_to is not None):
        detail = "Give either q or similar_to." if has_text else "Give q, the text to look for, or similar_to."
        raise InvalidRequest.from_field_errors([FieldError("/query/similar_to" if has_text else "/query/q", detail)])
    pointer = "/query/mode" if similar_to is None else "/query/similar_to"
    if state.embedder.fault is not None:
        raise InvalidRequest.from_field_errors([FieldError(pointer, state.embedder.fault)])
    try:
        query = await _embed_query(state, search.text or "", similar_to, get_searched_owner(state, whose))
    except SentenceModelUnusable as error:
        raise InvalidRequest.from_field_errors([FieldError(pointer, error.detail)]) from error
    if not query:
        raise InvalidRequest.from_field_errors([FieldError(pointer, "The job has no texts to compare.")])
    return MeaningSearch(query, state.services.settings.search.min_similarity, similar_to)


async def _embed_query(state: AppState, text: str, similar_to: str | None, owner: str) -> Vectors:
    """The vectors of the text or of the job. Raises `NotFound` for a job that the owner does not have."""
    embedder, database = state.embedder, state.services.database
    if similar_to is None:
        return await embedder.embed([text])
    async with database.read() as session:
        job = describe_job(await get_job(session, similar_to, owner_id=owner))
    stored = await find_vectors(database, similar_to, model=embedder.model_name)
    if stored is not None:
        return stored
    return await embedder.embed(job.passages) if job.passages else Vectors(embedder.model_name, 0, b"")


async def document_search(
    metadata: Annotated[
        Omittable[Annotated[Text, Field(max_length=512)]],
        Query(
            alias=f"metadata{ANY_KEY}",
            description="A value in the metadata. Write the key in place of `KEY`, as in `metadata.customer=42`.",
        ),
    ] = None,
) -> None:
    """Documents and checks parameters that the route need not look at, or reads from the request."""


def _read_metadata(request: Request) -> Metadata:
    """The parameters `metadata.KEY`. Raises `InvalidRequest` for a key or a value that no metadata have."""
    names = [name for name in request.query_params if name.startswith(_METADATA)]
    if not names:
        return {}
    try:
        return _metadata.validate_python({name[len(_METADATA) :]: request.query_params[name] for name in names})
    except ValidationError as error:
        field_errors = [
            FieldError("/query/" + _METADATA + "".join(map(str, each["loc"][:1])), each["msg"])
            for each in error.errors()
        ]
        raise InvalidRequest.from_field_errors(field_errors) from error


@router.head("/v1/jobs", include_in_schema=False)
@router.get("/v1/jobs", response_model=JobPage, responses=PAGE_LISTED, dependencies=[Depends(document_search)])
async def list_jobs(
    request: Request,
    state: AppStateDep,
    whose: WantedOwnerDep,
    wanted: Annotated[JobFilter, Depends(get_filter)],
    search: Annotated[JobSearch, Depends(get_search)],
    meaning: Annotated[MeaningSearch | None, Depends(find_meaning)],
    limit: Annotated[PageLimit, Query()] = 20,
    cursor: PageCursor = None,
) -> Response:
    """List or search jobs, newest first.

    With `q`, jobs that have all of the words in their title and tags come first. Paging is stable while jobs arrive: no
    job is repeated or skipped. The next page is also in the `Link` header. The words of other owners are hidden from
    operators, who therefore cannot search them, unless the settings show them.
    """
    if meaning is None:
        page = await find_jobs(state, whose, wanted, search, limit=limit, cursor=cursor)
    else:
        owner_id = get_searched_owner(state, whose)
        database, indexes = state.services.database, state.vector_indexes
        page = await search_by_meaning(
            database, indexes, meaning, search, wanted, owner_id=owner_id, limit=limit, cursor=cursor
        )
    views = await state.job_views.view(*page.jobs)
    shown = [show_job(job, whose.caller, state.services.settings) for job in views]
    body = write_page([state.job_views.to_json(job) for job in shown], page.next_cursor)
    response = Response(body, media_type="application/json")
    link_next_page(request, response, page.next_cursor)
    return response


def write_page(jobs: Sequence[bytes], next_cursor: str | None) -> bytes:
    """The JSON of a `JobPage` of jobs that are written already."""
    end = JobPage(data=[], has_more=next_cursor is not None, next_cursor=next_cursor).model_dump_json().encode()
    return end.replace(b"[]", b"[" + b",".join(jobs) + b"]", 1)


@router.patch("/v1/jobs/{job_id}")
async def change_job(
    body: Annotated[JobChanges, Body(openapi_examples=_CHANGES)],
    acts: JobActsDep,
    subject: JobSubjectDep,
    if_match: IfMatch = None,
) -> Job:
    """Change a job.

    Its title, tags and metadata, and whether it is a favorite, in any state; also its priority and how long it may
    wait, while it is queued. What is left out stays as it is. 409 with the field for a change that comes too late.
    An administrator may change how the jobs of others wait, and move a job to the front of its queue.
    """
    await acts.change(subject, body, if_match)
    return await acts.show(subject)


@router.head("/v1/jobs/{job_id}/manifest", include_in_schema=False)
@router.get("/v1/jobs/{job_id}/manifest")
async def get_manifest(
    state: AppStateDep, database: DatabaseDep, job_views: JobViewsDep, owner: OwnerDep, job_id: JobIdInPath
) -> JobManifest:
    """Show what a result was made of.

    The resolved request, each seed and content key, the SHA-256 of all files that were read and made, and the versions
    of the software. `replay` is a request for the same result. 409 until the job has succeeded.
    """
    view = await job_views.fetch(job_id, owner)
    async with database.read() as session:
        job = await get_full_job(session, job_id, owner_id=owner)
        return await read_manifest(session, job, view, state.services.catalog)
