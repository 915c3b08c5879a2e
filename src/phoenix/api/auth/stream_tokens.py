"""Issues and checks the tokens that let a browser follow one job, signed with this installation's secret."""

from datetime import datetime, timedelta

from phoenix.access.keys import Caller
from phoenix.access.stream_tokens import StreamGrant, get_or_create_secret, read_grant, sign
from phoenix.api.auth.callers import Revocations
from phoenix.assembly import Services
from phoenix.clock import utc_now
from phoenix.contract.events import StreamToken
from phoenix.errors import Unauthenticated
from phoenix.jobs.tables import JobRow
from phoenix.settings import Settings

_SECRET_NAME = "stream-tokens"  # noqa: S105 - the name of one


class StreamTokens:
    """One per process. The secret is fetched on first use: the database may be away at start-up."""

    def __init__(self, services: Services, revocations: Revocations) -> None:
        self._services = services
        self._revocations = revocations
        configured = services.settings.api.token_secret
        self._secret = configured.get_secret_value().encode() if configured else None

    async def issue(self, job: JobRow, caller: Caller) -> StreamToken:
        now = utc_now().replace(microsecond=0)
        expires_at = now + longest_stream(job, self._services.settings, now)
        token = sign(await self._get_secret(), StreamGrant(job.id, job.owner_id, caller.secret_id, expires_at))
        base = (self._services.settings.api.public_url or "").rstrip("/")
        return StreamToken(token=token, expires_at=expires_at, url=f"{base}{stream_path(job.id)}?token={token}")

    async def read(self, token: str, job_id: str) -> StreamGrant:
        """The token's grant. Raises `Unauthenticated`, `Forbidden`, or `Unavailable` while the database is away."""
        grant = read_grant(await self._get_secret(), token, job_id=job_id, now=utc_now())
        if await self._revocations.is_void(grant.owner_id, grant.secret_id):
            raise Unauthenticated("The key that the stream token was made with is not valid any more.")
        return grant

    async def _get_secret(self) -> bytes:
        if self._secret is None:
            self._secret = await get_or_create_secret(self._services.database, _SECRET_NAME)
        return self._secret


def longest_stream(job: JobRow, settings: Settings, now: datetime) -> timedelta:
    """How long the job may be worth following: an `EventSource` reconnects with the token that it started with."""
    age = timedelta(seconds=settings.events.max_stream_age_s)
    if job.state.is_terminal:
        return age
    begins_by = max(now, job.queue_deadline_at or now)
    ends_by = job.run_deadline_at or begins_by + timedelta(seconds=job.run_timeout_s)
    return max(ends_by - now, timedelta()) + age


def stream_path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"
