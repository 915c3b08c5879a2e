"""The published `openai` package for Python against a live server, with the calls that its users make."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI
from openai.types import Video
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL: Any = "426x240"
SHORT: Any = "1"


@pytest.fixture(scope="module")
def openai(live_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live_url}/v1", api_key="none") as client:
        yield client


def create_long(openai: OpenAI) -> Video:
    """One that is not finished before the next request of a test, however busy the machine is. Cancel it."""
    clips = json.dumps([{"prompt": "the sea", "duration_s": 9}] * 9)
    return openai.videos.create(prompt="the sea", size=SMALL, extra_body={"clips": clips})


def cancel(openai: OpenAI, video: Video) -> None:
    openai.post(f"/jobs/job_{video.id.removeprefix('video_')}/cancel", cast_to=object)


def test_a_video_is_rendered_polled_and_downloaded(openai: OpenAI) -> None:
    video = openai.videos.create_and_poll(prompt="a red balloon", size=SMALL, seconds=SHORT, poll_interval_ms=100)

    assert (video.object, video.status, video.progress, video.error) == ("video", "completed", 100, None)
    assert (video.prompt, video.seconds, video.size, video.model) == ("a red balloon", "1", "426x240", "animatic")
    assert video.id.startswith("video_")
    assert openai.videos.download_content(video.id).read()[4:8] == b"ftyp"
    thumbnail = openai.videos.download_content(video.id, variant="thumbnail")
    assert thumbnail.response.headers["content-type"] == "image/jpeg"


def test_a_whole_reel_goes_into_one_field(openai: OpenAI) -> None:
    clips = json.dumps([{"prompt": "a balloon", "duration_s": 1}, {"prompt": "the sea", "duration_s": 0.5, "seed": 7}])

    video = openai.videos.create_and_poll(
        prompt="the harbour", size=SMALL, extra_body={"clips": clips, "seed": 42}, poll_interval_ms=100
    )

    assert (video.status, video.prompt, video.seconds) == ("completed", "the harbour", "1.5")


def test_a_remix_is_the_same_video_with_another_prompt(openai: OpenAI) -> None:
    first = openai.videos.create_and_poll(
        prompt="a balloon", size=SMALL, seconds=SHORT, extra_body={"seed": 7}, poll_interval_ms=100
    )

    remixed = openai.videos.poll(openai.videos.remix(first.id, prompt="the sea").id, poll_interval_ms=100)

    assert (remixed.status, remixed.remixed_from_video_id, remixed.prompt) == ("completed", first.id, "the sea")
    assert (remixed.size, remixed.seconds, remixed.model) == (first.size, first.seconds, first.model)


def test_what_cannot_be_done_here_is_refused_with_what_can(openai: OpenAI, image_bytes: bytes) -> None:
    made = openai.videos.create_and_poll(prompt="the sea", size=SMALL, seconds=SHORT, poll_interval_ms=100)

    content = openai.videos.download_content(made.id).read()
    with pytest.raises(NotFoundError, match="created, remixed, extended and edited"):
        openai.videos.create_character(name="a cat", video=("video.mp4", image_bytes))
    with pytest.raises(BadRequestError, match=r"animatic changes no videos; name one that does: .*lucy-edit-dev"):
        openai.videos.edit(prompt="greener", video=("video.mp4", content), extra_body={"model": "animatic"})
    with pytest.raises(BadRequestError, match="video: this is not the file of a video"):
        openai.videos.extend(prompt="on", seconds="4", video=("video.mp4", image_bytes))
    with pytest.raises(BadRequestError, match="'video' or 'thumbnail'"):
        openai.videos.download_content(made.id, variant="spritesheet")


def test_an_extension_shows_the_video_and_what_follows(openai: OpenAI) -> None:
    first = openai.videos.create_and_poll(prompt="a balloon", size=SMALL, seconds=SHORT, poll_interval_ms=100)
    file = ("video.mp4", openai.videos.download_content(first.id).read())

    # `videos.extend` of the package takes files alone, although its types have an id, too.
    body = {"prompt": "it lands", "seconds": SHORT, "video": {"id": first.id}}
    started = [
        openai.post("/videos/extensions", body=body, cast_to=Video),
        openai.videos.extend(prompt="it lands", seconds=SHORT, video=file),
    ]
    extended = [openai.videos.poll(each.id, poll_interval_ms=100) for each in started]

    assert [(each.status, each.size, each.seconds) for each in extended] == [("completed", first.size, "2")] * 2


def test_an_app_of_the_hosted_service_runs_unchanged(openai: OpenAI) -> None:
    video = openai.videos.create_and_poll(
        model="sora-2", prompt="a balloon", size="1792x1024", seconds="4", poll_interval_ms=100
    )

    assert (video.status, video.model, video.size) == ("completed", "animatic", "426x240")


def test_videos_are_listed_page_by_page_in_either_order(openai: OpenAI) -> None:
    made = [openai.videos.create(prompt="a balloon", size=SMALL, seconds=SHORT).id for _ in range(3)]

    newest = [video.id for video, _ in zip(openai.videos.list(limit=2), range(3), strict=False)]
    oldest = [video.id for video in openai.videos.list(limit=2, order="asc", after=made[0])]

    assert newest == made[::-1]
    assert oldest == made[1:]


def test_a_size_that_the_model_does_not_make_is_refused_by_name(openai: OpenAI) -> None:
    wrong: Any = "123x45"

    with pytest.raises(BadRequestError) as caught:
        openai.videos.create(prompt="a balloon", size=wrong)

    assert (caught.value.param, caught.value.code, caught.value.type) == (
        "size",
        "invalid_request",
        "invalid_request_error",
    )
    assert "1280x720" in caught.value.message
    assert caught.value.request_id


def test_a_canceled_video_has_failed_and_says_why(openai: OpenAI) -> None:
    video = create_long(openai)
    cancel(openai, video)

    polled = openai.videos.poll(video.id, poll_interval_ms=100)

    assert polled.status == "failed"
    assert polled.error is not None
    assert polled.error.code == "cancelled"


def test_what_is_not_finished_is_a_conflict_that_is_not_tried_again(openai: OpenAI) -> None:
    video = create_long(openai)

    with pytest.raises(ConflictError) as caught:
        openai.videos.delete(video.id)
    cancel(openai, video)

    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_deleted_video_is_not_found(openai: OpenAI) -> None:
    video = openai.videos.create_and_poll(prompt="a balloon", size=SMALL, seconds=SHORT, poll_interval_ms=100)

    assert openai.videos.delete(video.id).deleted

    with pytest.raises(NotFoundError) as caught:
        openai.videos.retrieve(video.id)
    assert caught.value.code == "not_found"


def test_a_picture_for_a_model_that_takes_none_is_refused(openai: OpenAI, image_bytes: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        openai.videos.create(model="wan-2.1-t2v-1.3b", prompt="a balloon", input_reference=("first.png", image_bytes))

    assert caught.value.param == "input_reference"


@pytest.fixture
def image_bytes() -> bytes:
    written = BytesIO()
    Image.new("RGB", (64, 48), "red").save(written, "PNG")
    return written.getvalue()
