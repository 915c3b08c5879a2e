"""The latest published progress of a job, kept in Redis so that every replica knows it and it never goes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from phoenix.contract.events import ClipProgress

_SHARE = "job"
"""Field of the hash; the others are the clips' indices."""

# Stored and published in one step: whoever receives a progress, or misses it, finds at least as much in the hash. A
# worker that lost its attempt, or does not yet know the progress of the others, cannot lower it.
TELL = b"""
local key, clip, attempt, progress, share = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local message, owner_message = ARGV[5], ARGV[6]
local told = redis.call('HGET', key, 'job')
local held = redis.call('HGET', key, clip)
if held then
  held = cjson.decode(held)
  if held.attempt > attempt or (held.attempt == attempt and held.progress > progress) then return told or share end
end
if told and tonumber(told) > tonumber(share) then
  share = told
  message = string.gsub(message, '"job_progress":[^,}]+', '"job_progress":' .. share)
  owner_message = string.gsub(owner_message, '"job_progress":[^,}]+', '"job_progress":' .. share)
end
redis.call('HSET', key, clip, message, 'job', share)
redis.call('EXPIRE', key, ARGV[9])
redis.call('PUBLISH', ARGV[7], message)
redis.call('PUBLISH', ARGV[8], owner_message)
return share
"""


@dataclass(frozen=True)
class Told:
    """The most that any client has seen: `share` of the job, and of each clip's newest attempt its entry in `clips`."""

    share: float = 0.0
    clips: Mapping[int, ClipProgress] = field(default_factory=dict[int, ClipProgress])

    def job_left_s(self, now: datetime) -> float | None:
        """Seconds until the job's end by the newest report of any worker; None if that has no estimate."""
        newest = max(self.clips.values(), key=lambda progress: progress.at, default=None)
        if newest is None or newest.job_eta_s is None:
            return None
        return max(0.0, newest.job_eta_s - max(0.0, (now - newest.at).total_seconds()))

    def joined_with(self, other: "Told") -> "Told":
        """The newest of both."""
        clips = dict(self.clips)
        for index, progress in other.clips.items():
            if index not in clips or _age(clips[index]) < _age(progress):
                clips[index] = progress
        return Told(max(self.share, other.share), clips)


NOTHING_TOLD = Told()


def read_told(fields: Mapping[bytes, bytes]) -> Told:
    """Parses the hash; skips entries that another version has written."""
    clips = [_parsed(message) for name, message in fields.items() if name != _SHARE.encode()]
    share = _share_of(fields.get(_SHARE.encode(), b"0"))
    return Told(share, {progress.clip_index: progress for progress in clips if progress})


def _share_of(text: bytes) -> float:
    # A clip that was rendered must not fail by what somebody else wrote here.
    try:
        share = float(text)
    except ValueError:
        return 0.0
    return share if 0 <= share <= 1 else 0.0


def _age(progress: ClipProgress) -> tuple[int, float]:
    return (progress.attempt, progress.progress)


def _parsed(message: bytes) -> ClipProgress | None:
    try:
        return ClipProgress.model_validate_json(message)
    except ValidationError:
        return None


_MOST_JOBS = 2000
"""If there are more, those heard of longest ago are forgotten."""


class Recollection:
    def __init__(self, most_jobs: int = _MOST_JOBS) -> None:
        self._most_jobs = most_jobs
        self._jobs: dict[str, Told] = {}

    def note(self, event: object) -> None:
        """Called with every event that this process receives or publishes."""
        if isinstance(event, ClipProgress):
            self._keep(event.job_id, Told(event.job_progress, {event.clip_index: event}))

    def complete(self, job_id: str, found: Told) -> Told:
        """What Redis knows of a job, or what is known here if that is newer."""
        return found.joined_with(self._jobs.get(job_id, NOTHING_TOLD))

    def _keep(self, job_id: str, told: Told) -> None:
        # Taken out and put back, so that the first one is always the one to forget.
        self._jobs[job_id] = self._jobs.pop(job_id, NOTHING_TOLD).joined_with(told)
        if len(self._jobs) > self._most_jobs:
            del self._jobs[next(iter(self._jobs))]
