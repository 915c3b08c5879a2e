"""Searches the jobs of an owner by words, tags, favorites and metadata.

Jobs are ranked by where the words are: all of them in the title and tags, then all of them anywhere, then as beginnings
of longer words. Within a rank, the newest comes first. So a page ends at a rank and a place, and stays in step with the
next one while jobs arrive, change and go.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    FromClause,
    Integer,
    Select,
    String,
    bindparam,
    cast,
    column,
    exists,
    false,
    join,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from phoenix.db import Database
from phoenix.errors import FieldError, MalformedRequest
from phoenix.jobs.library.words import Filters, Phrase, may_begin, split_query
from phoenix.jobs.repository import JobFilter, Page, fetch_full_jobs, job_conditions
from phoenix.jobs.tables import JobRow

# Triggers of the first migration keep both in step with `jobs`.
_WORDS = table("job_words", column("id"), column("job_id"), column("words", TSVECTOR))
_FTS = table("job_words_fts", column("rowid", Integer))

_CURSOR = re.compile(r"(?P<rank>[0-2])\.(?P<last>[0-9]{1,18}|job_[0-9a-z]{26})")


@dataclass(frozen=True)
class JobSearch:
    """What a job must have to be found. `text`: words and phrases, all of which it must contain."""

    text: str | None = None
    tags: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    favorite: bool | None = None

    def __bool__(self) -> bool:
        return bool((self.text or "").strip() or self.tags or self.metadata or self.favorite is not None)


@dataclass(frozen=True)
class _Cursor:
    """Where a page ended: the rank of its last job, and the place of that job in the rank."""

    rank: int
    last: str


@dataclass(frozen=True)
class Match:
    """The conditions of one rank. `words`: phrases that a job must have; the others are of an earlier rank."""

    filters: Filters
    words: Sequence[Phrase] = ()
    is_in_title: bool = False
    are_beginnings: bool = False
    earlier: "Match | None" = None

    def to_fts5(self) -> str:
        """The condition in the query language of SQLite's FTS5."""
        marks = [f'filters : "{mark}"' for mark in self.filters.required]
        unwanted = [f'filters : "{mark}"' for mark in self.filters.excluded]
        words = [self._words_in_fts5()] if self.words else []
        unwanted += [self.earlier._words_in_fts5()] if self.earlier else []
        wanted = " AND ".join([*marks, *words])
        return f"({wanted}) NOT ({' OR '.join(unwanted)})" if unwanted else wanted

    def _words_in_fts5(self) -> str:
        phrases = [f'"{" ".join(phrase)}"{self._mark_beginning(phrase, "*")}' for phrase in self.words]
        return f"({{{'title' if self.is_in_title else 'title text'}}} : ({' AND '.join(phrases)}))"

    def to_tsquery(self) -> str:
        """The condition as PostgreSQL's tsquery."""
        unwanted = [f"'{mark}'" for mark in self.filters.excluded]
        unwanted += [self.earlier._words_in_tsquery()] if self.earlier else []
        words = [self._words_in_tsquery()] if self.words else []
        wanted = [*(f"'{mark}'" for mark in self.filters.required), *words, *(f"!({each})" for each in unwanted)]
        return " & ".join(wanted)

    def _words_in_tsquery(self) -> str:
        mark = "~" if self.is_in_title else ""
        phrases = [
            " <-> ".join(f"'{mark}{word}'" for word in phrase) + self._mark_beginning(phrase, ":*")
            for phrase in self.words
        ]
        return f"({' & '.join(f'({phrase})' for phrase in phrases)})"

    def _mark_beginning(self, phrase: Phrase, mark: str) -> str:
        return mark if self.are_beginnings and may_begin(phrase) else ""


def list_ranks(search: JobSearch, owner_id: str) -> list[Match]:
    """The conditions of each rank, the best first; none if the text has no word to look for."""
    filters = Filters(owner_id, search.tags, search.metadata, search.favorite)
    if not (search.text or "").strip():
        return [Match(filters)]
    phrases = split_query(search.text or "")
    if not phrases:
        return []
    in_title = Match(filters, phrases, is_in_title=True)
    anywhere = Match(filters, phrases, earlier=in_title)
    beginnings = Match(filters, phrases, are_beginnings=True, earlier=anywhere)
    return [in_title, anywhere, *([beginnings] if any(map(may_begin, phrases)) else [])]


async def search_jobs(
    database: Database, search: JobSearch, wanted: JobFilter, *, owner_id: str, limit: int, cursor: str | None
) -> Page:
    """One page of the owner's jobs that are found, the best first. The rows are read only."""
    start = _decode(cursor, database.dialect) if cursor is not None else None
    found = await rank_by_words(database, search, wanted, owner_id=owner_id, limit=limit + 1, start=start)
    jobs = await fetch_full_jobs(database, [each.job_id for each in found[:limit]])
    last = found[limit - 1] if len(found) > limit else None
    return Page(jobs, _encode(_Cursor(last.rank, last.place)) if last else None)


@dataclass(frozen=True)
class RankedJob:
    """A found job: its rank, and its place in the rank."""

    rank: int
    place: str
    job_id: str


async def rank_by_words(
    database: Database,
    search: JobSearch,
    wanted: JobFilter,
    *,
    owner_id: str,
    limit: int,
    start: "_Cursor | None" = None,
) -> list[RankedJob]:
    """At most `limit` of the owner's jobs that are found, the best first, after `start`."""
    found: list[RankedJob] = []
    for rank, match in enumerate(list_ranks(search, owner_id)):
        if start and rank < start.rank:
            continue
        last = start.last if start and rank == start.rank else None
        statement = _select(database.dialect, match, wanted, owner_id, last).limit(limit - len(found))
        found += [RankedJob(rank, str(row.place), row.job_id) for row in await database.fetch(statement)]
        if len(found) >= limit:
            break
    return found


def select_filtered_ids(dialect: str, search: JobSearch, wanted: JobFilter, owner_id: str) -> Select[Any]:
    """Selects the ids of all jobs of the owner that pass the filters, with any words."""
    conditions = [col(JobRow.owner_id) == owner_id, *job_conditions(wanted)]
    if not (search.tags or search.metadata or search.favorite is not None):
        return select(col(JobRow.id)).where(*conditions)
    source, found = _source(dialect, Match(Filters(owner_id, search.tags, search.metadata, search.favorite)))
    statement = select(_WORDS.c.job_id).select_from(source).where(found)
    # The marks have the owner already.
    return (
        statement
        if wanted == JobFilter()
        else statement.where(exists().where(col(JobRow.id) == _WORDS.c.job_id, *conditions))
    )


def list_mark_conditions(search: JobSearch, owner_id: str) -> list[ColumnElement[bool]]:
    """The conditions on the row of a job that it has the tags, the metadata and the mark of a search; none for none.

    For few jobs, they cost less than the index.
    """
    if not (search.tags or search.metadata or search.favorite is not None):
        return []
    filters = Filters(owner_id, search.tags, search.metadata, search.favorite)
    marks = literal(" ") + col(JobRow.search_filters) + literal(" ")
    return [
        *(marks.contains(f" {mark} ") for mark in filters.required),
        *(~marks.contains(f" {mark} ") for mark in filters.excluded),
    ]


def select_matching_ids(dialect: str, text: str, owner_id: str) -> Select[Any]:
    """Selects the ids of all jobs of the owner with words that begin so."""
    matches = list_ranks(JobSearch(text), owner_id)
    statement = select(_WORDS.c.job_id)
    if not matches:
        return statement.where(false())
    source, found = _source(dialect, Match(matches[0].filters, matches[0].words, are_beginnings=True))
    return statement.select_from(source).where(found)


def _source(dialect: str, match: Match) -> tuple[FromClause, ColumnElement[bool]]:
    """The index, and the condition on it."""
    if dialect == "sqlite":
        # The sum keeps SQLite from asking the index for each job in turn.
        source = join(_FTS, _WORDS, _WORDS.c.id == _FTS.c.rowid + 0)
        return source, literal_column("job_words_fts").op("MATCH", is_comparison=True)(match.to_fts5())
    # As a literal, so that PostgreSQL plans by how common these very words are: it reads from the newest job on if they
    # are common, and asks the index if they are rare.
    query = cast(bindparam("tsquery", match.to_tsquery(), String, unique=True, literal_execute=True), TSQUERY)
    return _WORDS, _WORDS.c.words.op("@@", is_comparison=True)(query)


def _select(dialect: str, match: Match, wanted: JobFilter, owner_id: str, last: str | None) -> Select[Any, Any]:
    """Places and ids of the jobs of one rank after `last`. Databases number places differently."""
    conditions = [col(JobRow.owner_id) == owner_id, *job_conditions(wanted)]
    is_wanted = exists().where(col(JobRow.id) == _WORDS.c.job_id, *conditions)
    source, matches = _source(dialect, match)
    place = _FTS.c.rowid if dialect == "sqlite" else _WORDS.c.job_id
    statement = select(place.label("place"), _WORDS.c.job_id).select_from(source).where(matches, is_wanted)
    if last is not None:
        statement = statement.where(place < (int(last) if dialect == "sqlite" else last))
    return statement.order_by(place.desc())


def _encode(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(f"{cursor.rank}.{cursor.last}".encode()).decode().rstrip("=")


def _decode(text: str, dialect: str) -> _Cursor:
    """Raises `MalformedRequest` for a text that `_encode` has not made for this database."""
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except (binascii.Error, UnicodeError, ValueError):
        found = None
    if found is None or found["last"].isdecimal() != (dialect == "sqlite"):
        field_error = FieldError("/query/cursor", "Use the next_cursor of an earlier page of this search, unchanged.")
        raise MalformedRequest("The cursor is not one of this search.", field_errors=[field_error])
    return _Cursor(int(found["rank"]), found["last"])
