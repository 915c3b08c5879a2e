"""How urgently a worker ends, and with which status."""

from phoenix.contract.artifacts import MediaInfo
from phoenix.engine.backend import ProcessUnfit
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.execution.completion import Result
from phoenix.worker.child_process import Exit
from phoenix.worker.drain import Drain, resident_bytes
from phoenix.worker.runner import Failed, Succeeded

DONE = Succeeded(Result("key", "video/mp4", 1, "00", MediaInfo(media="video", format="mp4")))
UNFIT = Failed(ProcessUnfit(FailureCode.ENGINE_FAILED, "the device is in a bad state", stage=Stage.DENOISE))


def degrees(drain: Drain) -> tuple[bool, bool, bool]:
    return drain.asked.is_set(), drain.hurried.is_set(), drain.at_once.is_set()


def test_one_signal_gives_a_grace() -> None:
    drain = Drain(recycle_after=2)
    drain.ask()
    assert (degrees(drain), drain.exit) == ((True, True, False), Exit.DONE)


def test_two_signals_give_none() -> None:
    drain = Drain(recycle_after=2)
    drain.ask()
    drain.ask()
    assert degrees(drain) == (True, True, True)


def test_a_worker_recycles_after_its_share_and_takes_its_time() -> None:
    drain = Drain(recycle_after=2)
    drain.note(DONE)
    assert degrees(drain) == (False, False, False)
    drain.note(DONE)
    assert (degrees(drain), drain.exit) == ((True, False, False), Exit.RECYCLE)


def test_a_signal_hurries_a_worker_that_recycles_and_it_is_not_replaced() -> None:
    drain = Drain(recycle_after=1)
    drain.note(DONE)
    drain.ask()
    assert (degrees(drain), drain.exit) == ((True, True, False), Exit.DONE)


def test_a_process_that_is_unfit_hands_back_what_it_holds_and_says_so() -> None:
    drain = Drain(recycle_after=50)
    drain.note(UNFIT)
    assert (degrees(drain), drain.exit) == ((True, True, True), Exit.UNFIT)


def test_a_worker_that_grew_past_its_limit_recycles_after_its_task_and_takes_its_time() -> None:
    held = iter([99, 100, 101])
    drain = Drain(recycle_after=50, memory_limit_bytes=100, memory_bytes=lambda: next(held))
    for _ in range(2):
        drain.note(DONE)
        assert degrees(drain) == (False, False, False)
    drain.note(DONE)
    assert (degrees(drain), drain.exit) == ((True, False, False), Exit.RECYCLE)


def test_the_memory_of_this_process_is_some_megabytes_at_least() -> None:
    assert 10_000_000 < resident_bytes() < 1 << 40


def test_tasks_that_end_during_a_drain_change_nothing() -> None:
    drain = Drain(recycle_after=1)
    drain.ask()
    drain.note(DONE)
    assert drain.exit is Exit.DONE
