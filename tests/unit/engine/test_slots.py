"""The slots of a device: their limit, their order, and the end of a wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.stop_token import RenderStopped, StopReason, StopToken
from phoenix.errors import FailureCode, Stage, TaskFailed


def spin_until(is_so) -> None:
    """The tests' only way to see that a thread has reached its wait."""
    tick = threading.Event()
    while not is_so():
        tick.wait(0.001)


def test_a_free_slot_is_taken_without_a_wait():
    with DeviceSlots(1, wait_limit_s=60).acquire(StopToken()) as waited_s:
        assert waited_s < 30


def test_never_more_clips_than_slots_are_on_the_device():
    slots, seen, lock = DeviceSlots(3, wait_limit_s=30), [], threading.Lock()

    def use() -> None:
        with slots.acquire(StopToken()), lock:
            seen.append(slots.in_use)

    with ThreadPoolExecutor(12) as pool:
        for future in [pool.submit(use) for _ in range(60)]:
            future.result()
    assert max(seen) <= 3
    assert slots.in_use == slots.waiting == 0


def test_waiting_clips_get_slots_first_come_first_served():
    slots, served = DeviceSlots(1, wait_limit_s=30), []

    def use(number: int) -> None:
        with slots.acquire(StopToken()):
            served.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(5)]
    with slots.acquire(StopToken()):
        for number, thread in enumerate(threads):
            thread.start()
            spin_until(lambda waiting=number + 1: slots.waiting == waiting)
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4]


def test_a_wait_past_the_limit_ends_in_timeout_at_the_queue_stage():
    slots = DeviceSlots(1, wait_limit_s=0.02)
    with slots.acquire(StopToken()), pytest.raises(TaskFailed, match=r"within 0.02 s \(1 of 1 in use\)") as failed:
        slots.acquire(StopToken()).__enter__()
    assert (failed.value.code, failed.value.stage) == (FailureCode.TIMEOUT, Stage.QUEUE)
    assert slots.waiting == 0


def test_a_wait_ends_when_the_clip_is_asked_to_stop():
    slots, token = DeviceSlots(1, wait_limit_s=60), StopToken()
    with slots.acquire(StopToken()):
        threading.Timer(0.02, token.stop, (StopReason.CANCEL,)).start()
        with pytest.raises(RenderStopped):
            slots.acquire(token).__enter__()
    assert slots.in_use == slots.waiting == 0


def test_a_clip_that_was_stopped_already_takes_no_slot():
    slots, token = DeviceSlots(1, wait_limit_s=60), StopToken()
    token.stop(StopReason.LOST)
    with pytest.raises(RenderStopped):
        slots.acquire(token).__enter__()
    assert slots.in_use == 0


def test_the_next_clip_gets_the_slot_if_the_first_in_line_gives_up():
    slots, first_token, served = DeviceSlots(1, wait_limit_s=30), StopToken(), threading.Event()

    def give_up() -> None:
        with pytest.raises(RenderStopped):
            slots.acquire(first_token).__enter__()

    def use() -> None:
        with slots.acquire(StopToken()):
            served.set()

    threads = [threading.Thread(target=give_up), threading.Thread(target=use)]
    with slots.acquire(StopToken()):
        for number, thread in enumerate(threads):
            thread.start()
            spin_until(lambda waiting=number + 1: slots.waiting == waiting)
        first_token.stop(StopReason.CANCEL)
        threads[0].join()
    assert served.wait(100)
    threads[1].join()


def test_a_slot_is_given_back_when_the_work_fails():
    slots = DeviceSlots(1, wait_limit_s=1)
    with pytest.raises(RuntimeError), slots.acquire(StopToken()):
        raise RuntimeError("the decoder crashed")
    assert slots.in_use == 0


def test_the_wait_is_measured():
    slots, waited = DeviceSlots(1, wait_limit_s=30), []

    def use() -> None:
        with slots.acquire(StopToken()) as waited_s:
            waited.append(waited_s)

    thread = threading.Thread(target=use)
    with slots.acquire(StopToken()):
        thread.start()
        spin_until(lambda: slots.waiting == 1)
        threading.Event().wait(0.05)
    thread.join()
    assert 0.05 <= waited[0] < 30
