"""Searches the jobs of an owner by what they are about, and keeps the vectors with which that is done.

A background service computes the vectors of a job after it was submitted. The words of the query are looked for as
well: a job ranks by its places in both lists (reciprocal rank fusion). So a job without vectors is found by its words.
"""

import asyncio
import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, String, cast, delete, exists, func, insert, select
from sqlmodel import col

from phoenix.db import Database, UnitOfWork, acquire_lock, table_of
from phoenix.embedding.binary_index import parse_keys
from phoenix.embedding.passages import passages_of_job
from phoenix.embedding.vectors import Vectors, rank_by_similarity
from phoenix.errors import FieldError, MalformedRequest
from phoenix.jobs.library.search import JobSearch, list_mark_conditions, rank_by_words, select_filtered_ids
from phoenix.jobs.library.vector_indexes import VectorIndexes
from phoenix.jobs.repository import JobFilter, Page, fetch_full_jobs, job_conditions
from phoenix.jobs.tables import JobEmbeddingRow, JobRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FOUND = 200
"""The most jobs that each of the two lists has."""
MAX_RESCORED = 1000
"""The jobs that an index in memory finds for a search, and whose vectors are then compared with all bits."""
_FEW = 2500
"""So many jobs that pass a filter are listed for less than it takes to ask 1,000 jobs whether they pass it."""
_FUSION = 60
"""The constant of reciprocal rank fusion. The larger it is, the more a job gains by being in both lists."""
_CURSOR = re.compile(r"m\.(?P<offset>[0-9]{1,4})\.(?P<newest>job_[0-9a-z]{26})")


_Look = Callable[..., Awaitable[list[tuple[str, bytes]]]]
_List = Callable[[], Awaitable[tuple[int, "NDArray[np.int64]"]]]


@dataclass(frozen=True)
class MeaningSearch:
    """What a job must be about. `example`: the job that the query was made of, which is not found itself."""

    query: Vectors
    min_similarity: float
    example: str | None = None


async def search_by_meaning(
    database: Database,
    indexes: VectorIndexes,
    meaning: MeaningSearch,
    search: JobSearch,
    wanted: JobFilter,
    *,
    owner_id: str,
    limit: int,
    cursor: str | None,
) -> Page:
    """One page of the owner's jobs that are about the query, the best first. The rows are read only.

    `search`: the words of the query, and what a job must have. Later pages leave out the jobs that were submitted since
    the first page.
    """
    start = _decode(cursor) if cursor is not None else None
    newest = start.newest if start else await _find_newest(database, owner_id)
    if newest is None:
        return Page([], None)
    rankings = [await _rank_similar(database, indexes, meaning, search, wanted, owner_id=owner_id)]
    if (search.text or "").strip():
        found = await rank_by_words(database, search, wanted, owner_id=owner_id, limit=MAX_FOUND)
        rankings.append([each.job_id for each in found])
    ids = [job_id for job_id in fuse(rankings) if job_id <= newest]
    offset = start.offset if start else 0
    end = offset + limit
    jobs = await fetch_full_jobs(database, ids[offset:end])
    return Page(jobs, _encode(_MeaningCursor(end, newest)) if len(ids) > end else None)


def fuse(rankings: Sequence[Sequence[str]]) -> list[str]:
    """The ids of all rankings, ordered by the sum of 1 / (60 + place); the newer of two equal ones first. Pure."""
    scores: defaultdict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, each in enumerate(ranking, start=1):
            scores[each] += 1 / (_FUSION + place)
    return sorted(scores, key=lambda each: (scores[each], each), reverse=True)


async def _find_newest(database: Database, owner_id: str) -> str | None:
    [(newest,)] = await database.fetch(select(func.max(col(JobRow.id))).where(col(JobRow.owner_id) == owner_id))
    return newest


async def _rank_similar(
    database: Database,
    indexes: VectorIndexes,
    meaning: MeaningSearch,
    search: JobSearch,
    wanted: JobFilter,
    *,
    owner_id: str,
) -> list[str]:
    """Compares the query with the vectors of the owner's jobs that pass the filters."""
    conditions = [*list_mark_conditions(search, owner_id), *(job_conditions(wanted) if wanted != JobFilter() else ())]
    look = partial(_read_nearest, database, indexes, meaning.query, owner_id=owner_id)
    if not conditions:
        stored = await look()
    else:
        list_filtered = partial(_list_filtered, database, search, wanted, owner_id=owner_id)
        count, among = await list_filtered(limit=_FEW + 1)
        if count <= _FEW:
            stored = await look(among=among)
        else:
            stored = await _look_where_many_pass(look, list_filtered, conditions)
    return await asyncio.to_thread(
        rank_by_similarity,
        [(job_id, vectors) for job_id, vectors in stored if job_id != meaning.example],
        meaning.query,
        min_similarity=meaning.min_similarity,
        limit=MAX_FOUND,
    )


async def _look_where_many_pass(
    look: _Look, list_filtered: _List, conditions: Sequence[ColumnElement[bool]]
) -> list[tuple[str, bytes]]:
    """Looks at the nearest rows, at more of them, or at all that pass: until enough have passed."""
    stored = await look(conditions=conditions)
    if MAX_FOUND > len(stored) >= MAX_FOUND * MAX_RESCORED / _FEW:
        stored = await look(conditions=conditions, limit=_FEW)
    if len(stored) < MAX_FOUND:
        _, among = await list_filtered()
        stored = await look(among=among)
    return stored


async def _read_nearest(
    database: Database,
    indexes: VectorIndexes,
    query: Vectors,
    *,
    owner_id: str,
    conditions: Sequence[ColumnElement[bool]] = (),
    among: "NDArray[np.int64] | None" = None,
    limit: int = MAX_RESCORED,
) -> list[tuple[str, bytes]]:
    """Jobs and vectors of the rows that are likely to be the most similar, as far as their jobs meet the conditions."""
    row = JobEmbeddingRow
    while True:
        index = await indexes.read(owner_id, query)
        ids = await asyncio.to_thread(index.find_nearest, query, limit=limit, among=among)
        statement = select(col(row.id), col(row.job_id), col(row.vectors)).where(col(row.id).in_(ids))
        if conditions:
            # Each row is looked up by its id. A join might begin with all jobs in a common state.
            statement = statement.where(exists().where(col(JobRow.id) == col(row.job_id), *conditions))
        stored = await database.fetch(statement)
        found = {each.id for each in stored}
        gone = [] if conditions else [each for each in ids if each not in found]
        indexes.forget(owner_id, query, gone)
        # What was deleted since the last search has taken the places of other jobs.
        if 2 * len(gone) <= len(ids):
            return [(each.job_id, each.vectors) for each in stored]


async def _list_filtered(
    database: Database, search: JobSearch, wanted: JobFilter, *, owner_id: str, limit: int | None = None
) -> tuple[int, "NDArray[np.int64]"]:
    """How many jobs pass the filters, at most `limit`, and the ids of their rows. Jobs without vectors have no row."""
    row = JobEmbeddingRow
    jobs = select_filtered_ids(database.dialect, search, wanted, owner_id).limit(limit).subquery()
    # As one text: a value for each row would take most of the time.
    ids = func.aggregate_strings(cast(col(row.id), String), ",")
    (job_id,) = jobs.c
    statement = select(func.count().label("num_jobs"), ids.label("ids"))
    [found] = await database.fetch(statement.select_from(jobs).outerjoin(row, col(row.job_id) == job_id))
    return found.num_jobs, parse_keys(found.ids or "")


async def find_vectors(database: Database, job_id: str, *, model: str) -> Vectors | None:
    """The stored vectors of a job; None until they are computed. The caller checks who owns the job."""
    statement = select(col(JobEmbeddingRow.vectors)).where(
        col(JobEmbeddingRow.job_id) == job_id, col(JobEmbeddingRow.model) == model
    )
    rows = await database.fetch(statement.add_columns(col(JobEmbeddingRow.size)))
    return Vectors(model, rows[0].size, rows[0].vectors) if rows else None


@dataclass(frozen=True)
class UnembeddedJob:
    """A job without vectors, with its texts, and its words as they were then."""

    job_id: str
    owner_id: str
    passages: Sequence[str]
    words: tuple[str, str]


def describe_job(job: Any) -> UnembeddedJob:
    """From a row with the columns of `JobRow`."""
    passages = passages_of_job(job.request, title=job.title, tags=job.tags)
    return UnembeddedJob(job.id, job.owner_id, passages, (job.search_title, job.search_text))


async def list_unembedded(database: Database, *, limit: int) -> list[UnembeddedJob]:
    """Jobs of any owner without vectors, the newest first."""
    job_id = col(JobRow.id)
    statement = (
        select(
            job_id,
            col(JobRow.owner_id),
            col(JobRow.title),
            col(JobRow.tags),
            col(JobRow.request),
            col(JobRow.search_title),
            col(JobRow.search_text),
        )
        .outerjoin(JobEmbeddingRow, col(JobEmbeddingRow.job_id) == job_id)
        .where(col(JobEmbeddingRow.job_id).is_(None))
        .order_by(job_id.desc())
        .limit(limit)
    )
    return [describe_job(row) for row in await database.fetch(statement)]


async def store_vectors(uow: UnitOfWork, made: Mapping[str, tuple[UnembeddedJob, Vectors]]) -> None:
    """Stores the vectors of jobs by id.

    Leaves out jobs that were deleted, whose words have changed since, or that another replica gave vectors meanwhile.
    """
    # Otherwise a row could be seen after one with a higher id, and `VectorIndexes` would not read it.
    await acquire_lock(uow.session, "job_embeddings")
    statement = (
        select(col(JobRow.id), col(JobRow.search_title), col(JobRow.search_text))
        .where(col(JobRow.id).in_(made), ~exists().where(col(JobEmbeddingRow.job_id) == col(JobRow.id)))
        # A change of the words waits for this transaction, and then deletes the row. Nothing here waits for a change.
        .with_for_update(read=True, skip_locked=True)
    )
    rows = [
        {
            "job_id": job_id,
            "owner_id": each.owner_id,
            "model": vectors.model,
            "size": vectors.size,
            "vectors": vectors.data,
        }
        for job_id, title, text in await uow.session.execute(statement)
        for each, vectors in [made[job_id]]
        if each.words == (title, text)
    ]
    if rows:
        await uow.session.execute(insert(table_of(JobEmbeddingRow)), rows)


async def delete_vectors(uow: UnitOfWork, job_id: str) -> None:
    """Has the vectors of a job computed again. The caller holds the lock on the job's row."""
    await uow.session.execute(delete(JobEmbeddingRow).where(col(JobEmbeddingRow.job_id) == job_id))


async def delete_vectors_of_other_models(uow: UnitOfWork, model: str) -> None:
    """Vectors of two models cannot be compared."""
    await uow.session.execute(delete(JobEmbeddingRow).where(col(JobEmbeddingRow.model) != model))


@dataclass(frozen=True)
class _MeaningCursor:
    """Where a page ended: a place in the list of the jobs up to `newest`."""

    offset: int
    newest: str


def _encode(cursor: _MeaningCursor) -> str:
    return base64.urlsafe_b64encode(f"m.{cursor.offset}.{cursor.newest}".encode()).decode().rstrip("=")


def _decode(text: str) -> _MeaningCursor:
    """Raises `MalformedRequest` for a text that `_encode` has not made."""
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except (binascii.Error, UnicodeError, ValueError):
        found = None
    if found is None:
        field_error = FieldError("/query/cursor", "Use the next_cursor of an earlier page of this search, unchanged.")
        raise MalformedRequest("The cursor is not one of this search.", field_errors=[field_error])
    return _MeaningCursor(int(found["offset"]), found["newest"])
