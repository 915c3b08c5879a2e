"""What a player loads of a reel while it is rendered: for each clip, a task makes segments, once the clip is done.

The tasks are added when the playlist is asked for first, so that a reel which nobody watches costs nothing more. They
neither delay nor fail the job, and go on after it has succeeded.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from phoenix.catalog.resolve import sound_length_s
from phoenix.contract import MediaInfo, ResolvedReel, SpokenWord
from phoenix.db import UnitOfWork, insert_rows
from phoenix.errors import Conflict, NotFound
from phoenix.ids import new_task_id
from phoenix.jobs.lifecycle import TaskKind, TaskState, can_claim, is_unblocked
from phoenix.jobs.post_commit import TasksReady
from phoenix.jobs.repository import FullJob, get_job_locked, list_tasks
from phoenix.jobs.tables import ArtifactRow, TaskRow
from phoenix.media.captions.cues import frames_to_hold
from phoenix.media.reel.playlist import SegmentedFile
from phoenix.media.reel.spans import span_of_clip

_FILE = TypeAdapter(SegmentedFile)


@dataclass(frozen=True)
class Playlist:
    """The files of the first clips of a reel, and whether there will be more."""

    fps: int
    files: Sequence[SegmentedFile]
    is_over: bool


def segment_position(index: int, num_clips: int) -> int:
    """The position of the task that makes the segments of a clip: before all other tasks of the job.

    So a worker that is free makes the last segments before it joins the reel, and nobody who watches has to wait.
    """
    return index - num_clips


def is_begun(job: FullJob) -> bool:
    """Whether the tasks of the playlist were added."""
    return any(task.kind is TaskKind.SEGMENT for task in job.tasks)


async def begin_playlist(uow: UnitOfWork, job_id: str, *, owner_id: str) -> None:
    """Adds the tasks that make the segments of a reel. Harmless if repeated, and for a job that has failed.

    Raises `NotFound` for an unknown job, and for a job without clips.
    """
    job = await get_job_locked(uow.session, job_id, owner_id=owner_id)
    reel = job.parse_request()
    if not isinstance(reel, ResolvedReel):
        raise NotFound(f"A {job.kind} has no playlist.")
    tasks = await list_tasks(uow.session, job_id)
    is_added = any(task.kind is TaskKind.SEGMENT for task in tasks)
    if is_added or job.ending is not None or not can_claim(job.state, TaskKind.SEGMENT):
        return
    # Takes that the reel does not show come after the clips.
    clips = [task for task in tasks if task.kind is TaskKind.RENDER][: len(reel.clips)]
    now = await uow.now()
    added: list[TaskRow] = []
    for index, clip in enumerate(clips):
        position = segment_position(index, len(clips))
        task = TaskRow(
            id=new_task_id(),
            job_id=job_id,
            kind=TaskKind.SEGMENT,
            position=position,
            queue="media",
            state=TaskState.BLOCKED,
            prerequisites=[*([position - 1] if index else []), clip.position, *_sounds_before(reel, tasks, index)],
            waiting_since=now,
            eligible_at=now,
        )
        added.append(task)
        if is_unblocked(task, [*tasks, *added]):
            task.state = TaskState.READY
    await insert_rows(uow.session, added)
    uow.publish_after_commit(TasksReady())


def _sounds_before(reel: ResolvedReel, tasks: Sequence[TaskRow], index: int) -> list[int]:
    """Positions of the tasks whose sound the segments of a clip need, and those before them do not."""
    speeches = {reel.position_of_narration(clip): clip.index for clip in reel.narrated}
    # Where clips grow to their narration, the times of the reel follow from all of it.
    first = {position for position, clip in speeches.items() if clip == index or (reel.fit_narration and index == 0)}
    return [
        task.position for task in tasks if task.position in first or (task.kind is TaskKind.SOUNDTRACK and index == 0)
    ]


async def read_playlist(session: AsyncSession, job: FullJob) -> Playlist:
    """The playlist of a reel as it is now. Raises `NotFound` for a job without clips."""
    request = job.row.parse_request()
    if not isinstance(request, ResolvedReel):
        raise NotFound(f"A {job.row.kind} has no playlist.")
    tasks = [task for task in job.tasks if task.kind is TaskKind.SEGMENT]
    ids = [task.artifact_id for task in tasks if task.artifact_id]
    rows = await session.scalars(select(ArtifactRow).where(col(ArtifactRow.id).in_(ids)))
    infos = {row.id: row.info for row in rows}
    files = [_FILE.validate_python(infos[each]["segments"]) for each in ids if each in infos]
    # A job that ended without success gets no more tasks. A job that succeeded may be watched for the first time now.
    is_over = all(task.state.is_terminal for task in tasks) and (bool(tasks) or job.row.state.is_terminal)
    return Playlist(request.fps, files, is_over)


@dataclass(frozen=True)
class CaptionsOfClips:
    """What is known of the captions of a reel: the words that were spoken, and of how many clips all words are known.

    `spoken`, and for how many frames a clip is `held`: by the index of the clip.
    """

    reel: ResolvedReel
    spoken: Mapping[int, Sequence[SpokenWord]]
    num_known: int
    held: Mapping[int, int]

    @property
    def lengths_s(self) -> list[float]:
        """How long the segments of each clip are, in seconds, also of clips that are not done."""
        spans = (span_of_clip(self.reel, clip.index, self.held) for clip in self.reel.clips)
        return [(span.end - span.start) / self.reel.fps for span in spans]


def has_captions(reel: ResolvedReel) -> bool:
    """Whether a player of the reel has captions to show."""
    return reel.captions != "off" and any(clip.caption or clip.narration for clip in reel.clips)


async def read_captions(session: AsyncSession, job: FullJob) -> CaptionsOfClips:
    """The captions of a reel as they are known now. Raises `NotFound` for a job without captions."""
    reel = job.row.parse_request()
    if not isinstance(reel, ResolvedReel) or not has_captions(reel):
        raise NotFound("The job has no captions.")
    by_position = {reel.position_of_narration(clip): clip.index for clip in reel.narrated}
    artifacts = {task.artifact_id: by_position[task.position] for task in job.tasks if _speaks(task, by_position)}
    rows = await session.scalars(select(ArtifactRow).where(col(ArtifactRow.id).in_(artifacts)))
    speeches = {artifacts[row.id]: MediaInfo.model_validate(row.info) for row in rows}
    held = frames_to_hold(reel, {index: sound_length_s(info) or 0 for index, info in speeches.items()})
    # A clip with a caption shows the caption, and not what is spoken.
    spoken = {index: info.words for index, info in speeches.items() if not reel.clips[index].caption}
    unknown = {clip.index for clip in reel.narrated if not clip.caption} - set(spoken)
    return CaptionsOfClips(reel, spoken, min(unknown, default=len(reel.clips)), held if reel.fit_narration else {})


def _speaks(task: TaskRow, positions: Container[int]) -> bool:
    return task.kind is TaskKind.NARRATE and task.artifact_id is not None and task.position in positions


async def get_segments(session: AsyncSession, job: FullJob, index: int) -> ArtifactRow:
    """The file with the segments of a clip. Raises `NotFound` for an unknown index, `Conflict` until it is there."""
    tasks = [task for task in job.tasks if task.kind is TaskKind.SEGMENT]
    if not 0 <= index < len(tasks):
        raise NotFound(f"The job has no segments of a clip {index}.")
    artifact_id = tasks[index].artifact_id
    if artifact_id is None:
        raise Conflict(f"The segments of clip {index} are not there yet.")
    return await session.get_one(ArtifactRow, artifact_id)
