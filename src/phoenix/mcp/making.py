"""The tools that make and change something: reels, edits, storyboards, stitches, and the control of jobs."""

import base64
import binascii
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import BaseModel, Field

from phoenix.client import AsyncPhoenix
from phoenix.contract import Job, Storyboard
from phoenix.mcp.connection import PhoenixConnection
from phoenix.mcp.contents import job_result
from phoenix.mcp.reading import JobId
from phoenix.mcp.specs import ClipChange, Crossfade, Fields, Incomplete, ReelSpec, Sound, joined, without_nulls

IdempotencyKey = Annotated[
    str | None, Field(description="A word of yours. A second call with the same word and reel makes no second job.")
]


class StoryboardSummary(BaseModel):
    """A reel in the making. `create_reel` renders it by its `storyboard_id`."""

    storyboard_id: str
    state: str
    planner: str = Field(description="`template` if no language model has written it.")
    prompts: list[str] = Field(description="Of its clips, in order.")
    reel: Fields | None = Field(description="The body of POST /v1/reels.")
    remarks: list[str] = Field(description="What the planner says, and what was fitted to the model.")
    error: str | None

    @classmethod
    def of(cls, board: Storyboard) -> "StoryboardSummary":
        shown = board.model_dump(mode="json")
        fitted = [
            f"{each.pointer}: {each.requested} became {each.resolved}, {each.reason}" for each in board.adjustments
        ]
        return cls(
            storyboard_id=board.id,
            state=board.state.value,
            planner=board.planner,
            prompts=[clip.prompt for clip in board.reel.clips] if board.reel else [],
            reel=shown["reel"],
            remarks=[*(each.text for each in board.messages if each.role == "assistant"), *fitted],
            error=board.error.message if board.error else None,
        )


class UploadedFile(BaseModel):
    """A stored file. Reels and stitches name it by its `artifact_id`."""

    artifact_id: str
    media: str = Field(description="`audio`, `image` or `video`.")
    duration_s: float | None
    width: int | None
    height: int | None


class MakingTools:
    """Tools that take GPU time, or change jobs. They need a key with the scope `write`.

    They answer with a job in the form of `get_job`. Its schema is given there alone: agents read all schemas each time.
    """

    def __init__(self, connection: PhoenixConnection) -> None:
        self._connection = connection

    async def create_reel(
        self, ctx: Context[Any, Any], reel: ReelSpec, idempotency_key: IdempotencyKey = None
    ) -> CallToolResult:
        """Starts a reel, and answers with its job at once. It takes GPU time: minutes with most models.

        Follow it with get_job.
        """
        async with self._connection.open(ctx.request_context) as phoenix:
            body = await reel.to_body(phoenix)
            return await self._answer(phoenix, await phoenix.submit_reel(body, idempotency_key=idempotency_key))

    async def edit_reel(
        self,
        ctx: Context[Any, Any],
        job_id: JobId,
        changes: Annotated[list[ClipChange], Field(description="Of the clips, made in this order.")] = [],  # noqa: B006
        model: Annotated[str | None, Field(description="Renders all clips with another model.")] = None,
        quality: str | None = None,
        title: str | None = None,
        soundtrack: Sound = None,
        crossfade_s: Crossfade = None,
        idempotency_key: IdempotencyKey = None,
        more: Annotated[Fields, Field(description="Other fields of POST /v1/jobs/{job_id}/edits.")] = {},  # noqa: B006
    ) -> CallToolResult:
        """Changes a reel that has ended, as a new job. The original stays, and only changed clips are rendered."""
        body = without_nulls({"model": model, "quality": quality, "title": title}) | joined(soundtrack, crossfade_s)
        body |= {"clips": [change.to_body() for change in changes]} | more
        async with self._connection.open(ctx.request_context) as phoenix:
            return await self._answer(phoenix, await phoenix.edit(job_id, body, idempotency_key=idempotency_key))

    async def stitch_videos(
        self,
        ctx: Context[Any, Any],
        artifact_ids: Annotated[list[str], Field(description="Videos in order: `artifact_id` of jobs, or uploads.")],
        soundtrack: Sound = None,
        crossfade_s: Crossfade = None,
        title: str | None = None,
        idempotency_key: IdempotencyKey = None,
    ) -> CallToolResult:
        """Joins videos into one, as a job. It takes no GPU time."""
        body = without_nulls({"title": title}) | joined(soundtrack, crossfade_s) | {"artifact_ids": artifact_ids}
        async with self._connection.open(ctx.request_context) as phoenix:
            return await self._answer(phoenix, await phoenix.submit_stitch(body, idempotency_key=idempotency_key))

    async def sync_lips(
        self,
        ctx: Context[Any, Any],
        video: Annotated[str, Field(description="The artifact with the face: a video or a picture.")],
        audio: Annotated[str, Field(description="The artifact with the sound that the face says.")],
        box: Annotated[
            tuple[int, int, int, int] | None,
            Field(description="The face in pixels: left, top, width, height. Needed if the server finds no faces."),
        ] = None,
        model: Annotated[str | None, Field(description="A lip model; the server's default if left out.")] = None,
        title: str | None = None,
        idempotency_key: IdempotencyKey = None,
        more: Annotated[Fields, Field(description="Other fields of POST /v1/lipsyncs.")] = {},  # noqa: B006
    ) -> CallToolResult:
        """Makes the face in a video or a picture say a sound, as a job."""
        body = without_nulls({"model": model, "title": title}) | {"video": video, "audio": audio}
        if box is not None:
            body["box"] = dict(zip(("x", "y", "width", "height"), box, strict=True))
        async with self._connection.open(ctx.request_context) as phoenix:
            job = await phoenix.submit_lipsync(body | more, idempotency_key=idempotency_key)
            return await self._answer(phoenix, job)

    async def create_storyboard(
        self,
        ctx: Context[Any, Any],
        idea: Annotated[str, Field(description="What the reel should show, in plain words.")],
        num_clips: int | None = None,
        model: str | None = None,
        style: Annotated[str | None, Field(description="How every clip should look.")] = None,
        more: Annotated[Fields, Field(description="Other fields of POST /v1/storyboards.")] = {},  # noqa: B006
    ) -> StoryboardSummary:
        """Has the clips of a reel written from an idea. Nothing is rendered yet."""
        body = {"idea": idea} | without_nulls({"num_clips": num_clips, "model": model, "style": style}) | more
        async with self._connection.open(ctx.request_context) as phoenix:
            return StoryboardSummary.of(await phoenix.create_storyboard(body))

    async def refine_storyboard(
        self, ctx: Context[Any, Any], storyboard_id: str, wish: Annotated[str, Field(description="What to change.")]
    ) -> StoryboardSummary:
        """Has a storyboard written again with a wish."""
        async with self._connection.open(ctx.request_context) as phoenix:
            return StoryboardSummary.of(await phoenix.refine_storyboard(storyboard_id, wish))

    async def upload_file(
        self,
        ctx: Context[Any, Any],
        path: Annotated[str | None, Field(description="Of a file on the machine that runs this server.")] = None,
        data: Annotated[str | None, Field(description="The bytes of the file in base64, in place of a path.")] = None,
        filename: Annotated[str, Field(description="With data: a name with the usual ending.")] = "file",
    ) -> UploadedFile:
        """Stores a picture, a sound or a video, for `soundtrack`, `conditions` and stitch_videos."""
        if (path is None) == (data is None):
            raise Incomplete("Give either path or data.")
        if path is not None and not self._connection.is_on_this_machine(ctx.request_context):
            raise Incomplete("Files of this machine are for callers over stdio alone; send the bytes in data.")
        with _as_file(path, data or "", filename) as file:
            async with self._connection.open(ctx.request_context) as phoenix:
                try:
                    artifact = await phoenix.upload(file)
                except OSError as error:
                    raise Incomplete(f"{file} cannot be read: {error.strerror}.") from error
        info = artifact.info
        return UploadedFile(
            artifact_id=artifact.id,
            media=info.media,
            duration_s=info.duration_s,
            width=info.width,
            height=info.height,
        )

    async def cancel_job(self, ctx: Context[Any, Any], job_id: JobId) -> CallToolResult:
        """Ends a job. What it has not finished is lost. A job that has ended stays as it is."""
        async with self._connection.open(ctx.request_context) as phoenix:
            return await self._answer(phoenix, await phoenix.cancel(job_id))

    async def retry_job(self, ctx: Context[Any, Any], job_id: JobId) -> CallToolResult:
        """Queues a job again that did not succeed. Clips that are done are kept."""
        async with self._connection.open(ctx.request_context) as phoenix:
            return await self._answer(phoenix, await phoenix.retry(job_id))

    async def approve_draft(
        self, ctx: Context[Any, Any], job_id: Annotated[str, Field(description="The held job, not its draft.")]
    ) -> CallToolResult:
        """Renders a reel that was created with `hold`, after its draft was seen and found good."""
        async with self._connection.open(ctx.request_context) as phoenix:
            return await self._answer(phoenix, await phoenix.approve(job_id))

    async def _answer(self, phoenix: AsyncPhoenix, job: Job) -> CallToolResult:
        result = await job_result(self._connection, phoenix, job)
        # The call has done what it was asked for, also where the job has ended without a result.
        return result.model_copy(update={"is_error": False})


@contextmanager
def _as_file(path: str | None, data: str, filename: str) -> Generator[Path]:
    """The file at the path, or one with the bytes until the block ends. Raises `Incomplete`."""
    if path is not None:
        yield Path(path).expanduser()
        return
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise Incomplete("data is no base64.") from None
    with TemporaryDirectory(prefix="phoenix-upload-") as folder:
        file = Path(folder) / (PurePath(filename).name or "file")
        file.write_bytes(content)
        yield file
