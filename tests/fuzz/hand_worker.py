"""A worker whose every deed is drawn: it claims the oldest task of any caller, and ends it well, badly or not at all.

A real worker would take a core, and finish in an order that no seed repeats.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

from builders import RULE, make_result
from phoenix.contract import MediaInfo
from phoenix.db import UnitOfWork
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.ids import JobId, TaskId
from phoenix.jobs.execution.claim import Claim, claim
from phoenix.jobs.execution.task_completion import AttemptOutput, fail, release, stop, succeed
from phoenix.jobs.lifecycle import LeaseLost, TaskKind
from phoenix.jobs.scheduling.dispatch import list_ready
from phoenix.jobs.scheduling.workers import WorkerReport, record_heartbeat
from phoenix.media.reel.playlist import SegmentedFile
from phoenix.services import Services
from phoenix.storage.keys import OutputName, output_key

WORKER_ID = "wrk_0000000000000000000000fuzz"
LEASE_S = 3600.0
NAMES = {
    TaskKind.RENDER: OutputName.CLIP,
    TaskKind.NARRATE: OutputName.NARRATION,
    TaskKind.ASSEMBLE: OutputName.OUTPUT,
    TaskKind.SOUNDTRACK: OutputName.SOUNDTRACK,
    TaskKind.SEGMENT: OutputName.SEGMENTS,
}
SEGMENTS = SegmentedFile(header_bytes=16, header_sha256="a", segment_bytes=(32, 16), segment_frames=(8, 8))
SOUND = MediaInfo(media="audio", format="mp4", duration_s=1.0)


class HandWorker:
    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._database = services.database
        self._folder = folder
        self._held: list[Claim] = []

    async def act(self, draw: Random) -> None:
        """Claims a task, or ends one of those that it holds."""
        if not self._held or draw.random() < 0.5:
            await self._claim_next(draw.choice(["gpu", "media", "media"]))
        if self._held and draw.random() < 0.9:
            held = self._held.pop(draw.randrange(len(self._held)))
            # It was canceled meanwhile, or its job was deleted.
            with suppress(LeaseLost):
                await self._end(held, draw)

    async def _claim_next(self, queue: str) -> None:
        report = WorkerReport(WORKER_ID, "fuzzed-host", 1, "cpu", {"gpu": 4, "media": 4}, ("animatic",), ("animatic",))
        async with self._database.write() as uow:
            await record_heartbeat(uow, report, lease_s=LEASE_S)
        async with self._database.read() as session:
            waiting = await list_ready(session, queue, with_dispatched=True)
        if not waiting:
            return
        async with self._database.write() as uow:
            # None if the server dispatched it again in between.
            oldest = waiting[0]
            claimed = await claim(uow, oldest.task_id, oldest.dispatch_seq, worker_id=WORKER_ID, lease_s=LEASE_S)
        if claimed is not None:
            self._held.append(claimed)

    async def _end(self, held: Claim, draw: Random) -> None:
        roll = draw.random()
        output = await self._store(held, draw.randbytes(64)) if roll < 0.65 else None
        async with self._database.write() as uow:
            if output is not None:
                await succeed(uow, held, output)
            elif roll < 0.9:
                await self._fail(uow, held, draw, retriable=roll < 0.75)
            else:
                await (stop if roll < 0.95 else release)(uow, held)

    async def _fail(self, uow: UnitOfWork, held: Claim, draw: Random, *, retriable: bool) -> None:
        failure = TaskFailed(draw.choice(list(FailureCode)), "It broke.", stage=Stage.ENCODE, retriable=retriable)
        await fail(uow, held, failure, RULE, jitter=0)

    async def _store(self, held: Claim, data: bytes) -> AttemptOutput:
        name = NAMES[held.kind]
        key = output_key(JobId(held.job_id), TaskId(held.task_id), held.attempt, name)
        path = self._folder / "result"
        await asyncio.to_thread(path.write_bytes, data)
        stored = await self._services.store.put_file(key, path)
        output = make_result(key, size_bytes=stored.size_bytes, sha256=hashlib.sha256(data).hexdigest())
        if name in (OutputName.SOUNDTRACK, OutputName.NARRATION):
            return AttemptOutput(key, "audio/mp4", output.size_bytes, output.sha256, SOUND)
        return replace(output, segments=SEGMENTS) if name is OutputName.SEGMENTS else output
