"""The second branch of guidance is foreseen from the step before, and only where it comes true."""

from typing import Any

import pytest
import torch

from phoenix.engine.backends.diffusers.device_group.messages import Channel, on_device
from phoenix.engine.backends.diffusers.device_group.shared_calls import Branches, is_same

PROMPT, NEGATIVE = torch.ones(1, 4), torch.zeros(1, 4)


def call(latents: torch.Tensor, text: torch.Tensor, **more: Any) -> dict[str, Any]:
    return {"hidden_states": latents, "encoder_hidden_states": text, "return_dict": False, **more}


def after_a_step(**more: Any) -> Branches:
    branches, latents = Branches(), torch.rand(1, 2)
    branches.observe("transformer", call(latents, PROMPT, **more))
    branches.observe("transformer", call(latents, NEGATIVE, **more))
    return branches


def test_nothing_is_foreseen_in_the_first_step():
    branches, arguments = Branches(), call(torch.rand(1, 2), PROMPT)
    assert branches.foresee(arguments) is None
    branches.observe("transformer", arguments)
    assert branches.foresee(call(arguments["hidden_states"], NEGATIVE)) is None


def test_the_next_step_has_the_text_of_the_second_branch_and_latents_of_its_own():
    latents = torch.rand(1, 2)
    foreseen = after_a_step().foresee(call(latents, PROMPT))
    assert foreseen is not None
    assert is_same(foreseen, call(latents, NEGATIVE))


def test_the_second_branch_foresees_nothing():
    assert after_a_step().foresee(call(torch.rand(1, 2), NEGATIVE)) is None


def test_texts_of_other_clips_are_not_taken_for_a_first_branch():
    """A stopped clip is dropped from a batch between two steps."""
    assert after_a_step().foresee(call(torch.rand(1, 2), torch.full((1, 4), 2.0))) is None


def test_a_step_after_the_second_branch_is_no_branch_itself():
    branches = after_a_step()
    branches.observe("transformer", call(torch.rand(1, 2), PROMPT))
    assert branches.foresee(call(torch.rand(1, 2), PROMPT)) is not None


def test_the_second_expert_has_the_branches_of_the_first():
    latents, branches = torch.rand(1, 2), after_a_step()
    branches.observe("transformer_2", call(latents, PROMPT))
    assert branches.foresee(call(latents, PROMPT)) is not None


def test_outputs_of_a_class_are_not_foreseen():
    assert after_a_step().foresee(call(torch.rand(1, 2), PROMPT) | {"return_dict": True}) is None


def test_a_new_call_of_the_pipeline_begins_without_knowledge():
    branches = after_a_step()
    branches.forget()
    assert branches.foresee(call(torch.rand(1, 2), PROMPT)) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (torch.ones(2), torch.ones(2), True),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), False),
        (torch.ones(2), torch.ones(3), False),
        (torch.ones(2), None, False),
        ([torch.ones(2), 1], [torch.ones(2), 1], True),
        ([torch.ones(2)], [torch.ones(2), 1], False),
        ({"scale": 1.0}, {"scale": 1.0}, True),
        ({"scale": 1.0}, {"shift": 1.0}, False),
        ("text", "text", True),
        (1, 1.0, False),
    ],
)
def test_arguments_are_compared_by_all_their_values(one, other, expected):
    assert is_same(one, other) is expected


def test_a_message_keeps_its_tensors_and_sends_no_more_than_a_view_shows():
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    many = torch.arange(1000.0)
    sent = {"values": (many[3:5], [None, "a", True]), "wide": many[:1].expand(4), "named": {"b": 1}}
    ours.send(sent)
    assert other.has_message(10)
    received = other.receive()
    assert is_same(dict(received), sent)
    assert received["values"][0].untyped_storage().nbytes() == 8
    assert is_same(on_device(received, "cpu"), dict(received))
    ours.close()
    with pytest.raises(EOFError):
        other.receive()
    other.close()
