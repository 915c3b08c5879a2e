"""What guides the clips of a reel: from the options of `phoenix generate` to the request, and in `phoenix plan`."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from phoenix.cli.app import app
from phoenix.cli.inputs.arguments import RoleTexts
from phoenix.cli.inputs.reel_inputs import ReelInputs, read_inputs
from phoenix.contract import ReelRequest

JOB = "job_01kag3e9zq4f7w5m8x2c6b0n1d"


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`red.png` and `blue.png` in the current folder."""
    monkeypatch.chdir(tmp_path)
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 48), colour).save(f"{colour}.png")


def read(by_role: RoleTexts, *further: str, clips: int = 3, extends: str | None = None) -> ReelInputs:
    return read_inputs(clips, audio=None, by_role=by_role, further=list(further), extends=extends)


def conditions(inputs: ReelInputs, clips: int = 3) -> list[list[dict[str, Any]]]:
    """Those of each clip, with the name of a file as the id of its artifact."""
    body = {"clips": [{"prompt": "a"} for _ in range(clips)]}
    ids = {file: file.name for file in inputs.files}
    return [clip.get("conditions", []) for clip in inputs.add_to(body, ids)["clips"]]


def of_file(role: str, name: str, **more: float) -> dict[str, Any]:
    return {"role": role, "source": {"artifact_id": name}, **more}


def test_a_file_without_a_number_is_for_every_clip():
    assert conditions(read({"last_frame": ["red.png"]})) == [[of_file("last_frame", "red.png")]] * 3


def test_a_file_with_a_number_replaces_the_file_without_one_in_that_clip():
    found = conditions(read({"first_frame": ["red.png", "2:blue.png"]}))
    assert [clip[0]["source"]["artifact_id"] for clip in found] == ["red.png", "blue.png", "red.png"]
    assert [len(clip) for clip in found] == [1, 1, 1]


def test_the_end_of_the_clip_before_is_for_every_clip_but_the_first():
    previous = {"role": "first_frame", "source": {"previous_clip": True}}
    assert conditions(read({"first_frame": ["previous"]})) == [[], [previous], [previous]]
    begun = conditions(read({"first_frame": ["1:red.png", "previous"]}))
    assert begun == [[of_file("first_frame", "red.png")], [previous], [previous]]


def test_a_clip_of_a_job_is_numbered_from_1():
    [[condition]] = conditions(read({"source_video": [f"{JOB}:2"]}, clips=1), clips=1)
    assert condition == {"role": "source_video", "source": {"job_id": JOB, "clip_index": 1}}


def test_a_clip_and_a_clip_of_a_job_can_be_numbered_together():
    assert conditions(read({"first_frame": [f"3:{JOB}:1"]}))[2][0]["source"] == {"job_id": JOB, "clip_index": 0}


def test_any_role_has_its_time_and_its_strength():
    found = conditions(read({}, "2:keyframe@1.5*0.8=red.png", "mask=blue.png"))
    assert found[0] == [of_file("mask", "blue.png")]
    assert found[1] == [of_file("keyframe", "red.png", at_s=1.5, strength=0.8), of_file("mask", "blue.png")]


def test_a_file_that_guides_several_clips_is_uploaded_once():
    inputs = read({"first_frame": ["red.png"], "reference": ["red.png", "blue.png"]})
    assert [file.name for file in inputs.files] == ["red.png", "blue.png"]


def test_what_the_options_make_is_a_valid_request():
    inputs = read({"first_frame": ["previous"]}, "keyframe@1=red.png", extends=f"{JOB}:3")
    body = inputs.add_to({"clips": [{"prompt": "a"}] * 3}, dict.fromkeys(inputs.files, f"art_{0:026}"))
    request = ReelRequest.model_validate(body)
    assert request.extends is not None
    assert request.extends.clip_index == 2
    assert [len(clip.conditions) for clip in request.clips] == [1, 2, 2]


@pytest.mark.parametrize(
    ("by_role", "further", "complaint"),
    [
        ({"first_frame": ["no.png"]}, (), r"there is no file 'no.png'; give a file, `previous`, or JOB_ID:CLIP"),
        ({"last_frame": ["4:red.png"]}, (), "there is no clip 4: the reel has 3"),
        ({"last_frame": ["0:red.png"]}, (), "0 is no number of a clip; the first clip is 1"),
        ({"first_frame": ["1:previous"]}, (), "clip 1 has no clip before it"),
        ({"source_video": [f"{JOB}:0"]}, (), "0 is no number of a clip"),
        ({}, ("red.png",), "is not .*ROLE.*=SOURCE, such as control_depth=depth.mp4"),
        ({}, ("control=red.png",), "there is no role 'control'; choose one of first_frame, .*control_depth"),
        ({}, ("keyframe@1.2.3=red.png",), "'1.2.3' is no number"),
    ],
)
def test_a_wrong_text_is_refused_with_what_to_give(by_role: RoleTexts, further: tuple[str, ...], complaint: str):
    with pytest.raises(typer.BadParameter, match=complaint):
        read(by_role, *further)


def test_an_extended_clip_is_a_clip_of_a_job():
    with pytest.raises(typer.BadParameter, match=r"'red.png' is not JOB_ID:CLIP"):
        read({}, extends="red.png")


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_a_plan_names_what_guides_each_clip():
    result = plan("fox", "owl", "--first-frame", "1:red.png", "--first-frame", "previous")
    assert result.exit_code == 0
    assert "clip 1    first_frame from red.png" in result.stdout
    assert "clip 2    first_frame from clip 1, for which it waits" in result.stdout
    assert result.stderr == ""


def test_a_plan_says_what_only_a_server_knows_of_a_finished_clip():
    result = plan("fox", "--model", "veo-3.1", "--first-frame", f"{JOB}:2", "--last-frame", "red.png")
    assert result.exit_code == 0
    assert f"clip 1    first_frame from clip 2 of {JOB}" in result.stdout
    assert f"unknown: whether clip 2 of {JOB} is finished, and its length" in result.stderr


def test_a_plan_says_that_the_length_is_without_the_extended_clip():
    result = plan("fox", "--duration", "2", "--extends", f"{JOB}:1", "--json")
    assert "the length shown is without it" in result.stderr
    reel = json.loads(result.stdout)
    assert reel["extends"] is None
    assert reel["clips"][0]["conditions"][0]["source"] == {"job_id": JOB, "clip_index": 0}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--last-frame", "red.png"), "/clips/0/conditions/0/role: animatic takes no last_frame"),
        (("--condition", "first_frame*0.5=red.png"), "/clips/0/conditions/0/strength: animatic takes no strength"),
        (("--model", "veo-3.1", "--last-frame", "red.png"), "only together with first_frame"),
        (("--model", "veo-3.1-lite", "--extends", f"{JOB}:1", "--duration", "9"), "makes clips of 4.0 to 8.0 s"),
        (("--model", "wan-2.1-t2v-1.3b", "--extends", f"{JOB}:1"), "/extends: wan-2.1-t2v-1.3b takes no first_frame"),
    ],
)
def test_a_plan_refuses_what_the_model_cannot_use(arguments: tuple[str, ...], complaint: str):
    result = plan("fox", *arguments)
    assert result.exit_code == 1
    assert complaint in result.stderr.replace("\n", " ")


def test_a_condition_of_the_wrong_form_is_named_with_its_pointer():
    result = plan("fox", "--condition", "first_frame*99=red.png")
    assert (result.exit_code, "/clips/0/conditions/0/strength" in result.stderr) == (2, True)
