"""Stop tokens: how a stop is requested, and what it ends."""

import threading
import time

import pytest

from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken, lock_and_wake_on_stop, wait_until


def test_a_token_without_a_stop_raises_nothing():
    token = StopToken()
    token.check()
    token.wait(0)
    assert token.reason is None


def test_the_first_reason_wins():
    token = StopToken()
    assert token.stop(StopReason.PREEMPT)
    assert not token.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped) as stopped:
        token.check()
    assert stopped.value.reason is StopReason.PREEMPT


def test_a_stop_is_no_exception_that_a_library_can_catch():
    assert not issubclass(RenderStopped, Exception)


def test_a_stop_ends_a_wait():
    token = StopToken()
    asked_s: list[float] = []

    def ask() -> None:
        asked_s.append(time.monotonic())
        token.stop(StopReason.CANCEL)

    threading.Timer(0.05, ask).start()
    with pytest.raises(RenderStopped):
        token.wait(100)
    assert time.monotonic() - asked_s[0] < 30


def test_a_callback_is_called_once_when_a_stop_is_requested():
    token, calls = StopToken(), []
    with token.on_stop(lambda: calls.append("called")):
        token.stop(StopReason.LOST)
        token.stop(StopReason.LOST)
    assert calls == ["called"]


def test_a_callback_that_is_added_after_the_stop_is_called_at_once():
    token, calls = StopToken(), []
    token.stop(StopReason.LOST)
    with token.on_stop(lambda: calls.append("called")):
        assert calls == ["called"]


def test_a_callback_is_removed_after_its_block():
    token, calls = StopToken(), []
    with token.on_stop(lambda: calls.append("called")):
        pass
    token.stop(StopReason.LOST)
    assert calls == []


def test_waiting_for_a_condition_ends_when_it_comes_true():
    token, changed, done = StopToken(), threading.Condition(), threading.Event()

    def finish() -> None:
        with changed:
            done.set()
            changed.notify_all()

    with lock_and_wake_on_stop(token, changed):
        threading.Timer(0.01, finish).start()
        assert wait_until(changed, done.is_set, token, timeout_s=60)


def test_waiting_for_a_condition_ends_at_its_limit():
    token, changed = StopToken(), threading.Condition()
    with lock_and_wake_on_stop(token, changed):
        assert not wait_until(changed, lambda: False, token, timeout_s=0.01)


def test_waiting_for_a_condition_ends_with_the_stop():
    token, changed = StopToken(), threading.Condition()
    threading.Timer(0.01, token.stop, (StopReason.DEADLINE,)).start()
    with pytest.raises(RenderStopped), lock_and_wake_on_stop(token, changed):
        wait_until(changed, lambda: False, token)
