"""When a clip gives its slot back: at the end of its decode, however long the encoder takes."""

import asyncio
from functools import partial

from phoenix.engine.frame_stream import FrameStream
from phoenix.engine.interface import RenderedClip
from phoenix.errors import Stage
from phoenix.worker.render import leave_device
from phoenix.worker.render_observer import Stopwatch


async def test_the_slot_is_given_back_after_the_stage_and_not_before_the_last_frame_is_made() -> None:
    frames, stages, released = FrameStream(), list[Stage | None](), list[list[Stage | None]]()
    rendered, stopwatch = RenderedClip(frames, 64, 64, 8, 2), Stopwatch(on_enter=stages.append)
    enter_encode = partial(stopwatch.enter, Stage.ENCODE)
    leaving = asyncio.create_task(leave_device(rendered, enter_encode, lambda: released.append(list(stages))))
    frames.add([b"1"])
    await asyncio.sleep(0)
    next(frames)
    assert released == []
    frames.add([b"2"])
    frames.end()
    await asyncio.wait_for(leaving, 100)
    assert released == [[Stage.ENCODE]]


async def test_a_clip_whose_frames_are_made_needs_the_device_no_more() -> None:
    released: list[bool] = []
    rendered = RenderedClip(iter([b"1"]), 64, 64, 8, 1)
    await asyncio.wait_for(leave_device(rendered, lambda: None, lambda: released.append(True)), 100)
    assert released == [True]
