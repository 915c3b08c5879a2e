"""Makes URLs that work without a header, by a token in their query: for event streams, and for media.

A token grants one job or one artifact, until it expires or until the key that it was made with ends.
"""

from datetime import UTC, datetime, timedelta

from phoenix.access.authentication import Tokens
from phoenix.access.keys import Caller
from phoenix.access.tokens import TokenPurpose
from phoenix.clock import utc_now
from phoenix.contract import Artifact, Job, MediaUrls, StreamToken
from phoenix.jobs.tables import JobRow
from phoenix.settings import Settings

_STEPS = 12
"""Media URLs end at one of so many moments of their longest life. So a URL stays the same for a while, and a browser
does not load a file again because its URL was asked for again."""


class SignedUrls:
    """Makes signed URLs. One per process."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self._tokens = tokens
        self._settings = settings
        self._base = (settings.api.public_url or "").rstrip("/")

    async def stream(self, job: JobRow, caller: Caller) -> StreamToken:
        """The stream of a job, for as long as the job may take."""
        now = utc_now().replace(microsecond=0)
        token, expires_at = await self._tokens.sign(
            TokenPurpose.STREAM, job.id, caller, expires_at=now + longest_stream(job, self._settings, now)
        )
        return StreamToken(token=token, expires_at=expires_at, url=self._url(stream_path(job.id), token))

    async def media(self, job: JobRow, caller: Caller, *, num_clips: int) -> MediaUrls:
        """All media of a job. They outlive the job: a player that watches a reel grow keeps its URL."""
        now = utc_now()
        token, expires_at = await self.media_token(job.id, caller, longest_run(job, now))
        content = f"/v1/jobs/{job.id}/content"
        return MediaUrls(
            expires_at=expires_at,
            content=self._url(content, token),
            thumbnail=None if job.kind == "soundtrack" else self._url(f"{content}?variant=thumbnail", token),
            playlist=self._url(f"/v1/jobs/{job.id}/playlist.m3u8", token) if job.kind == "reel" else None,
            captions=self._url(f"{content}?variant=vtt", token) if job.kind == "reel" else None,
            clips=[self._url(f"/v1/jobs/{job.id}/clips/{index}/content", token) for index in range(num_clips)],
        )

    async def with_urls(self, job: Job, caller: Caller) -> Job:
        """The job with a signed URL for its output, and for each clip that is done."""
        token, _ = await self.media_token(job.id, caller)
        output = job.output and job.output.model_copy(update={"signed_url": self._url(job.output.url, token)})
        clips = [
            clip.model_copy(update={"signed_url": self._url(clip.url, token)}) if clip.url else clip
            for clip in job.clips
        ]
        return job.model_copy(update={"output": output, "clips": clips})

    async def with_url(self, artifact: Artifact, caller: Caller) -> Artifact:
        """The artifact with a signed URL for its bytes."""
        token, _ = await self.media_token(artifact.id, caller)
        return artifact.model_copy(update={"signed_url": self._url(artifact.url, token)})

    async def media_token(
        self, resource_id: str, caller: Caller, at_least: timedelta = timedelta()
    ) -> tuple[str, datetime]:
        """A token for the media of one job or artifact, and when it ends. `at_least` is added to its usual life."""
        step_s = max(1, int(self._settings.api.media_url_s) // _STEPS)
        latest_s = int((utc_now() + at_least).timestamp() + self._settings.api.media_url_s)
        expires_at = datetime.fromtimestamp(latest_s // step_s * step_s, UTC)
        return await self._tokens.sign(TokenPurpose.MEDIA, resource_id, caller, expires_at=expires_at)

    def _url(self, path: str, token: str) -> str:
        return f"{self._base}{path}{'&' if '?' in path else '?'}token={token}"


def longest_stream(job: JobRow, settings: Settings, now: datetime) -> timedelta:
    """How long a client may follow the job: an `EventSource` reconnects with the token that it started with."""
    return longest_run(job, now) + timedelta(seconds=settings.events.max_stream_age_s)


def longest_run(job: JobRow, now: datetime) -> timedelta:
    """How long the job may still take; 0 once it has ended."""
    if job.state.is_terminal:
        return timedelta()
    begins_by = max(now, job.queue_deadline_at or now)
    ends_by = job.run_deadline_at or begins_by + timedelta(seconds=job.run_timeout_s)
    return max(ends_by - now, timedelta())


def stream_path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"
