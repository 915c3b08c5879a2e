"""Parts of a reel that hold their last frame: the joined video is longer, and all other frames stay as they were."""

import numpy as np
import pytest

from fixtures.media_files import MediaMaker, decode, sound_levels
from phoenix.contract import Transition
from phoenix.media.ffmpeg import MediaTools
from phoenix.media.reel.join import join_clips

CUT = Transition(kind="cut")
FADE = Transition(kind="crossfade", duration_s=0.5)


@pytest.mark.parametrize(("held", "transition", "frames"), [({0: 8}, CUT, 72), ({0: 8, 1: 40}, FADE, 104)])
def test_a_part_is_followed_by_its_last_frame(
    media: MediaMaker, media_tools: MediaTools, held: dict[int, int], transition: Transition, frames: int
) -> None:
    parts = [media.video("a.mp4"), media.video("b.mp4", source="color=red")]
    output = media.folder / "reel.mp4"

    info = join_clips(parts, output, tools=media_tools, transition=transition, held=held)

    made, first = decode(output), decode(parts[0])
    assert info.num_frames == made.num_frames == frames
    assert len(made.steps) == 1
    # Encoded once or twice more.
    assert np.abs(np.array(made.colours[:32]) - np.array(first.colours)).mean() < 8


def test_a_held_part_is_silent_after_its_sound(media: MediaMaker, media_tools: MediaTools) -> None:
    parts = [media.video_with_sound("a.mp4"), media.video_with_sound("b.mp4")]
    output = media.folder / "reel.mp4"

    join_clips(parts, output, tools=media_tools, held={0: 16})

    heard = [level > 0.05 for level in sound_levels(output, 0.25)]
    assert heard[1:7] + heard[9:11] + heard[13:19] == [True] * 6 + [False] * 2 + [True] * 6


def test_nine_parts_may_be_held_at_once(media: MediaMaker, media_tools: MediaTools) -> None:
    part = media.video("a.mp4", frames=16)
    output = media.folder / "reel.mp4"

    info = join_clips([part] * 10, output, tools=media_tools, transition=FADE, held=dict.fromkeys(range(10), 16))

    assert info.num_frames == 10 * 32 - 9 * 8
