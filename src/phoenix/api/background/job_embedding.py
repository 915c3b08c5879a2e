"""Computes what jobs are about, for the search by meaning: after their submission, on one replica at a time."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from phoenix.api.background.leader_loop import LeaderLease, leader_loop
from phoenix.db import Database
from phoenix.embedding.sentence_model import Embedder, SentenceModelUnusable
from phoenix.embedding.vectors import Vectors
from phoenix.jobs.library.meaning import (
    UnembeddedJob,
    delete_vectors_of_other_models,
    list_unembedded,
    store_vectors,
)
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

_INTERVAL_S = 2.0
_PAUSE_RATIO = 30
"""A pause takes this many times as long as the look for jobs before it, which reads the ids of all jobs."""
_BATCH = 16


class JobEmbeddingService:
    """The background service `job_embedding` of one API process. Does nothing without a sentence model."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._has_cleaned = False
        self._is_broken = False
        self._pause_s = _INTERVAL_S

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        if self._embedder.fault is not None:
            yield
            return

        async def wait() -> None:
            await asyncio.sleep(self.take_pause_s())

        async with leader_loop(LeaderLease(self._database, "job_embedding"), self.embed, wait):
            yield

    def take_pause_s(self) -> float:
        """Seconds until the next pass. A pass has a say in one pause: a replica that does not lead makes no passes."""
        pause_s, self._pause_s = self._pause_s, _INTERVAL_S
        return pause_s

    async def embed(self) -> None:
        """One pass over a few jobs. Raises `Unavailable` while the database is away."""
        self._pause_s = _INTERVAL_S
        if not self._is_broken:
            await self._embed_some()

    async def _embed_some(self) -> None:
        try:
            if not self._has_cleaned:
                async with self._database.write(frees_space=True) as uow:
                    await delete_vectors_of_other_models(uow, self._embedder.model_name)
                self._has_cleaned = True
            started_s = time.monotonic()
            jobs = await list_unembedded(self._database, limit=_BATCH)
            looked_s = time.monotonic() - started_s
            made = {job.job_id: (job, await self._embed_one(job)) for job in jobs}
        except SentenceModelUnusable as error:
            # A restart reads the files again.
            self._is_broken = True
            _logger.error("jobs are not found by meaning", error=error.detail)
            return
        # The rest of a crowd of new jobs comes at once.
        self._pause_s = 0 if len(jobs) == _BATCH else max(_INTERVAL_S, _PAUSE_RATIO * looked_s)
        if made:
            async with self._database.write() as uow:
                await store_vectors(uow, made)

    async def _embed_one(self, job: UnembeddedJob) -> Vectors:
        if not job.passages:
            return Vectors(self._embedder.model_name, 0, b"")
        return await self._embedder.embed(job.passages)
