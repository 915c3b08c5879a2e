"""What calls have taken of the device's memory: learned, kept in a file, and never trusted to be whole."""

from pathlib import Path

import pytest

from phoenix.engine.peaks import CallShape, FilePeaks, MemoryPeaks

SHAPE = CallShape("wan", "auto", 832, 480, 81, 1)


def test_nothing_is_known_of_a_shape_before_its_first_call():
    assert MemoryPeaks().find(SHAPE) is None


def test_the_highest_peak_is_the_one_that_counts():
    peaks = MemoryPeaks()
    for peak_bytes in (5, 9, 7):
        peaks.record(SHAPE, peak_bytes)
    assert peaks.find(SHAPE) == 9


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"offload": "model"}, {"width": 480}, {"model_id": "ltx"}])
def test_a_call_that_differs_in_what_matters_is_another_shape(change):
    peaks = MemoryPeaks()
    peaks.record(SHAPE, 9)
    assert peaks.find(CallShape(**(vars(SHAPE) | change))) is None


def test_the_next_process_knows_what_this_one_learned(tmp_path: Path):
    FilePeaks(tmp_path / "new" / "peaks.json").record(SHAPE, 9)
    assert FilePeaks(tmp_path / "new" / "peaks.json").find(SHAPE) == 9


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path: Path):
    ours, theirs = FilePeaks(tmp_path / "peaks.json"), FilePeaks(tmp_path / "peaks.json")
    other = CallShape("ltx", "auto", 832, 480, 81, 1)
    theirs.record(other, 5)
    ours.record(SHAPE, 9)
    both = FilePeaks(tmp_path / "peaks.json")
    assert (both.find(SHAPE), both.find(other)) == (9, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["peaks.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}', "\x00\xff"])
def test_a_file_that_is_not_what_it_was_is_learned_anew(tmp_path: Path, text: str):
    (tmp_path / "peaks.json").write_text(text, encoding="latin-1")
    peaks = FilePeaks(tmp_path / "peaks.json")
    assert peaks.find(SHAPE) is None
    peaks.record(SHAPE, 9)
    assert FilePeaks(tmp_path / "peaks.json").find(SHAPE) == 9


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_memory_of_it(tmp_path: Path):
    (tmp_path / "file").write_text("")
    peaks = FilePeaks(tmp_path / "file" / "peaks.json")
    peaks.record(SHAPE, 9)
    assert peaks.find(SHAPE) == 9
