"""When a worker ends, how fast, and with which status."""

from phoenix.contract import MediaInfo
from phoenix.engine.interface import ProcessUnfit
from phoenix.errors import FailureCode, Stage
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.worker.child_process import ExitStatus
from phoenix.worker.runner import Failed, Succeeded
from phoenix.worker.shutdown import ShutdownState, resident_bytes

DONE = Succeeded(AttemptOutput("key", "video/mp4", 1, "00", MediaInfo(media="video", format="mp4")))
UNFIT = Failed(ProcessUnfit(FailureCode.ENGINE_FAILED, "the device is in a bad state", stage=Stage.DENOISE))


def stages(shutdown: ShutdownState) -> tuple[bool, bool, bool]:
    return shutdown.draining.is_set(), shutdown.grace_started.is_set(), shutdown.immediate.is_set()


def test_one_signal_gives_a_grace() -> None:
    shutdown = ShutdownState(recycle_after=2)
    shutdown.request()
    assert (stages(shutdown), shutdown.exit) == ((True, True, False), ExitStatus.DONE)


def test_two_signals_give_none() -> None:
    shutdown = ShutdownState(recycle_after=2)
    shutdown.request()
    shutdown.request()
    assert stages(shutdown) == (True, True, True)


def test_a_worker_recycles_after_its_share_and_takes_its_time() -> None:
    shutdown = ShutdownState(recycle_after=2)
    shutdown.record(DONE)
    assert stages(shutdown) == (False, False, False)
    shutdown.record(DONE)
    assert (stages(shutdown), shutdown.exit) == ((True, False, False), ExitStatus.RECYCLE)


def test_a_signal_starts_the_grace_period_of_a_worker_that_recycles_and_it_is_not_replaced() -> None:
    shutdown = ShutdownState(recycle_after=1)
    shutdown.record(DONE)
    shutdown.request()
    assert (stages(shutdown), shutdown.exit) == ((True, True, False), ExitStatus.DONE)


def test_a_process_that_is_unfit_hands_back_what_it_holds_and_says_so() -> None:
    shutdown = ShutdownState(recycle_after=50)
    shutdown.record(UNFIT)
    assert (stages(shutdown), shutdown.exit) == ((True, True, True), ExitStatus.UNFIT)


def test_a_worker_that_grew_past_its_limit_recycles_after_its_task_and_takes_its_time() -> None:
    held = iter([99, 100, 101])
    shutdown = ShutdownState(recycle_after=50, memory_limit_bytes=100, memory_bytes=lambda: next(held))
    for _ in range(2):
        shutdown.record(DONE)
        assert stages(shutdown) == (False, False, False)
    shutdown.record(DONE)
    assert (stages(shutdown), shutdown.exit) == ((True, False, False), ExitStatus.RECYCLE)


def test_the_memory_of_this_process_is_some_megabytes_at_least() -> None:
    assert 10_000_000 < resident_bytes() < 1 << 40


def test_tasks_that_end_during_a_drain_change_nothing() -> None:
    shutdown = ShutdownState(recycle_after=1)
    shutdown.request()
    shutdown.record(DONE)
    assert shutdown.exit is ExitStatus.DONE
