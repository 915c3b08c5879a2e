"""What a process takes as known of the room in the queue."""

from dataclasses import dataclass

from phoenix.jobs.submission.admission_control import SUBMITS_AT_ONCE, KnownRoom

LIMIT = 10_000


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def count_taken(room: KnownRoom) -> int:
    taken = 0
    while taken < LIMIT and room.take():
        taken += 1
    return taken


def test_nothing_is_known_before_a_count() -> None:
    assert count_taken(KnownRoom()) == 0


def test_twenty_replicas_that_count_at_once_do_not_let_in_more_than_there_is_room_for() -> None:
    rooms = [KnownRoom() for _ in range(20)]
    for room in rooms:
        room.note(4_000, LIMIT)

    assert 0 < sum(count_taken(room) for room in rooms) <= LIMIT - 4_000 - SUBMITS_AT_ONCE


def test_in_the_last_tenth_every_submit_counts() -> None:
    room = KnownRoom()
    room.note(LIMIT - LIMIT // 10 - SUBMITS_AT_ONCE, LIMIT)

    assert count_taken(room) == 0


def test_a_small_queue_is_counted_for_every_submit() -> None:
    room = KnownRoom()
    room.note(0, SUBMITS_AT_ONCE)

    assert count_taken(room) == 0


def test_what_was_counted_is_known_for_a_second() -> None:
    clock = Clock()
    room = KnownRoom(clock)
    room.note(0, LIMIT)
    clock.now_s = 0.9
    assert room.take()
    clock.now_s = 1.0
    assert not room.take()
