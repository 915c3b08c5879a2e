"""The latest published progress of each job: stored in Redis, so that no replica shows less, and cached here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from phoenix.contract import ClipProgress

_JOB_FIELD = "job"
"""Field of the hash with the job's progress. Every other field is the index of a clip."""

# Stores and publishes in one step: a client that gets or misses a progress event finds at least as much in the hash.
# A worker that lost its attempt, or does not know the progress of other workers yet, cannot lower the stored progress.
STORE_AND_PUBLISH = b"""
local key, clip, attempt, progress, job_progress = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local message, owner_message = ARGV[5], ARGV[6]
local stored = redis.call('HGET', key, 'job')
local entry = redis.call('HGET', key, clip)
if entry then
  entry = cjson.decode(entry)
  if entry.attempt > attempt or (entry.attempt == attempt and entry.progress > progress) then
    return stored or job_progress
  end
end
if stored and tonumber(stored) > tonumber(job_progress) then
  job_progress = stored
  message = string.gsub(message, '"job_progress":[^,}]+', '"job_progress":' .. job_progress)
  owner_message = string.gsub(owner_message, '"job_progress":[^,}]+', '"job_progress":' .. job_progress)
end
redis.call('HSET', key, clip, message, 'job', job_progress)
redis.call('EXPIRE', key, ARGV[9])
redis.call('PUBLISH', ARGV[7], message)
redis.call('PUBLISH', ARGV[8], owner_message)
return job_progress
"""


@dataclass(frozen=True)
class ProgressSnapshot:
    """The latest published progress: of the whole job, and of each clip's newest attempt."""

    job_progress: float = 0.0
    clips: Mapping[int, ClipProgress] = field(default_factory=dict[int, ClipProgress])

    def job_left_s(self, now: datetime) -> float | None:
        """Seconds until the job's end by the newest report of any worker; None if the report has no estimate."""
        newest = max(self.clips.values(), key=lambda progress: progress.at, default=None)
        if newest is None or newest.job_eta_s is None:
            return None
        return max(0.0, newest.job_eta_s - max(0.0, (now - newest.at).total_seconds()))

    def merged_with(self, other: "ProgressSnapshot") -> "ProgressSnapshot":
        """The higher job progress of both, and the newest progress of each clip."""
        clips = dict(self.clips)
        for index, progress in other.clips.items():
            if index not in clips or _recency(clips[index]) < _recency(progress):
                clips[index] = progress
        return ProgressSnapshot(max(self.job_progress, other.job_progress), clips)


NO_PROGRESS = ProgressSnapshot()


def parse_progress(fields: Mapping[bytes, bytes]) -> ProgressSnapshot:
    """Parses the hash. Skips entries that it cannot read, since another version may have written them."""
    clips = [_parse_clip(message) for name, message in fields.items() if name != _JOB_FIELD.encode()]
    job_progress = _parse_fraction(fields.get(_JOB_FIELD.encode(), b"0"))
    return ProgressSnapshot(job_progress, {progress.clip_index: progress for progress in clips if progress})


def _parse_fraction(text: bytes) -> float:
    # A rendered clip must not fail because of a malformed value in Redis.
    try:
        fraction = float(text)
    except ValueError:
        return 0.0
    return fraction if 0 <= fraction <= 1 else 0.0


def _recency(progress: ClipProgress) -> tuple[int, float]:
    return (progress.attempt, progress.progress)


def _parse_clip(message: bytes) -> ClipProgress | None:
    try:
        return ClipProgress.model_validate_json(message)
    except ValidationError:
        return None


def find_progress(fields: Mapping[str, object]) -> ClipProgress | None:
    """The progress in the fields of its JSON; None if another version wrote what this version cannot read."""
    try:
        return ClipProgress.model_validate(fields)
    except ValidationError:
        return None


_MAX_JOBS = 2000


class LocalProgressCache:
    """The latest progress that this process received or published, for the time while Redis is away.

    Keeps the `max_jobs` jobs that were updated last.
    """

    def __init__(self, max_jobs: int = _MAX_JOBS) -> None:
        self._max_jobs = max_jobs
        self._jobs: dict[str, ProgressSnapshot] = {}

    def update(self, event: object) -> None:
        """Remembers the progress in an event. Call it with every event that this process receives or publishes."""
        if isinstance(event, ClipProgress):
            self._store(event.job_id, ProgressSnapshot(event.job_progress, {event.clip_index: event}))

    def merge(self, job_id: str, found: ProgressSnapshot) -> ProgressSnapshot:
        """The progress that was found in Redis, merged with newer progress of this cache."""
        return found.merged_with(self._jobs.get(job_id, NO_PROGRESS))

    def _store(self, job_id: str, published: ProgressSnapshot) -> None:
        # Removed and added again, so that the first job is always the next to forget.
        self._jobs[job_id] = self._jobs.pop(job_id, NO_PROGRESS).merged_with(published)
        if len(self._jobs) > self._max_jobs:
            del self._jobs[next(iter(self._jobs))]
