"""The messages of a session over WebSocket: what is read, what is written, and what is refused with which words."""

import struct

import pytest

from phoenix.frames.front.client_messages import (
    FRAME_HEADER_BYTES,
    Control,
    OpenSession,
    read_control,
    read_frame,
    read_opening,
    read_sound,
    write_frame,
    write_sound,
)
from phoenix.frames.front.faults import FAULT_KINDS, Fault, FrameError
from phoenix.frames.interface import FrameOut, ImageFormat

FRAME = FrameOut(index=7, pts_s=0.28, image=b"jpeg bytes", audio=b"\1\0\2\0")


def test_the_first_message_may_leave_all_but_the_video_out() -> None:
    assert read_opening('{"type": "open", "video_id": "vid_1"}') == OpenSession(
        video_id="vid_1", sample_rate=16_000, format=ImageFormat.JPEG, max_buffered_s=1.0
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{}", "/video_id"),
        ('{"type": "open", "video_id": "v", "sample_rate": 10}', "/sample_rate"),
        ('{"type": "open", "video_id": "v", "format": "png"}', "/format"),
        ('{"type": "open", "video_id": "v", "max_buffered_s": 0}', "/max_buffered_s"),
        ('{"type": "open", "video_id": "v", "mode": 1}', "/mode"),
        ('{"type": "clear"}', "/type"),
        ("no JSON", "/"),
    ],
)
def test_a_wrong_first_message_is_refused_with_the_field(text: str, place: str) -> None:
    with pytest.raises(FrameError) as refused:
        read_opening(text)

    assert refused.value.fault is Fault.MALFORMED_MESSAGE
    assert refused.value.detail.startswith(f"{place}:")


def test_an_open_session_takes_two_words() -> None:
    assert [read_control('{"type": "clear"}'), read_control('{"type": "end"}')] == [Control.CLEAR, Control.END]


@pytest.mark.parametrize("text", ['{"type": "open", "video_id": "v"}', '{"type": "clear", "all": true}', "[]", "\0"])
def test_another_word_is_refused(text: str) -> None:
    with pytest.raises(FrameError, match="an open session takes"):
        read_control(text)


def test_sound_is_read_as_it_was_written() -> None:
    sound = read_sound(write_sound(70_000, b"\1\2\3\4"))

    assert (sound.sequence, sound.pcm) == (70_000, b"\1\2\3\4")


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"\0\0\0\0\1", b"\0\0\0\0\1\2\3"])
def test_sound_without_whole_samples_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="sample"):
        read_sound(data)


def test_a_frame_is_read_as_it_was_written() -> None:
    assert read_frame(write_frame(FRAME, 3, ImageFormat.JPEG)) == (3, FRAME)


def test_the_header_of_a_frame_is_as_the_documentation_has_it() -> None:
    data = write_frame(FRAME, 3, ImageFormat.RAW)

    assert struct.unpack("<BBHIdIIII", data[:FRAME_HEADER_BYTES]) == (1, 2, 0, 3, 0.28, 7, 4, 10, 0)
    assert data[FRAME_HEADER_BYTES:] == FRAME.audio + FRAME.image


def test_the_sound_of_a_frame_begins_where_a_browser_can_look_at_it_as_samples() -> None:
    assert FRAME_HEADER_BYTES % 4 == 0


def test_every_fault_has_a_code_in_every_protocol() -> None:
    assert FAULT_KINDS.keys() == set(Fault)
    assert all(
        kind.close_code in {1009, 1011, 1012, 1013} or 4400 <= kind.close_code < 4500 for kind in FAULT_KINDS.values()
    )
