"""The free capacity of the queue that a process has counted."""

from dataclasses import dataclass

from phoenix.jobs.submission.admission_control import MAX_CONCURRENT_SUBMITS, QueueCapacity

LIMIT = 10_000


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def count_taken(capacity: QueueCapacity) -> int:
    taken = 0
    while taken < LIMIT and capacity.try_acquire():
        taken += 1
    return taken


def test_nothing_is_known_before_a_count() -> None:
    assert count_taken(QueueCapacity()) == 0


def test_twenty_replicas_that_count_at_once_do_not_let_in_more_than_the_capacity() -> None:
    capacities = [QueueCapacity() for _ in range(20)]
    for capacity in capacities:
        capacity.update(4_000, LIMIT)

    assert 0 < sum(count_taken(capacity) for capacity in capacities) <= LIMIT - 4_000 - MAX_CONCURRENT_SUBMITS


def test_in_the_last_tenth_every_submit_counts() -> None:
    capacity = QueueCapacity()
    capacity.update(LIMIT - LIMIT // 10 - MAX_CONCURRENT_SUBMITS, LIMIT)

    assert count_taken(capacity) == 0


def test_a_small_queue_is_counted_for_every_submit() -> None:
    capacity = QueueCapacity()
    capacity.update(0, MAX_CONCURRENT_SUBMITS)

    assert count_taken(capacity) == 0


def test_a_count_is_used_for_a_second() -> None:
    clock = Clock()
    capacity = QueueCapacity(clock)
    capacity.update(0, LIMIT)
    clock.now_s = 0.9
    assert capacity.try_acquire()
    clock.now_s = 1.0
    assert not capacity.try_acquire()


def test_each_owner_has_a_count_of_its_own() -> None:
    capacity = QueueCapacity()
    capacity.of_owner("one").update(0, LIMIT)

    assert (capacity.of_owner("one").try_acquire(), capacity.of_owner("another").try_acquire()) == (True, False)
