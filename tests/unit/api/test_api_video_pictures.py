"""The pictures in a JSON body: which are taken out before it is parsed, and what their data URLs say."""

import base64
import json
from typing import Any

import pytest

from phoenix.api.openai.pictures import SentPicture, cut_pictures, list_pictures
from phoenix.contract import VideoRequest

LONG = base64.b64encode(b"a long picture" * 400).decode()
SHORT = base64.b64encode(b"a short picture").decode()


def frame(url: str, frame_type: str = "first_frame") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "frame_type": frame_type}


def sent_in(body: dict[str, Any] | bytes) -> list[SentPicture]:
    cut = cut_pictures(body if isinstance(body, bytes) else json.dumps(body).encode())
    return list_pictures(VideoRequest.model_validate_json(cut.json), None, cut.pictures)


def test_each_picture_has_its_place_and_its_bytes() -> None:
    frames = [frame(f"data:image/png;base64,{LONG}"), frame(f"data:image/png;base64,{SHORT}", "last_frame")]
    reference = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}

    sent = sent_in({"prompt": "a", "frame_images": frames, "input_references": [reference]})

    assert sent == [
        SentPicture("/frame_images/0", b"a long picture" * 400),
        SentPicture("/frame_images/1", b"a short picture"),
        SentPicture("/input_references/0", "https://example.com/cat.png"),
    ]


def test_a_long_picture_leaves_almost_nothing_to_parse() -> None:
    body = json.dumps({"prompt": "a", "frame_images": [frame(f"data:image/png;base64,{LONG}")]}).encode()

    assert len(cut_pictures(body).json) < 200


def test_slashes_may_be_escaped() -> None:
    encoded = base64.b64encode(b"\xff\xff\xff" * 2000).decode()
    body = json.dumps({"prompt": "a", "input_reference": {"image_url": f"data:image/png;base64,{encoded}"}})

    (sent,) = sent_in(body.replace("/", r"\/").encode())

    assert sent == SentPicture("/input_reference", b"\xff\xff\xff" * 2000)


@pytest.mark.parametrize("url", ["cut:0", "data:image/png;base64,a", "data:;base64,é", f"data:a/b;base64,{'A' * 4097}"])
def test_what_is_no_base64_has_no_content(url: str) -> None:
    assert sent_in({"prompt": "a", "frame_images": [frame(url)]}) == [SentPicture("/frame_images/0", None)]


def test_text_that_is_no_picture_stays_in_the_body() -> None:
    body = json.dumps({"prompt": f"data:image/png;base64,{SHORT}"}).encode()

    assert cut_pictures(body).json == body
