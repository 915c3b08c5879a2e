"""The output of `phoenix plan`."""

import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from phoenix.cli.app import app
from phoenix.cli.generate import generate
from phoenix.cli.plan import plan
from phoenix.contract import ResolvedReel


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def rows(result: Result) -> list[list[str]]:
    """The cells of each clip's line."""
    lines = result.stdout.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("clip "))
    return [line.split() for line in lines[header + 1 :]]


def test_a_plan_takes_every_option_of_generate_that_says_something_of_the_reel():
    of_generate = inspect.signature(generate).parameters.keys() - {
        "output",
        "url",
        "api_key",
        "title",
        "tag",
        "on_failed_check",
    }
    assert inspect.signature(plan).parameters.keys() - {"as_json"} == of_generate


def test_each_clip_is_shown_as_it_would_be_made():
    result = run("fox", "owl", "--resolution", "360p", "--duration", "2", "--fps", "12", "--steps", "4", "--seed", "7")
    assert rows(result) == [
        ["1", "640x360", "24", "12", "4", "7", "2.0", "s", "fox"],
        ["2", "640x360", "24", "12", "4", "8", "2.0", "s", "owl"],
    ]


def test_a_clip_whose_lips_move_has_a_line_about_them():
    shown = run("fox", "--narration", "1:Hello.", "--lip-sync", "1:20,10,64,64").stdout
    assert "clip 1    lips follow its narration by drawn-mouth, face at 20,10 of 64x64" in shown


def test_an_unset_seed_is_random():
    [row] = rows(run("fox"))
    assert row[5] == "random"


def test_a_rounded_value_is_shown_with_the_requested_value():
    shown = run("fox", "--model", "wan-2.1-t2v-1.3b", "--duration", "3").stdout
    assert "/duration_s: 3 s (48 frames at 16 fps) became 3.0625 s (49 frames)" in shown


def test_nothing_is_called_rounded_that_was_not():
    assert "rounded" not in run("fox", "--duration", "2").stdout


def test_the_memory_for_a_models_weights_is_that_of_the_catalog():
    assert "14.7 GB of weights" in run("fox", "--model", "wan-2.1-t2v-1.3b").stdout


def test_an_unknown_memory_of_a_model_is_not_shown():
    assert "memory" not in run("fox").stdout


def test_the_length_of_the_reel_is_less_what_its_crossfades_take():
    shown = run("fox", "owl", "bee", "--duration", "4", "--crossfade", "0.5").stdout
    assert "11.0 s of 3 clips, joined with crossfades of 0.5 s" in shown


def test_every_error_is_shown_with_its_pointer_and_status_1():
    result = run("fox", "--model", "ltx-video", "--steps", "900", "--resolution", "1080p")
    shown = [line.removeprefix("INVALID_REQUEST:").strip().split(":")[0] for line in result.stderr.splitlines()]
    assert (result.exit_code, shown) == (1, ["/resolution", "/steps"])


def test_a_fault_that_needs_no_catalog_is_one_of_usage():
    result = run("fox", "--fps", "500")
    assert (result.exit_code, "/fps:" in result.stderr) == (2, True)


def test_a_reel_beyond_the_limit_of_the_settings_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_LIMITS__MAX_REEL_DURATION_S", "3")
    result = run("fox", "owl", "--duration", "2")
    assert (result.exit_code, "/clips: the result would be 4 s long" in result.stderr) == (1, True)


def test_a_model_of_the_operators_own_catalog_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "catalog.toml"
    file.write_text('[[models]]\nid = "animatic"\ntitle = "Our own"\n')
    monkeypatch.setenv("PHOENIX_ENGINE__CATALOG_FILE", str(file))
    assert "animatic: Our own" in run("fox").stdout


def test_json_is_the_request_as_a_job_would_show_it():
    reel = ResolvedReel.model_validate_json(run("fox", "--seed", "7", "--json").stdout)
    assert (reel.model, reel.clips[0].prompt, reel.clips[0].seed) == ("animatic", "fox", 7)


def test_text_of_users_is_shown_and_never_obeyed():
    assert rows(run("[red]fox\x1b[2J"))[0][-2:] == ["[red]fox", "[2J"]


def test_a_plan_shows_the_result_and_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('[[upscalers]]\nid = "x4"\ntitle = "Four"\nsource = "/m/x4.onnx"\nfactor = 4\n')
    monkeypatch.setenv("PHOENIX_ENGINE__CATALOG_FILE", str(catalog))
    shown = run("a fox", "--resolution", "360p", "--upscale", "x4:2", "--interpolate", "motion", "--fps", "30").stdout
    assert "picture   1280x720 (360p 16:9) at 30 fps" in shown
    assert "after     upscaled by x4 from 640x360, interpolated by motion from 16 fps" in shown


def test_an_unknown_upscaler_is_refused_with_its_field():
    result = run("a fox", "--upscale", "x9")
    assert result.exit_code == 1
    assert "/upscale/id: there is no upscaler 'x9' here; there are: none" in result.stderr
