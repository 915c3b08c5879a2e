"""`phoenix bench` by the engine and the encoder themselves, with clips as small as can be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import child_processes
from fixtures.tiny_pipelines import TinyPipelines, tiny_catalog_toml
from phoenix.cli.bench.lanes import compare
from phoenix.cli.bench.report import BenchReport
from phoenix.cli.bench.run import MadeElsewhere, measure
from phoenix.cli.options import make_request, reel_of
from phoenix.errors import FailureCode, InvalidRequest, NotFound, TaskFailed

SMALL: dict[str, Any] = {"resolution": "240p", "duration_s": 0.25, "steps": 2}


def bench(model: str = "animatic", *, count: int = 1, **given: Any) -> BenchReport:
    request = make_request(reel_of(["a fox"]), {"model": model, **given}, None)
    return measure(request, count=count, device="cpu", show_status=lambda _: None)


@pytest.fixture
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_each_clip_is_timed_up_to_its_file():
    report = bench(count=2, **SMALL)
    assert [timings.encode_s is not None and timings.denoise_s is not None for timings in report.clips] == [True, True]


def test_clips_differ_from_the_resolved_clip_only_in_their_seeds():
    [clip] = bench(**SMALL).reel.clips
    assert (clip.width, clip.height, clip.num_frames, clip.steps) == (426, 240, 4, 2)


def test_nothing_is_left_behind(temporary_files: Path):
    bench(**SMALL)
    assert list(temporary_files.iterdir()) == []


def test_a_diffusion_model_is_loaded_by_the_warm_up_and_measured_after_it(
    tiny_wan_catalog: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PHOENIX_ENGINE__CATALOG_FILE", str(tiny_wan_catalog))
    report = bench("tiny-wan")
    [timings] = report.clips
    assert None not in (report.warm_up.load_s, timings.text_s, timings.denoise_s, timings.decode_s, timings.encode_s)
    assert report.seconds_per_step == pytest.approx((timings.denoise_s or 0) / 2)


def test_a_model_that_starts_from_a_picture_is_given_one(
    tiny_pipelines: TinyPipelines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "catalog.toml"
    file.write_text(tiny_catalog_toml({"wan_i2v": tiny_pipelines("wan_i2v")}))
    monkeypatch.setenv("PHOENIX_ENGINE__CATALOG_FILE", str(file))
    assert bench("tiny-wan-i2v", steps=1).clips[0].denoise_s is not None


def test_an_unknown_model_is_reported_with_the_known_ones():
    with pytest.raises(NotFound, match="animatic"):
        bench("nope")


def test_a_model_whose_weights_are_missing_is_reported_as_a_worker_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "catalog.toml"
    file.write_text(f'[[models]]\nid = "ltx-video"\nsource = "{tmp_path}/nowhere"\n')
    monkeypatch.setenv("PHOENIX_ENGINE__CATALOG_FILE", str(file))
    with pytest.raises(TaskFailed, match="there is no folder") as failure:
        bench("ltx-video")
    assert failure.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_model_of_the_network_is_refused_before_it_costs_anything():
    with pytest.raises(MadeElsewhere):
        bench("veo-3.1")


def test_what_the_model_cannot_make_is_a_fault():
    with pytest.raises(InvalidRequest) as refusal:
        bench("ltx-video", steps=900)
    assert [fault.pointer for fault in refusal.value.field_errors] == ["/steps"]


def test_arrangements_of_a_model_are_measured_with_the_same_clients():
    request = make_request(reel_of(["a fox"]), {"model": "animatic", **SMALL}, None)
    report = compare(
        request, device="cpu", processes=2, batch=4, clients=3, clips_per_client=1, show_status=lambda _: None
    )
    # The animatic model makes no batches.
    assert [(each.name, len(each.devices), each.batch) for each in report.arrangements] == [
        ("one at a time", 1, 1),
        ("several processes", 2, 1),
    ]
    for each in report.arrangements:
        assert (each.failure, each.clips) == (None, 3)
        assert each.memory is not None
        assert 0 < (each.latency_p50_s or 0) <= (each.latency_p99_s or 0)


def test_an_arrangement_that_fails_is_reported_and_the_next_one_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PHOENIX_MEDIA__FFMPEG", str(tmp_path / "no-ffmpeg"))
    request = make_request(reel_of(["a fox"]), {"model": "animatic", **SMALL}, None)
    report = compare(
        request, device="cpu", processes=2, batch=1, clients=1, clips_per_client=1, show_status=lambda _: None
    )
    assert [each.clips for each in report.arrangements] == [0, 0]
    assert all("no-ffmpeg" in (each.failure or "") for each in report.arrangements)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "phoenix", "bench", *arguments]
    environment |= {"PYTHONPATH": ":".join(sys.path)}
    return child_processes.start(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_prints_what_was_measured_and_nothing_else():
    with start("--resolution", "240p", "--duration", "0.25", "--steps", "2", "--clips", "2", "--json") as command:
        printed, shown = command.communicate()
    assert command.returncode == 0, shown
    assert len(BenchReport.model_validate_json(printed).clips) == 2


def test_the_command_ends_with_status_1_for_a_model_that_is_not_there():
    with start("nope") as command:
        printed, shown = command.communicate()
    assert (command.returncode, printed, "There is no model 'nope'" in shown) == (1, "", True)


def test_a_command_that_is_terminated_leaves_nothing_behind(tmp_path: Path):
    with start("--resolution", "1080p", "--duration", "30", TMPDIR=str(tmp_path)) as command:
        assert command.stderr is not None
        assert command.stderr.readline() == "warming up\n"
        assert list(tmp_path.iterdir()) != []
        command.terminate()
        command.communicate()
    assert (command.returncode, list(tmp_path.iterdir())) == (143, [])
