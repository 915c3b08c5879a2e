"""The frames of a clip between the thread that makes them and the thread that encodes them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.renders import Recorder, make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.frame_stream import FrameStream
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderRequest
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed


def failure() -> TaskFailed:
    return TaskFailed(FailureCode.GPU_OOM, "the device ran out of memory", stage=Stage.DECODE)


@pytest.fixture
def stream() -> FrameStream:
    return FrameStream()


@pytest.fixture
def request_of_a_clip() -> RenderRequest:
    return RenderRequest(ClipInputs(make_clip(), load_catalog().get("animatic")), Recorder())


def clip_of(request: RenderRequest) -> RenderedClip:
    return RenderedClip(request.frames, 64, 64, 8, 3)


def test_the_reader_gets_all_frames_in_order(stream: FrameStream) -> None:
    stream.add([b"1", b"2"])
    stream.add([b"3"])
    stream.end()
    assert list(stream) == [b"1", b"2", b"3"]


def test_the_reader_waits_for_a_frame_that_is_not_made_yet(stream: FrameStream) -> None:
    with ThreadPoolExecutor(1) as reader:
        frames = reader.submit(list, stream)
        stream.add([b"1"])
        assert not frames.done()
        stream.end()
        assert frames.result(100) == [b"1"]


def test_a_clip_that_is_made_again_goes_on_behind_the_frames_that_were_read(stream: FrameStream) -> None:
    stream.add([b"1", b"2", b"3"])
    read = [next(stream)]
    stream.restart()
    stream.add([b"1 again", b"2 again"])
    stream.add([b"3 again"])
    stream.end()
    assert read + list(stream) == [b"1", b"2 again", b"3 again"]


def test_a_clip_that_is_made_again_twice_loses_no_frame(stream: FrameStream) -> None:
    stream.add([b"1", b"2"])
    read = [next(stream), next(stream)]
    for _ in range(2):
        stream.restart()
        stream.add([b"-", b"-", b"3"])
    stream.end()
    assert read + list(stream) == [b"1", b"2", b"3"]


def test_a_failure_reaches_the_reader_before_the_frames_that_are_left(stream: FrameStream) -> None:
    stream.add([b"1", b"2"])
    next(stream)
    stream.end(failure())
    for _ in range(2):
        with pytest.raises(TaskFailed):
            next(stream)


def test_only_the_first_end_counts(stream: FrameStream) -> None:
    stream.end()
    stream.end(failure())
    assert list(stream) == []


def test_who_waits_for_the_end_is_called_once_then_or_at_once(stream: FrameStream) -> None:
    called: list[str] = []
    stream.when_over(lambda: called.append("before"))
    assert called == []
    stream.end()
    stream.end()
    stream.when_over(lambda: called.append("after"))
    assert called == ["before", "after"]


def test_frames_of_any_other_iterator_are_made_already() -> None:
    called: list[bool] = []
    RenderedClip(iter(()), 64, 64, 8, 0).when_made(lambda: called.append(True))
    assert called == [True]


def test_a_clip_that_is_handed_over_can_be_read_before_the_request_is_finished(request_of_a_clip) -> None:
    with ThreadPoolExecutor(1) as encoder:
        waiting = encoder.submit(lambda: list(request_of_a_clip.wait().frames))
        request_of_a_clip.frames.add([b"1"])
        request_of_a_clip.hand_over(clip_of(request_of_a_clip))
        assert not request_of_a_clip.is_finished
        request_of_a_clip.frames.add([b"2"])
        request_of_a_clip.finish(clip_of(request_of_a_clip))
        assert waiting.result(100) == [b"1", b"2"]


def test_a_failure_after_the_hand_over_reaches_the_reader(request_of_a_clip) -> None:
    request_of_a_clip.hand_over(clip_of(request_of_a_clip))
    handed_over = request_of_a_clip.wait()
    request_of_a_clip.finish(failure())
    with pytest.raises(TaskFailed):
        list(handed_over.frames)


def test_a_stop_after_the_hand_over_wakes_a_reader_who_waits(request_of_a_clip) -> None:
    request_of_a_clip.hand_over(clip_of(request_of_a_clip))
    begun = threading.Event()

    def read() -> None:
        begun.set()
        next(request_of_a_clip.frames)

    with ThreadPoolExecutor(1) as encoder:
        waiting = encoder.submit(read)
        assert begun.wait(100)
        request_of_a_clip.observer.stop.stop(StopReason.CANCEL)
        request_of_a_clip.finish_stopped()
        assert isinstance(waiting.exception(30), RenderStopped)
