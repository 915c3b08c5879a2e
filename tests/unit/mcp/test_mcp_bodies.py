"""What the tools make of the words of an agent: bodies of the API, and explanations of what it refused."""

import pytest

from phoenix.client import PhoenixProblem, PhoenixUnreachable
from phoenix.contract import ProblemFault
from phoenix.mcp.connection import explain
from phoenix.mcp.specs import ClipChange, ClipSpec, joined


def test_a_clip_has_only_what_was_given() -> None:
    assert ClipSpec(prompt="the sea", seed=0).to_body() == {"prompt": "the sea", "seed": 0}


def test_a_clip_that_continues_the_clip_before_keeps_its_other_conditions() -> None:
    end = {"role": "last_frame", "source": {"artifact_id": "art_1"}}
    clip = ClipSpec(prompt="the sea", continues_previous=True, more={"conditions": [end], "takes": 2})

    assert clip.to_body() == {
        "prompt": "the sea",
        "takes": 2,
        "conditions": [{"role": "first_frame", "source": {"previous_clip": True}}, end],
    }


def test_a_clip_whose_face_speaks_may_say_where_the_face_is() -> None:
    box = {"x": 1, "y": 2, "width": 30, "height": 40}
    spoken = ClipSpec(prompt="a face", narration="Hello.", lip_sync=True)

    assert spoken.to_body()["lip_sync"] is True
    assert spoken.model_copy(update={"more": {"lip_sync": {"box": box}}}).to_body()["lip_sync"] == {"box": box}


def test_a_change_has_its_clip_without_what_was_left_out() -> None:
    change = ClipChange(op="replace", index=1, clip=ClipSpec(caption="Dawn"))

    assert change.to_body() == {"op": "replace", "index": 1, "clip": {"caption": "Dawn"}}


def test_a_soundtrack_is_an_artifact_or_a_url() -> None:
    assert joined("art_1", None) == {"soundtrack": {"artifact_id": "art_1"}}
    assert joined("https://example.org/a.mp3", 0.5) == {
        "soundtrack": {"url": "https://example.org/a.mp3"},
        "transition": {"kind": "crossfade", "duration_s": 0.5},
    }


def test_a_refusal_names_each_error_and_that_the_same_call_fails_again() -> None:
    faults = (ProblemFault(pointer="/fps", detail="at most 60"), ProblemFault(pointer="/seed", detail="not negative"))
    problem = PhoenixProblem(422, "INVALID_REQUEST", "2 errors", field_errors=faults, request_id="req_1")

    assert explain(problem).splitlines() == [
        "INVALID_REQUEST (422): 2 errors",
        "/fps: at most 60",
        "/seed: not negative",
        "Request id: req_1.",
        "The same call would be refused again.",
    ]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (PhoenixProblem(503, "QUEUE_FULL", "full", retry_after_s=7), "Trying again after 7 s can help."),
        (PhoenixProblem(429, "RATE_LIMITED", "slower"), "Trying again can help."),
        (PhoenixUnreachable("no answer."), "Trying again can help."),
    ],
)
def test_a_failure_for_now_says_that_trying_again_can_help(error: PhoenixProblem, end: str) -> None:
    assert explain(error).endswith(end)
