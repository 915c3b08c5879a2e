"""What someone waits for who watches a reel and edits it, on the clock, with `phoenix up` and paced clips.

An edit re-rolls one of 15 clips. It is compared with the time of one clip and of the join of the reel that it edits, in
the same round: a clip from its start to its end, and the join from the end of the last clip to the end of the job. The
first segment of a reel that somebody watches is compared with a limit, from the end of the first clip until a playlist
has it and its bytes have come.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from suite.groups import Group
from suite.results import Kind, Measurement, Round, Row
from suite.up import OwnerStream, Up, reel, running_up

_CLIPS = 15
_FIRST_SEGMENT_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.05

EDIT = Row(
    "edit-reroll",
    f"an edit that re-rolls one of {_CLIPS} clips",
    "s",
    "the time of that clip and of the join",
    1.15,
    Kind.ONE_SIDE,
)
SEGMENT = Row("first-segment", "end of the first clip until its segment has come", "s", "limit", 1.0, Kind.ONE_SIDE)


@dataclass(frozen=True)
class _Turn:
    edit_s: float
    clip_and_join_s: float
    segment_s: float


def measure(rows: Sequence[Row], rounds: int) -> Iterator[Measurement]:
    with running_up(PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.5") as up:
        stream = OwnerStream(up.port)
        turns = [_measure_turn(up, stream) for _ in range(rounds)]
    if EDIT in rows:
        yield Measurement(EDIT, [Round(turn.edit_s, turn.clip_and_join_s) for turn in turns])
    if SEGMENT in rows:
        yield Measurement(SEGMENT, [Round(turn.segment_s, _FIRST_SEGMENT_WITHIN_S) for turn in turns])


def _measure_turn(up: Up, stream: OwnerStream) -> _Turn:
    # Nothing is reused from the turn before.
    original = up.post(reel(_CLIPS, steps=4, title=f"{time.time()}", reuse=False))
    started = stream.next_of(original, "clip.started")
    ended = [stream.next_of(original, "clip.succeeded")]
    segment_s = _wait_for_segment(up, original) - ended[0].at_s
    ended += [stream.next_of(original, "clip.succeeded") for _ in range(_CLIPS - 1)]
    done = up.end_well(stream, original)
    sent_s = time.time()
    edit = up.ask("POST", f"/v1/jobs/{original}/edits", {"clips": [{"op": "reroll", "index": 7}]})["id"]
    edit_s = up.end_well(stream, edit).at_s - sent_s
    return _Turn(edit_s, (ended[0].at_s - started.at_s) + (done.at_s - ended[-1].at_s), segment_s)


def _wait_for_segment(up: Up, job_id: str) -> float:
    """The time on the clock when the bytes of the first segment have come."""
    while True:
        status, playlist = up.read(f"/v1/jobs/{job_id}/playlist.m3u8")
        lines = playlist.decode().splitlines() if status == HTTPStatus.OK else []
        if segments := [line for line in lines if line and not line.startswith("#")]:
            status, _ = up.read(f"/v1/jobs/{job_id}/{segments[0]}")
            assert status < HTTPStatus.BAD_REQUEST, segments[0]
            return time.time()
        time.sleep(_LOOK_EVERY_S)


GROUP = Group("edits", (EDIT, SEGMENT), measure)
