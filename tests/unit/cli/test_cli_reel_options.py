"""From the options of `phoenix generate` to a request."""

import pytest
import typer

from phoenix.cli.options import make_request, parse_loras, parse_upscale, reel_of


def test_options_that_are_not_given_are_not_sent():
    request = make_request(reel_of(["a", "b"]), {"model": None, "seed": 0}, None)
    assert request.model_dump(exclude_unset=True) == {"clips": [{"prompt": "a"}, {"prompt": "b"}], "seed": 0}


def test_a_crossfade_is_a_transition_of_that_length():
    transition = make_request(reel_of(["a"]), {}, 0.5).transition
    assert (transition.kind, transition.duration_s) == ("crossfade", 0.5)


def test_faults_that_need_no_server_are_shown_with_their_pointers(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit):
        make_request(reel_of([" "]), {"fps": 500}, 9)
    shown = capsys.readouterr().err
    assert all(pointer in shown for pointer in ("/clips/0/prompt:", "/fps:", "/transition/duration_s:"))


def test_a_lora_is_an_id_with_or_without_a_scale():
    assert parse_loras(["film:0.8", "fast"]) == [{"id": "film", "scale": 0.8}, {"id": "fast"}]
    assert parse_loras([]) is None


@pytest.mark.parametrize("text", ["film:", "film:strong", "film:1:2"])
def test_a_scale_that_is_no_number_is_refused_with_an_example(text: str):
    with pytest.raises(typer.BadParameter, match=r"neither ID nor ID:SCALE, such as film:0.8"):
        parse_loras([text])


def test_an_upscaler_is_an_id_with_or_without_a_scale():
    assert [parse_upscale(text) for text in ("x4:1.5", "x4", None)] == [{"id": "x4", "scale": 1.5}, {"id": "x4"}, None]


@pytest.mark.parametrize("text", ["x4:", "x4:large"])
def test_a_scale_of_an_upscaler_that_is_no_number_is_refused_with_an_example(text: str):
    with pytest.raises(typer.BadParameter, match=r"neither ID nor ID:SCALE, such as x4:2"):
        parse_upscale(text)
