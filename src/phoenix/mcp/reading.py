"""The tools that look: models, jobs, the search, and the last frame of a clip."""

import asyncio
import json
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import BaseModel, Field

from phoenix.client import AsyncPhoenix
from phoenix.contract import ClipProgress, Job, JobSnapshot, JobState
from phoenix.errors import PhoenixError, install_extra
from phoenix.mcp.connection import PhoenixConnection
from phoenix.mcp.contents import JobSummary, ModelSummary, job_result, picture, text
from phoenix.mcp.specs import ReelSpec

MAX_WAIT_S = 50
"""Clients give up on a tool after a minute."""
MAX_SIDE_PX = 1024
"""Of a picture: agents see no more, and pay for it."""

JobId = Annotated[str, Field(description="job_…, as the tools return it.")]
ClipIndex = Annotated[int, Field(ge=0, description="Of the clip in its reel, from 0.")]


class ModelCatalog(BaseModel):
    """What this server can render with."""

    models: list[ModelSummary]


class FoundJobs(BaseModel):
    """Jobs, newest first, or the best match first."""

    jobs: list[JobSummary]
    next_cursor: str | None


class FrameUnavailable(PhoenixError):
    """The clip has no frame to show, or this process cannot read it."""


class ReadingTools:
    """Tools that change nothing."""

    def __init__(self, connection: PhoenixConnection) -> None:
        self._connection = connection

    async def list_models(self, ctx: Context[Any, Any]) -> ModelCatalog:
        """What each model can make: lengths, shapes, tiers, conditions, and whether a worker renders it now."""
        async with self._connection.open(ctx.request_context) as phoenix:
            return ModelCatalog(models=[ModelSummary.of(model) for model in await phoenix.models()])

    async def estimate_reel(self, ctx: Context[Any, Any], reel: ReelSpec) -> CallToolResult:
        """What a reel would be, how long it would take, and what it would cost. Submits nothing."""
        async with self._connection.open(ctx.request_context) as phoenix:
            estimate = await phoenix.estimate_reel(await reel.to_body(phoenix))
        shown = estimate.model_dump(mode="json")
        return CallToolResult(content=[text(json.dumps(shown))], structured_content=shown)

    async def get_job(
        self,
        ctx: Context[Any, Any],
        job_id: JobId,
        wait_s: Annotated[
            float, Field(ge=0, le=MAX_WAIT_S, description="Answers when the job ends, or after so many seconds.")
        ] = 0,
    ) -> Annotated[CallToolResult, JobSummary]:
        """How far a job is, with links to everything that is done, and a picture of the result.

        Reports progress while it waits. Call it again while the job has not ended.
        """
        async with self._connection.open(ctx.request_context) as phoenix:
            if wait_s:
                with anyio.move_on_after(wait_s):
                    await _follow(phoenix, job_id, ctx)
            return await job_result(self._connection, phoenix, await phoenix.get_job(job_id))

    async def search_jobs(
        self,
        ctx: Context[Any, Any],
        query: Annotated[str | None, Field(description="Words of titles, tags, prompts and metadata.")] = None,
        state: JobState | None = None,
        tags: Annotated[list[str] | None, Field(description="All of which a job has.")] = None,
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
        cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.")] = None,
    ) -> FoundJobs:
        """Finds earlier jobs. `get_job` has the links to their files."""
        async with self._connection.open(ctx.request_context) as phoenix:
            page = await phoenix.list_jobs(q=query, state=state, tags=tags or (), limit=limit, cursor=cursor)
            jobs = [JobSummary.of(job, self._connection, None) for job in page.data]
            return FoundJobs(jobs=jobs, next_cursor=page.next_cursor)

    async def get_last_frame(self, ctx: Context[Any, Any], job_id: JobId, clip_index: ClipIndex = 0) -> CallToolResult:
        """The last frame of a finished clip as a picture. A clip that continues this clip begins with it."""
        async with self._connection.open(ctx.request_context) as phoenix:
            job = await phoenix.get_job(job_id)
            if clip_index >= len(job.clips) or not job.clips[clip_index].url:
                raise FrameUnavailable(f"{job_id} has no finished clip {clip_index}.")
            url = (await phoenix.media_urls(job_id)).clips[clip_index]
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "clip.mp4"
            await self._connection.save_media(url, video)
            frame = await asyncio.to_thread(_read_last_frame, video)
        source = f'{{"job_id": "{job_id}", "clip_index": {clip_index}}}'
        how = f"To continue it, give a clip the condition {{'role': 'first_frame', 'source': {source}}}."
        return CallToolResult(content=[picture(frame, "image/jpeg"), text(how)])


async def _follow(phoenix: AsyncPhoenix, job_id: str, ctx: Context[Any, Any]) -> None:
    """Reports the progress of a job until it ends, or until nothing of it can be done without an approval."""
    async with aclosing(phoenix.watch(job_id)) as events:
        async for event in events:
            if isinstance(event, JobSnapshot):
                await ctx.report_progress(event.job.progress, 1, _describe(event.job))
            elif isinstance(event, ClipProgress):
                await ctx.report_progress(event.job_progress, 1, f"clip {event.clip_index}: {event.step}/{event.steps}")
            elif event.type == "job.awaiting_approval":
                return


def _describe(job: Job) -> str:
    return job.waiting_reason.detail if job.waiting_reason else job.state.value


def _read_last_frame(video: Path) -> bytes:
    """The last frame as a JPEG. Raises `FrameUnavailable`."""
    # Only this tool needs them, and a machine of an agent has no use for them otherwise.
    try:
        from phoenix.media.decode import write_last_frame  # noqa: PLC0415
        from phoenix.media.ffmpeg import MediaTools  # noqa: PLC0415
        from phoenix.media.probe import ProbeLimits  # noqa: PLC0415
        from phoenix.settings import MediaSettings  # noqa: PLC0415
        from phoenix.still_pictures import open_picture  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FrameUnavailable(f"Reading a frame needs what renders video: {install_extra('media')}.") from error
    png, jpeg = video.with_suffix(".png"), video.with_suffix(".jpg")
    write_last_frame(video, png, tools=MediaTools.from_settings(MediaSettings()), limits=ProbeLimits())
    frame = open_picture(png)
    frame.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    frame.save(jpeg, quality=90)
    return jpeg.read_bytes()
