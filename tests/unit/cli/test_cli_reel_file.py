"""A reel that `phoenix generate` and `phoenix plan` read from a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from phoenix.cli.app import app
from phoenix.cli.options import make_request, read_reel

REEL = {
    "clips": [{"prompt": "a fox", "seed": 7, "takes": 2, "caption": "Run"}, {"prompt": "it stops", "duration_s": 3}],
    "duration_s": 1,
    "resolution": "240p",
    "transition": {"kind": "crossfade", "duration_s": 0.25},
    "priority": "high",
    "metadata": {"customer": "42"},
    "webhook": {"url": "https://example.com/hook", "events": ["job.succeeded"]},
    "hold": "draft",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reel.json"
    path.write_text(json.dumps(REEL))
    return path


def plan(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["plan", *arguments], input=given)


def planned(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def length_s(clip: dict[str, Any]) -> float:
    return clip["num_frames"] / clip["fps"]


def message(result: Result) -> str:
    """What is said in the box of an error."""
    return " ".join(result.stderr.replace("│", " ").split())


def test_a_file_has_everything_that_the_api_takes(file: Path) -> None:
    request = make_request(read_reel(None, file), {}, None)

    sent = request.model_dump(mode="json", exclude_unset=True)
    assert sent["webhook"]["url"] == REEL["webhook"]["url"]  # pyright: ignore[reportIndexIssue, reportArgumentType, reportCallIssue]
    assert {name: sent[name] for name in ("priority", "metadata", "hold")} == {
        "priority": "high",
        "metadata": {"customer": "42"},
        "hold": "draft",
    }
    assert [(clip["prompt"], clip.get("takes")) for clip in sent["clips"]] == [("a fox", 2), ("it stops", None)]


def test_a_plan_of_a_file_shows_its_clips(file: Path) -> None:
    reel = planned(plan("--file", str(file), "--json"))

    assert (reel["clips"][0]["seed"], reel["transition"]["duration_s"]) == (7, 0.25)
    assert [length_s(clip) for clip in reel["clips"]] == [1, 3]


def test_options_replace_what_a_file_says(file: Path) -> None:
    options = ("--duration", "2", "--crossfade", "0.5", "--caption", "2:Stop")
    reel = planned(plan("--file", str(file), "--json", *options))

    assert [length_s(clip) for clip in reel["clips"]] == [2, 3]
    assert [clip["caption"] for clip in reel["clips"]] == ["Run", "Stop"]
    assert reel["transition"]["duration_s"] == 0.5


def test_the_standard_input_is_a_file() -> None:
    reel = planned(plan("-f", "-", "--json", given=json.dumps({"clips": [{"prompt": "an owl"}]})))

    assert [clip["prompt"] for clip in reel["clips"]] == ["an owl"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "no JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "no reel"),
        (b'{"clips": "a fox"}', "no reel"),
        (b'{"clips": ["a fox"]}', "no reel"),
    ],
)
def test_a_file_that_is_no_reel_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)

    result = plan("--file", str(path))

    assert result.exit_code == 2
    assert named in message(result)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = plan("--file", str(tmp_path / "none"))

    assert (result.exit_code, "No such file" in message(result)) == (2, True)


def test_prompts_and_a_file_are_not_taken_together_and_one_is_needed(file: Path) -> None:
    both, none = plan("a fox", "--file", str(file)), plan()

    assert (both.exit_code, none.exit_code) == (2, 2)
    assert "either prompts or a file" in message(both)
    assert "--file" in none.stderr


def test_a_fault_in_a_file_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps({"clips": [{"prompt": "a"}, {"prompt": "b", "sedd": 1}], "fps": 5000}))

    result = plan("--file", str(path))

    assert result.exit_code == 2
    assert ("/clips/1/sedd" in result.stderr, "/fps" in result.stderr) == (True, True)
