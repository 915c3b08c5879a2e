"""Publishes the latest progress and preview of a clip while it is rendered, without delaying the render."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from phoenix.assembly.services import Services
from phoenix.async_tasks import in_background
from phoenix.clock import utc_now
from phoenix.contract.events import ClipPreview, ClipProgress
from phoenix.jobs.execution.claim import Claim
from phoenix.jobs.scheduling.eta import Countdown
from phoenix.worker.progress import ClipShare
from phoenix.worker.render_observer import ClipObserver

_OTHERS_MAX_AGE_S = 1.0
"""How old the progress of the job's other clips may be: each read fetches all of them."""


class ProgressPublisher:
    """Publishes the progress of one clip: once (`publish`), or on every change at a bounded rate (`publishing`)."""

    def __init__(self, services: Services, claim: Claim, observer: ClipObserver) -> None:
        self._publisher = services.publisher
        self._interval_s = services.settings.events.progress_interval_s
        self._claim = claim
        self._observer = observer
        self._share = ClipShare(claim.weights, claim.position, claim.duration, claim.assembly_s, claim.done_clips)
        self._highest_published = 0.0
        self._clip_countdown = Countdown()
        self._job_countdown = Countdown()
        self._others: Mapping[int, ClipProgress] = {}
        self._others_read_s: float | None = None

    @asynccontextmanager
    async def publishing(self, changed: asyncio.Event) -> AsyncGenerator[None]:
        """During the block, publishes whenever `changed` is set, and a last time at its end."""
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
        self._never_decrease(await self._publisher.publish_progress(progress, self._claim.owner_id))

    async def _publish_changes(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self.publish()
            if (picture := self._observer.take_preview()) is not None:
                await self._publish_preview(picture)
            await asyncio.sleep(self._interval_s)

    async def _publish_preview(self, picture: bytes) -> None:
        """`picture` is a JPEG, small enough for an event; see engine.spec."""
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
        """Never goes below what was published before, by other workers or by earlier attempts at this clip."""
        self._highest_published = max(self._highest_published, job_progress)
        return self._highest_published

    async def _read_others(self) -> Mapping[int, ClipProgress]:
        now_s = time.monotonic()
        if self._others_read_s is None or now_s - self._others_read_s > _OTHERS_MAX_AGE_S:
            published = (await self._publisher.read_progress([self._claim.job_id]))[self._claim.job_id]
            self._others = published.clips
            if self._others_read_s is None and (left_s := published.job_left_s(utc_now())):
                # The first estimate of a new clip must not make the job's published estimate jump.
                self._job_countdown.update(left_s, now_s=now_s)
            self._never_decrease(published.job_progress)
            self._others_read_s = now_s
        return self._others
