"""From the options of `phoenix generate` to a request."""

import pytest
import typer

from phoenix.cli.options import make_request


def test_options_that_are_not_given_are_not_sent():
    request = make_request(["a", "b"], {"model": None, "seed": 0}, None)
    assert request.model_dump(exclude_unset=True) == {"clips": [{"prompt": "a"}, {"prompt": "b"}], "seed": 0}


def test_a_crossfade_is_a_transition_of_that_length():
    transition = make_request(["a"], {}, 0.5).transition
    assert (transition.kind, transition.duration_s) == ("crossfade", 0.5)


def test_faults_that_need_no_server_are_shown_with_their_pointers(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit):
        make_request([" "], {"fps": 500}, 9)
    shown = capsys.readouterr().err
    assert all(pointer in shown for pointer in ("/clips/0/prompt:", "/fps:", "/transition/duration_s:"))
