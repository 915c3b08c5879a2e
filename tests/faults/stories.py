"""What tests ask of the story of a job with one clip."""

from faults.checker import JobStory
from phoenix.contract import JobState
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.tables import AttemptRow


def attempts_of(story: JobStory) -> list[AttemptRow]:
    return list(story.tasks[0].attempts)


def is_rendering(story: JobStory, attempt: int = 1) -> bool:
    return story.tasks[0].row.state is TaskState.RUNNING and story.tasks[0].row.attempt == attempt


def is_done(story: JobStory) -> bool:
    return story.row.state is JobState.SUCCEEDED
