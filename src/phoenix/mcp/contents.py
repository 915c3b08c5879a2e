"""What tools answer with: short forms of jobs and models, links to files, and pictures."""

import base64
from datetime import datetime
from typing import Self

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field

from phoenix.client import AsyncPhoenix
from phoenix.contract import Clip, Job, JobState, MediaUrls, Model
from phoenix.mcp.connection import PhoenixConnection


class ClipSummary(BaseModel):
    """One clip of a job."""

    index: int = Field(description="From 0.")
    prompt: str
    state: str
    progress: float
    seed: int
    reused: bool = Field(description="Whether it has the file of an equal clip, and was not rendered for this job.")
    video_url: str | None = Field(description="A signed URL of its MP4, once it is done.")
    notes: list[str] = Field(description="Errors, warnings, and checks that it failed.")

    @classmethod
    def of(cls, clip: Clip, urls: list[str]) -> Self:
        notes = [each.message for each in (*clip.warnings, *clip.checks, *([clip.error] if clip.error else []))]
        return cls(
            index=clip.index,
            prompt=clip.prompt,
            state=clip.state.value,
            progress=clip.progress,
            seed=clip.seed,
            reused=clip.reused,
            video_url=urls[clip.index] if clip.url and clip.index < len(urls) else None,
            notes=notes,
        )


class JobSummary(BaseModel):
    """A job: its state, and signed URLs of what is done."""

    job_id: str
    kind: str
    state: str = Field(description="held, queued or running; or ended: succeeded, failed, canceled or expired.")
    has_ended: bool
    progress: float = Field(description="From 0 to 1.")
    eta_s: float | None = Field(description="Estimated seconds until it ends; null if unknown.")
    waiting_reason: str | None
    title: str | None
    model: str | None
    edited_from: str | None
    clips: list[ClipSummary]
    video_url: str | None = Field(description="A signed URL of the result, for people and players. It expires.")
    artifact_id: str | None = Field(description="The result, for stitch_videos.")
    duration_s: float | None
    error: str | None
    can_retry: bool = Field(description="Whether retry_job may end differently.")
    created_at: datetime

    @classmethod
    def of(cls, job: Job, connection: PhoenixConnection, urls: MediaUrls | None) -> Self:
        """`urls`: null for a job of which nothing is done yet."""
        clip_urls = [connection.absolute(url) for url in urls.clips] if urls else []
        output, error = job.output, job.error
        return cls(
            job_id=job.id,
            kind=job.kind,
            state=job.state.value,
            has_ended=job.state.is_terminal,
            progress=job.progress,
            eta_s=job.eta_s,
            waiting_reason=job.waiting_reason.detail if job.waiting_reason else None,
            title=job.title,
            model=job.model,
            edited_from=job.edited_from,
            clips=[ClipSummary.of(clip, clip_urls) for clip in job.clips],
            video_url=connection.absolute(urls.content) if urls and output else None,
            artifact_id=output.artifact_id if output else None,
            duration_s=output.duration_s if output else None,
            error=f"{error.code.value}: {error.message}" if error else None,
            can_retry=job.state is JobState.CANCELED or bool(error and error.retriable),
            created_at=job.created_at,
        )

    @property
    def sentence(self) -> str:
        """The state on one line."""
        if self.state == JobState.SUCCEEDED:
            return (
                f"{self.job_id} has succeeded: {self.duration_s} s of video. The links work without a key for a time."
            )
        if self.has_ended:
            return f"{self.job_id} has ended: {self.state}. {self.error or ''}".strip()
        eta = f", about {self.eta_s:.0f} s left" if self.eta_s is not None else ""
        reason = f" {self.waiting_reason}" if self.waiting_reason else ""
        return f"{self.job_id} is {self.state}, {self.progress:.0%}{eta}.{reason}"

    def links(self) -> list[ContentBlock]:
        """Each finished file as a link."""
        links: list[ContentBlock] = []
        if self.video_url:
            media_type = "audio/mp4" if self.kind == "soundtrack" else "video/mp4"
            links.append(_link(f"{self.job_id}.mp4", self.video_url, media_type, self.title or "The result."))
        for clip in self.clips:
            if clip.video_url:
                name = f"{self.job_id}-clip-{clip.index}.mp4"
                links.append(_link(name, clip.video_url, "video/mp4", f"Clip {clip.index}: {clip.prompt}"))
        return links


def _link(name: str, url: str, media_type: str, description: str) -> ResourceLink:
    return ResourceLink(type="resource_link", name=name, uri=url, mime_type=media_type, description=description)


def text(value: str) -> TextContent:
    return TextContent(type="text", text=value)


def picture(data: bytes, media_type: str) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=media_type)


async def job_result(connection: PhoenixConnection, phoenix: AsyncPhoenix, job: Job) -> CallToolResult:
    """The job with its links, and with a picture of its result. An error if it has ended without a result."""
    has_files = job.output is not None or any(clip.url for clip in job.clips)
    urls = await phoenix.media_urls(job.id) if has_files else None
    summary = JobSummary.of(job, connection, urls)
    content: list[ContentBlock] = [text(summary.sentence), *summary.links()]
    if urls and urls.thumbnail and job.output:
        content.append(picture(await connection.read_media(urls.thumbnail), "image/jpeg"))
    return CallToolResult(
        content=content,
        structured_content=summary.model_dump(mode="json"),
        is_error=summary.has_ended and job.state is not JobState.SUCCEEDED,
    )


class ModelSummary(BaseModel):
    """What a model can make."""

    id: str
    title: str
    description: str
    is_served: bool = Field(description="Whether a worker renders it now. If not, jobs for it wait.")
    unserved_reason: str | None
    is_draft: bool = Field(description="Whether it only makes stand-ins, to try prompts and timing with.")
    makes_sound: bool
    resolutions: list[str]
    aspect_ratios: list[str]
    min_duration_s: float = Field(description="Of one clip.")
    max_duration_s: float
    qualities: list[str] = Field(description="What `quality` may be, the fastest first.")
    roles: list[str] = Field(description="Roles of the pictures, videos and sounds that it takes as conditions.")
    adapters: list[str] = Field(description="What `loras` may name.")

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(
            id=model.id,
            title=model.title,
            description=model.description,
            is_served=model.is_served,
            unserved_reason=model.unserved_reason,
            is_draft=model.is_draft,
            makes_sound=model.makes_sound,
            resolutions=[*model.resolutions],
            aspect_ratios=[*model.aspect_ratios],
            min_duration_s=model.duration_s.minimum,
            max_duration_s=model.duration_s.maximum,
            qualities=[tier.quality for tier in model.tiers],
            roles=[condition.role for condition in model.conditions],
            adapters=[adapter.id for adapter in model.adapters],
        )
