"""The talking engine around a lip model: batches, silence, faceless frames, soft edges and memory shortages."""

from collections.abc import Sequence

import numpy as np
import pytest

from fixtures.tiny_lips import lip_spec, noise, write_wav2lip
from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.lipsync.face_engine import BatchLimit, FaceEngine, cut, paste
from phoenix.lipsync.faces import FaceBox, FixedFace
from phoenix.lipsync.features import MelFeatures, mel_spectrogram
from phoenix.lipsync.interface import SPEECH_RATE_HZ, Pixels, SoundFeatures, Speech, SyncCounts
from phoenix.lipsync.lip_files import FileLips, OnnxLips
from phoenix.lipsync.models import TalkingEngines

BOX = FaceBox(8, 4, 50, 56)
DRAWN = LipModelSpec(id="drawn-mouth", title="Drawn", format="drawn")


class WhiteLips:
    """A lip model that makes white crops, and fails with more than `fits` at a time."""

    crop_px = 32
    batch_size = 4

    def __init__(self, fits: int = 4) -> None:
        self.calls: list[int] = []
        self._fits = fits

    def hear(self, speech: Speech, fps: float) -> SoundFeatures:
        return MelFeatures(mel_spectrogram(speech.samples), fps)

    def mouths(self, features: np.ndarray, crops: Pixels) -> Pixels:
        self.calls.append(len(crops))
        assert len(features) == len(crops)
        if len(crops) > self._fits:
            raise TaskFailed(FailureCode.GPU_OOM, "full", stage=Stage.POSTPROCESS, retriable=True)
        return np.full_like(crops, 255)


class Watching:
    def __init__(self, stop_at: int | None = None) -> None:
        self.counts: list[SyncCounts] = []
        self._stop_at = stop_at

    def on_frames(self, counts: SyncCounts) -> None:
        self.counts.append(counts)
        if self._stop_at is not None and counts.frames >= self._stop_at:
            raise InterruptedError


class FacesIn:
    """Frames whose first pixel is not 0 have a face."""

    def find(self, frame: Pixels) -> FaceBox | None:
        return BOX if frame[0, 0, 0] else None


def frames_of(values: Sequence[int]) -> list[Pixels]:
    return [np.full((64, 64, 3), value, np.uint8) for value in values]


def test_every_frame_comes_back_in_order_and_in_its_size() -> None:
    frames, lips, watching = frames_of(range(1, 11)), WhiteLips(), Watching()
    made = list(FaceEngine(lips, FixedFace(BOX)).sync(frames, 25, noise(1), watching))
    assert [frame[0, 0, 0] for frame in made] == list(range(1, 11))
    assert {frame.shape for frame in made} == {(64, 64, 3)}
    assert lips.calls == [4, 4, 2]
    assert watching.counts[-1] == SyncCounts(10)


def test_a_changed_face_has_soft_edges_and_the_frame_that_came_stays_as_it_was() -> None:
    frame = frames_of([10])[0]
    changed = paste(frame, BOX, np.full((32, 32, 3), 255, np.uint8))
    assert (frame == 10).all()
    assert changed[BOX.top + BOX.height // 2, BOX.left + BOX.width // 2].tolist() == [255, 255, 255]
    row = changed[BOX.top + BOX.height // 2, BOX.columns, 0].astype(int)
    assert row[0] == 10
    assert 10 < row[1] < row[2] < 255
    outside = changed.copy()
    outside[BOX.rows, BOX.columns] = 10
    assert (outside == 10).all()


def test_a_crop_that_is_pasted_unchanged_gives_the_frame_again() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    box = FaceBox(8, 4, 48, 48)
    np.testing.assert_array_equal(paste(frame, box, cut(frame, box, 48)), frame)


def test_frames_without_a_face_pass_through_and_are_counted() -> None:
    frames, lips, watching = frames_of([5, 0, 5, 0, 0, 5]), WhiteLips(), Watching()
    made = list(FaceEngine(lips, FacesIn()).sync(frames, 25, noise(1), watching))
    assert [made[index] is frames[index] for index in range(6)] == [False, True, False, True, True, False]
    assert watching.counts[-1] == SyncCounts(6, without_face=3)


def test_silence_asks_the_model_for_nothing() -> None:
    silence = np.zeros(SPEECH_RATE_HZ, np.float32)
    frames, lips, watching = frames_of([5] * 50), WhiteLips(), Watching()
    speech = Speech(np.concatenate([silence, noise(1).samples]))
    made = list(FaceEngine(lips, FixedFace(BOX)).sync(frames, 25, speech, watching))
    changed = [index for index in range(50) if made[index] is not frames[index]]
    assert sum(lips.calls) == len(changed) == 50 - watching.counts[-1].silent
    # The features of the last silent frames hear the speech already.
    assert changed == list(range(21, 50))


def test_a_memory_shortage_halves_the_batch_and_loses_no_frame() -> None:
    frames, lips = frames_of(range(1, 9)), WhiteLips(fits=1)
    made = list(FaceEngine(lips, FixedFace(BOX)).sync(frames, 25, noise(1), Watching()))
    assert [frame[0, 0, 0] for frame in made] == list(range(1, 9))
    assert lips.calls == [4, 2, *[1] * 8]


def test_a_memory_shortage_is_remembered_for_later_syncs() -> None:
    lips = WhiteLips(fits=2)
    engine = FaceEngine(lips, FixedFace(BOX), BatchLimit(4))
    for _ in range(2):
        list(engine.sync(frames_of(range(1, 5)), 25, noise(1), Watching()))
    assert lips.calls == [4, 2, 2, 2, 2]


def test_a_stop_is_seen_between_the_parts_of_a_batch() -> None:
    lips = WhiteLips()
    engine = FaceEngine(lips, FixedFace(BOX), BatchLimit(1))
    with pytest.raises(InterruptedError):
        list(engine.sync(frames_of([1] * 4), 25, noise(1), Watching(stop_at=0)))
    assert lips.calls == [1]


def test_a_shortage_with_one_face_is_the_failure_of_the_task() -> None:
    engine = FaceEngine(WhiteLips(fits=0), FixedFace(BOX))
    with pytest.raises(TaskFailed, match="full"):
        list(engine.sync(frames_of([1]), 25, noise(1), Watching()))


def test_frames_from_the_middle_are_made_as_in_the_whole(tmp_path) -> None:
    spec = lip_spec(write_wav2lip(tmp_path / "lips.onnx"))
    lips, speech = FileLips(spec, OnnxLips(spec, str(spec.source), device="cpu")), noise(1)
    frames = list(np.random.default_rng(4).integers(0, 256, (12, 128, 128, 3), np.uint8))
    engine = FaceEngine(lips, FixedFace(FaceBox(10, 10, 96, 96)))
    whole = list(engine.sync(frames, 25, speech, Watching()))
    part = list(engine.sync(frames[8:], 25, speech, Watching(), first=8))
    np.testing.assert_array_equal(part, whole[8:])


def test_an_observer_ends_a_sync_between_two_batches() -> None:
    lips = WhiteLips()
    with pytest.raises(InterruptedError):
        list(FaceEngine(lips, FixedFace(BOX)).sync(frames_of([1] * 40), 25, noise(2), Watching(stop_at=8)))
    assert lips.calls == [4, 4]


def test_a_file_makes_a_video_as_its_mouths_are_made_one_by_one(tmp_path) -> None:
    spec = lip_spec(write_wav2lip(tmp_path / "lips.onnx"))
    lips = FileLips(spec, OnnxLips(spec, str(spec.source), device="cpu"))
    frames = list(np.random.default_rng(4).integers(0, 256, (6, 128, 128, 3), np.uint8))
    box, speech = FaceBox(10, 10, 96, 96), noise(1)
    made = list(FaceEngine(lips, FixedFace(box)).sync(frames, 25, speech, Watching()))
    for index, frame in enumerate(frames):
        alone = lips.mouths(lips.hear(speech, 25).batch([index]), cut(frame, box, 96)[None])
        np.testing.assert_array_equal(made[index], paste(frame, box, alone[0]))


def test_an_engine_is_opened_by_its_entry_and_its_file_once(tmp_path) -> None:
    spec = lip_spec(write_wav2lip(tmp_path / "lips.onnx"))
    engines = TalkingEngines(device="cpu")
    first, second = (engines.open(spec, BOX) for _ in range(2))
    assert isinstance(first, FaceEngine)
    assert isinstance(second, FaceEngine)
    assert first.model is second.model
    assert first.limit is second.limit


def test_without_a_box_and_a_detector_the_remedy_is_named() -> None:
    with pytest.raises(TaskFailed, match="give the box of the face, or set PHOENIX_LIPSYNC__FACE_DETECTOR"):
        TalkingEngines(device="cpu").open(DRAWN, None)
