"""Boxes of faces: inside the frame, smoothed over time, and found by a detector in the form of CenterFace."""

from pathlib import Path

import numpy as np
import pytest

from fixtures.tiny_lips import write_detector
from fixtures.tiny_onnx import PICTURE, write_upscaler
from phoenix.catalog.postprocessors import Postprocessor
from phoenix.errors import FailureCode, TaskFailed
from phoenix.lipsync.faces import DetectedFace, FaceBox, FixedFace, track
from phoenix.lipsync.interface import Pixels

SPEC = Postprocessor(id="face-detector", title="Detector")


def frame_of(value: int, size: tuple[int, int] = (64, 96)) -> Pixels:
    return np.full((*size, 3), value, np.uint8)


class ByValue:
    """The face is where the first pixel says. There is none in a frame of zeros."""

    def __init__(self) -> None:
        self.looked = 0

    def find(self, frame: Pixels) -> FaceBox | None:
        self.looked += 1
        left = int(frame[0, 0, 0])
        return FaceBox(left, 10, 20, 20) if left else None


def lefts(values: list[int]) -> list[int | None]:
    return [box and box.left for _, box in track([frame_of(value) for value in values], ByValue())]


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        (FaceBox(-5, 60, 20, 20), FaceBox(0, 60, 15, 4)),
        (FaceBox(90, 0, 20, 64), FaceBox(90, 0, 6, 64)),
        (FaceBox(10, 10, 20, 20), FaceBox(10, 10, 20, 20)),
        (FaceBox(96, 0, 20, 20), None),
        (FaceBox(95, 0, 20, 20), None),
    ],
)
def test_a_box_is_cut_at_the_edges_of_the_frame(box: FaceBox, inside: FaceBox | None) -> None:
    assert box.within(96, 64) == inside
    assert FixedFace(box).find(frame_of(1)) == inside


def test_a_box_is_the_mean_of_this_frame_and_the_next_four() -> None:
    assert lefts([10, 20, 30, 40, 50, 60, 60, 60]) == [30, 40, 48, 54, 58, 60, 60, 60]


def test_smoothing_ends_at_a_frame_without_a_face() -> None:
    assert lefts([10, 20, 0, 70, 70]) == [15, 20, None, 70, 70]


def test_every_frame_comes_once_and_in_order() -> None:
    frames = [frame_of(value) for value in (0, 1, 2, 0, 4, 5, 6)]
    assert [frame for frame, _ in track(frames, ByValue())] == frames
    assert list(track([], ByValue())) == []


def test_at_most_four_frames_are_read_ahead() -> None:
    read: list[int] = []

    def frames():
        for value in range(1, 20):
            read.append(value)
            yield frame_of(value)

    tracked = track(frames(), ByValue())
    next(tracked)
    assert read == [1, 2, 3, 4, 5]


def test_a_still_picture_is_looked_at_once() -> None:
    finder, picture = ByValue(), frame_of(7)
    assert [box and box.left for _, box in track([picture] * 12, finder)] == [7] * 12
    assert finder.looked == 1


def test_a_detector_finds_the_face_in_a_frame_of_any_size(tmp_path: Path) -> None:
    detector = DetectedFace(SPEC, str(write_detector(tmp_path / "faces.onnx")), device="cpu")
    frame = frame_of(0, (320, 320))
    frame[160:164, 200:204] = 255
    found = detector.find(frame)
    assert found is not None
    # 32 wide and 48 high, and a tenth more at the chin, around the white pixels.
    assert (found.left, found.top, found.width, found.height) == (186, 138, 32, 53)


def test_a_large_frame_is_looked_at_in_a_smaller_size(tmp_path: Path) -> None:
    detector = DetectedFace(SPEC, str(write_detector(tmp_path / "faces.onnx")), device="cpu")
    frame = frame_of(0, (640, 1280))
    frame[320:352, 640:672] = 255
    found = detector.find(frame)
    assert found is not None
    assert found.width == 32 * 4
    assert abs(found.left + found.width / 2 - 656) <= 16


def test_a_frame_without_a_face_has_no_box(tmp_path: Path) -> None:
    detector = DetectedFace(SPEC, str(write_detector(tmp_path / "faces.onnx")), device="cpu")
    assert detector.find(frame_of(100)) is None


@pytest.mark.parametrize(
    ("shape", "reason"),
    [(PICTURE, "a face detector makes scores, sizes and offsets"), ((1, 3, 32, 32), "make its sizes free")],
)
def test_a_file_of_another_form_is_refused_with_the_reason(tmp_path: Path, shape: tuple[int, ...], reason: str) -> None:
    source = write_upscaler(tmp_path / "x2.onnx", shape=shape)
    with pytest.raises(TaskFailed, match=reason) as refused:
        DetectedFace(SPEC, str(source), device="cpu")
    assert refused.value.code is FailureCode.MODEL_UNAVAILABLE
