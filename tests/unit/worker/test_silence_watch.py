"""When a worker process counts as hanging."""

from phoenix.worker.supervisor import SilenceWatch

LIMIT_S = 20.0


def test_a_process_that_has_never_reported_may_take_its_time() -> None:
    watch = SilenceWatch(LIMIT_S)

    assert not any(watch.observe(now_s, is_live=False) for now_s in (0, 100, 1_000))


def test_a_process_that_falls_silent_hangs_once_the_limit_is_over() -> None:
    watch = SilenceWatch(LIMIT_S)
    watch.observe(0, is_live=True)

    assert [watch.observe(now_s, is_live=False) for now_s in (5, 24, 25, 26)] == [False, False, False, True]


def test_one_report_ends_a_silence() -> None:
    watch = SilenceWatch(LIMIT_S)
    watch.observe(0, is_live=True)
    watch.observe(5, is_live=False)
    watch.observe(20, is_live=True)

    assert not watch.observe(30, is_live=False)


def test_the_time_without_a_database_does_not_count() -> None:
    watch = SilenceWatch(LIMIT_S)
    watch.observe(0, is_live=True)
    watch.observe(5, is_live=False)
    watch.forget()

    assert [watch.observe(now_s, is_live=False) for now_s in (100, 119, 121)] == [False, False, True]
