"""The queue of frames: batches of all sessions, models apart, retries after the loss of an engine, withdrawals."""

import asyncio
from collections.abc import Sequence

import pytest

from phoenix.errors import FailureCode, Stage, TaskFailed, Unavailable
from phoenix.frames.batching import BatchWindow
from phoenix.frames.frame_queue import FrameQueue
from phoenix.frames.interface import EngineLost, FrameRequest, ImageFormat

NO_WINDOW = BatchWindow(most=4, window_s=0)


class ScriptedEngine:
    """Answers each batch when it is told to, with the numbers of the frames, or fails."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.batches: list[list[int]] = []
        self.models: list[str] = []
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    def answer(self, failure: Exception | None = None) -> None:
        self._answers.put_nowait(failure)

    async def render(self, model: str, batch: Sequence[FrameRequest]) -> Sequence[bytes]:
        self.batches.append([each.frame_index for each in batch])
        self.models.append(model)
        failure = await self._answers.get()
        if failure:
            raise failure
        return [str(each.frame_index).encode() for each in batch]


def frame(index: int, model: str = "lips") -> FrameRequest:
    return FrameRequest("vid", model, index, b"", 0, 0.0, ImageFormat.RAW)


async def let_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_arrives_while_the_engine_is_busy_is_one_batch():
    queue, engine = FrameQueue(NO_WINDOW), ScriptedEngine()
    queue.join(engine)
    pending = [queue.submit(frame(index)) for index in range(7)]
    await let_run()
    for _ in range(3):
        engine.answer()
    assert await asyncio.gather(*(each.image for each in pending)) == [str(index).encode() for index in range(7)]
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6]]
    await queue.close()


async def test_requests_within_the_window_are_one_batch():
    queue, engine = FrameQueue(BatchWindow(most=4, window_s=0.05)), ScriptedEngine()
    queue.join(engine)
    pending = [queue.submit(frame(index)) for index in range(3)]
    assert queue.waiting == 3
    engine.answer()
    await asyncio.gather(*(each.image for each in pending))
    assert engine.batches == [[0, 1, 2]]
    await queue.close()


async def test_a_full_batch_does_not_wait_for_the_window():
    queue, engine = FrameQueue(BatchWindow(most=2, window_s=3600)), ScriptedEngine()
    queue.join(engine)
    pending = [queue.submit(frame(index)) for index in range(2)]
    engine.answer()
    await asyncio.gather(*(each.image for each in pending))
    await queue.close()


async def test_a_batch_has_frames_of_one_model():
    queue, engine = FrameQueue(NO_WINDOW), ScriptedEngine()
    pending = [queue.submit(frame(index, "ab"[index % 2])) for index in range(4)]
    queue.join(engine)
    for _ in range(2):
        engine.answer()
    await asyncio.gather(*(each.image for each in pending))
    assert (engine.batches, engine.models) == ([[0, 2], [1, 3]], ["a", "b"])
    await queue.close()


async def test_the_batch_of_a_lost_engine_goes_to_another_one_first():
    queue, lost, other = FrameQueue(NO_WINDOW), ScriptedEngine("cuda:0"), ScriptedEngine("cuda:1")
    queue.join(lost)
    first = [queue.submit(frame(0))]
    await let_run()
    first += [queue.submit(frame(index)) for index in (1, 2)]
    queue.join(other)
    await let_run()
    lost.answer(EngineLost())
    other.answer()
    other.answer()
    assert await asyncio.gather(*(each.image for each in first)) == [b"0", b"1", b"2"]
    assert (lost.batches, other.batches) == ([[0]], [[1, 2], [0]])
    await queue.close()


async def test_a_frame_that_ends_three_engines_is_given_up():
    queue = FrameQueue(NO_WINDOW)
    pending = queue.submit(frame(0))
    for _ in range(3):
        engine = ScriptedEngine()
        engine.answer(EngineLost())
        queue.join(engine)
        await let_run()
    with pytest.raises(Unavailable, match="3 engines ended while they rendered this frame"):
        await pending.image
    assert queue.waiting == 0
    await queue.close()


async def test_a_failure_of_the_model_fails_its_batch_and_the_engine_goes_on():
    queue, engine = FrameQueue(NO_WINDOW), ScriptedEngine()
    queue.join(engine)
    failed = queue.submit(frame(0))
    engine.answer(TaskFailed(FailureCode.ENGINE_FAILED, "no", stage=Stage.POSTPROCESS))
    with pytest.raises(TaskFailed):
        await failed.image
    made = queue.submit(frame(1))
    engine.answer()
    assert await made.image == b"1"
    await queue.close()


async def test_a_withdrawn_frame_is_not_rendered():
    queue, engine = FrameQueue(NO_WINDOW), ScriptedEngine()
    withdrawn, kept = queue.submit(frame(0)), queue.submit(frame(1))
    assert queue.withdraw(withdrawn)
    queue.join(engine)
    engine.answer()
    assert (await withdrawn.image, await kept.image) == (None, b"1")
    assert engine.batches == [[1]]
    await queue.close()


async def test_a_frame_that_an_engine_has_begun_is_not_withdrawn():
    queue, engine = FrameQueue(NO_WINDOW), ScriptedEngine()
    queue.join(engine)
    pending = queue.submit(frame(0))
    await let_run()
    assert not queue.withdraw(pending)
    engine.answer()
    assert await pending.image == b"0"
    await queue.close()


async def test_the_second_batch_goes_to_the_other_device():
    queue = FrameQueue(BatchWindow(most=1, window_s=0))
    engines = [ScriptedEngine("cuda:0"), ScriptedEngine("cuda:0"), ScriptedEngine("cuda:1")]
    for engine in engines:
        queue.join(engine)
    pending = [queue.submit(frame(index)) for index in range(2)]
    await let_run()
    assert [len(engine.batches) for engine in engines] == [1, 0, 1]
    for engine in engines:
        engine.answer()
    await asyncio.gather(*(each.image for each in pending))
    await queue.close()


async def test_closing_fails_what_waits():
    queue = FrameQueue(NO_WINDOW)
    pending = queue.submit(frame(0))
    await queue.close()
    with pytest.raises(Unavailable, match="the service has ended"):
        await pending.image
