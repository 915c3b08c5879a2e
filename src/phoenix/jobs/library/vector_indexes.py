"""The vectors of the owners that search by meaning, as indexes in memory that are brought up to date by each search.

Rows are only added to the table, with rising ids, or deleted. So a search reads the rows after the last known row, and
notices that a row of the index was deleted when it reads the vectors of that row.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlmodel import col

from phoenix.db import Database
from phoenix.embedding.binary_index import BinaryIndex, build_index, join_indexes
from phoenix.embedding.vectors import Vectors
from phoenix.jobs.tables import JobEmbeddingRow

MAX_VECTORS = 1_000_000
"""The most vectors that the indexes of a process have together: about 64 MB. Of one owner, the newest ones."""
_ROWS_AT_ONCE = 1000
"""Rows that are read at once: the event loop stands still for a few milliseconds meanwhile."""


@dataclass
class _OwnerIndex:
    """What is known of the vectors of one owner and one model. `last_id`: of the last row that was read."""

    index: BinaryIndex
    last_id: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class VectorIndexes:
    """The indexes of one process. The owners that searched last have theirs in memory."""

    def __init__(self, database: Database, *, max_vectors: int = MAX_VECTORS) -> None:
        self._database = database
        self._max_vectors = max_vectors
        self._kept: OrderedDict[tuple[str, str], _OwnerIndex] = OrderedDict()

    async def read(self, owner_id: str, query: Vectors) -> BinaryIndex:
        """The index of the owner's vectors that can be compared with the query. Its keys are the ids of their rows.

        The first call for an owner reads all rows, and later calls the new ones.
        """
        key = (owner_id, query.model)
        if key not in self._kept:
            self._kept[key] = _OwnerIndex(build_index([], query.size))
        kept = self._kept[key]
        self._kept.move_to_end(key)
        # Searches of an owner that come together read the rows once.
        async with kept.lock:
            parts: list[BinaryIndex] = []
            while rows := await self._read_rows(owner_id, query.model, kept.last_id):
                parts.append(await asyncio.to_thread(build_index, rows, query.size))
                kept.last_id = rows[-1][0]
            if parts:
                kept.index = await asyncio.to_thread(self._join, [kept.index, *parts])
        self._drop_oldest()
        return kept.index

    def forget(self, owner_id: str, query: Vectors, ids: Sequence[int]) -> None:
        """Leaves rows that were deleted out of the index of an owner."""
        kept = self._kept.get((owner_id, query.model))
        if kept is not None and ids:
            kept.index = kept.index.without(ids)

    async def _read_rows(self, owner_id: str, model: str, after_id: int) -> Sequence[tuple[int, bytes]]:
        row_id = col(JobEmbeddingRow.id)
        statement = (
            select(row_id, col(JobEmbeddingRow.vectors))
            .where(col(JobEmbeddingRow.owner_id) == owner_id, row_id > after_id, col(JobEmbeddingRow.model) == model)
            .order_by(row_id)
            .limit(_ROWS_AT_ONCE)
        )
        return [(row.id, row.vectors) for row in await self._database.fetch(statement)]

    def _join(self, parts: Sequence[BinaryIndex]) -> BinaryIndex:
        return join_indexes(parts).newest(self._max_vectors)

    def _drop_oldest(self) -> None:
        while len(self._kept) > 1 and sum(each.index.num_vectors for each in self._kept.values()) > self._max_vectors:
            self._kept.popitem(last=False)
