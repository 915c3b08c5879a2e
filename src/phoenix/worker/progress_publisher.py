"""Publishes the progress, the time left and the previews of a clip and its job while the clip is rendered."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from phoenix.async_tasks import in_background
from phoenix.clock import utc_now
from phoenix.contract import ClipPreview, ClipProgress
from phoenix.db import Database
from phoenix.errors import Unavailable
from phoenix.events.publisher import EventPublisher
from phoenix.jobs.execution.claim import Claim, record_progress
from phoenix.jobs.progress import MEDIA_SHARE, weigh
from phoenix.jobs.scheduling.durations import DurationPerWeight
from phoenix.jobs.scheduling.eta import Countdown, assembly_duration_s, parallel_work_s
from phoenix.worker.render_observer import ClipObserver

_OTHERS_MAX_AGE_S = 1.0
"""How old the progress of the other clips may be. Each read fetches all clips of the job."""


@dataclass(frozen=True)
class ClipShare:
    """The share of one clip in the progress and the remaining time of its job. Pure.

    `weights` has one entry per clip of the job; `position` is the index of this clip.
    """

    weights: Sequence[float]
    position: int
    duration: DurationPerWeight | None = None
    assembly_s: float | None = None
    """Learned seconds of the assembly; see `Claim`."""
    done: Collection[int] = ()
    """Indexes of clips that were done before this clip started. Their published progress may be older."""
    prerequisites: Sequence[Collection[int]] = ()
    """For each clip of the job: indexes of the clips that it waits for; empty if no clip waits for another one."""

    @property
    def my_weight(self) -> float:
        return self.weights[self.position]

    def job_progress(self, mine: float, others: Mapping[int, ClipProgress]) -> float:
        """The finished fraction of the job, from the progress of this clip and what is known of the others."""
        published = {index: progress.progress for index, progress in others.items()}
        known = {**published, **dict.fromkeys(self.done, 1.0), self.position: mine}
        return (1 - MEDIA_SHARE) * weigh([known.get(index, 0.0) for index in range(len(self.weights))], self.weights)

    def job_eta_s(self, my_eta_s: float | None, others: Mapping[int, ClipProgress]) -> float | None:
        """Seconds until the job is done if as many clips as now run at a time. None without a learned duration."""
        if my_eta_s is None or self.duration is None:
            return None
        under_way, waiting = {self.position: my_eta_s}, dict[int, float]()
        for index, weight in enumerate(self.weights):
            whole_s = self.duration.total_s * weight
            if index == self.position or index in self.done:
                continue
            if (published := others.get(index)) is None:
                waiting[index] = whole_s
            elif published.progress < 1:
                left_s = published.eta_s
                under_way[index] = whole_s * (1 - published.progress) if left_s is None else left_s
        clips_s = self.duration.total_s * sum(self.weights)
        left_s = parallel_work_s(under_way, waiting, self.prerequisites)
        return left_s + assembly_duration_s(self.assembly_s, clips_s)


class ProgressPublisher:
    """Publishes the progress of one clip: once (`publish`), or after every change at a bounded rate (`publishing`)."""

    def __init__(
        self,
        database: Database,
        publisher: EventPublisher,
        claim: Claim,
        observer: ClipObserver,
        *,
        interval_s: float,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._interval_s = interval_s
        self._claim = claim
        self._observer = observer
        self._share = ClipShare(
            claim.weights, claim.position, claim.duration, claim.assembly_s, claim.done_clips, claim.prerequisites
        )
        self._highest_published = claim.job_progress
        self._clip_countdown = Countdown()
        self._job_countdown = Countdown()
        self._others: Mapping[int, ClipProgress] = {}
        self._others_read_s: float | None = None

    @asynccontextmanager
    async def publishing(self, changed: asyncio.Event) -> AsyncGenerator[None]:
        """Publishes during the block each time that `changed` is set, and once more at its end."""
        async with in_background(self._publish_changes(changed), name="progress"):
            yield
        await self.publish()

    async def publish(self) -> None:
        others = await self._read_others()
        state = self._observer.progress()
        eta_s = state.eta_s(self._claim.duration, self._share.my_weight)
        job_eta_s = self._share.job_eta_s(eta_s, others)
        now_s = time.monotonic()
        progress = ClipProgress(
            job_id=self._claim.job_id,
            seq=self._claim.last_seq,
            at=utc_now(),
            clip_index=self._claim.position,
            attempt=self._claim.attempt,
            step=state.step,
            steps=state.steps,
            progress=state.progress,
            eta_s=self._clip_countdown.update(eta_s, now_s=now_s),
            job_progress=self._never_decrease(self._share.job_progress(state.progress, others)),
            job_eta_s=self._job_countdown.update(job_eta_s, now_s=now_s),
        )
        if await self._record(progress):
            self._never_decrease(await self._publisher.publish_progress(progress, self._claim.owner_id))

    async def _record(self, progress: ClipProgress) -> bool:
        """Records the progress in SQL, so that no replica shows less after a client has seen it. False if it cannot.

        Redis may be emptied at any time, and a replica that has just started has received nothing.
        """
        try:
            async with self._database.write() as uow:
                return await record_progress(uow, self._claim, progress, self._observer.stage)
        except Unavailable:
            return False

    async def _publish_changes(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self.publish()
            if (picture := self._observer.take_preview()) is not None:
                await self._publish_preview(picture)
            await asyncio.sleep(self._interval_s)

    async def _publish_preview(self, picture: bytes) -> None:
        """`picture` is a JPEG that is small enough for an event; see `engine.interface`."""
        preview = ClipPreview(
            job_id=self._claim.job_id,
            seq=self._claim.last_seq,
            at=utc_now(),
            clip_index=self._claim.position,
            attempt=self._claim.attempt,
            image=f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}",
        )
        await self._publisher.publish_preview(preview, self._claim.owner_id)

    def _never_decrease(self, job_progress: float) -> float:
        """The highest progress so far. Other workers and earlier attempts may have published more than this attempt."""
        self._highest_published = max(self._highest_published, job_progress)
        return self._highest_published

    async def _read_others(self) -> Mapping[int, ClipProgress]:
        now_s = time.monotonic()
        if self._others_read_s is None or now_s - self._others_read_s > _OTHERS_MAX_AGE_S:
            published = (await self._publisher.read_progress([self._claim.job_id]))[self._claim.job_id]
            self._others = published.clips
            if self._others_read_s is None and (left_s := published.job_left_s(utc_now())):
                # The first estimate of a new clip must not make the published estimate of the job jump.
                self._job_countdown.update(left_s, now_s=now_s)
            self._never_decrease(published.job_progress)
            self._others_read_s = now_s
        return self._others
