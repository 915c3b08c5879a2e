"""The rows of the table, in groups that share their servers."""

from suite.groups import Group
from suite.rows import clips, crowds, edits, first_clip, media, queues, requests, schedules, starts, streams

GROUPS: tuple[Group, ...] = (
    requests.GROUP,
    first_clip.GROUP,
    clips.GROUP,
    edits.GROUP,
    queues.GROUP,
    streams.GROUP,
    starts.GROUP,
    schedules.GROUP,
    media.GROUP,
    crowds.GROUP,
)
