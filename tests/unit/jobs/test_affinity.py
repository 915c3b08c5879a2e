"""When a worker skips a clip in favor of a worker that holds its model, and for how long."""

from phoenix.jobs.scheduling.affinity import Candidate, PendingClaim, should_skip

WAIT_S = 10.0
IDLE_HOLDER = Candidate(("wan",), free_slots=1)
BUSY_HOLDER = Candidate(("wan",), free_slots=0)


def leaves(
    *others: Candidate,
    loaded_models: tuple[str, ...] = ("ltx",),
    skipped_for_s: float | None = None,
    dispatched_models: tuple[str, ...] = (),
    wait_s: float = WAIT_S,
) -> bool:
    return should_skip(PendingClaim("wan", skipped_for_s, dispatched_models), loaded_models, others, wait_s=wait_s)


def test_a_clip_is_left_to_an_idle_worker_that_holds_its_model() -> None:
    assert leaves(IDLE_HOLDER)


def test_a_worker_that_holds_the_model_takes_the_clip() -> None:
    assert not leaves(IDLE_HOLDER, loaded_models=("wan",))


def test_a_clip_whose_model_no_worker_holds_is_taken() -> None:
    assert not leaves(Candidate(("ltx",), free_slots=1), dispatched_models=("ltx",))


def test_for_a_busy_holder_no_worker_stands_idle() -> None:
    assert not leaves(BUSY_HOLDER)


def test_a_worker_with_a_clip_for_its_own_model_leaves_one_to_a_busy_holder() -> None:
    assert leaves(BUSY_HOLDER, dispatched_models=("ltx",))


def test_a_clip_that_was_skipped_for_long_enough_is_taken_by_any_worker() -> None:
    assert leaves(IDLE_HOLDER, skipped_for_s=WAIT_S - 0.1)
    assert not leaves(IDLE_HOLDER, skipped_for_s=WAIT_S)


def test_without_a_wait_no_clip_is_skipped() -> None:
    assert not leaves(IDLE_HOLDER, BUSY_HOLDER, dispatched_models=("ltx",), wait_s=0)
