"""Captions through the API: what is refused and why, where the files are, and what an edit makes of them."""

from typing import Any

import httpx
import pytest

from fixtures.api import Api


async def post(api: Api, *captions: str, **changes: Any) -> httpx.Response:
    clips = [{"prompt": f"a fox, {index}", "caption": text} for index, text in enumerate(captions)]
    return await api.http.post("/v1/reels", json={"clips": clips, **changes})


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


async def test_a_clip_shows_its_caption_and_the_reel_where_captions_go(api: Api) -> None:
    job = (await post(api, "one", "  ", captions="burned")).json()

    assert [clip["caption"] for clip in job["clips"]] == ["one", ""]
    assert job["request"]["captions"] == "burned"


async def test_burned_letters_that_the_font_lacks_are_named(api: Api) -> None:
    errors = errors_of(await post(api, "fine", "a 猫 in ไทย", captions="burned"))

    assert list(errors) == ["/clips/1/caption"]
    assert "猫 (U+732B CJK UNIFIED IDEOGRAPH-732B) and 3 others" in errors["/clips/1/caption"]


async def test_a_track_takes_any_letters(api: Api) -> None:
    assert (await post(api, "猫")).status_code == 202


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"captions": "overlay"}, "/captions"), ({"clips": [{"prompt": "a", "caption": "x" * 501}]}, "/clips/0/caption")],
)
async def test_what_no_server_does_is_refused_by_name(api: Api, changes: dict[str, Any], pointer: str) -> None:
    assert list(errors_of(await post(api, "one", **changes))) == [pointer]


async def test_a_reel_without_captions_has_no_file_of_them(api: Api) -> None:
    job = await api.submit("a fox")
    early = await api.http.get(f"/v1/jobs/{job['id']}/content?variant=vtt")
    await api.finish_next("gpu", "clip.mp4", b"clip")
    await api.finish_next("media", "output.mp4", b"reel")

    late = await api.http.get(f"/v1/jobs/{job['id']}/content?variant=vtt")

    assert (early.status_code, late.status_code) == (409, 404)


async def test_an_edit_of_captions_renders_nothing(api: Api) -> None:
    job = (await post(api, "one", "two", seed=7)).json()
    for _ in range(2):
        await api.finish_next("gpu", "clip.mp4", b"clip")
    await api.finish_next("media", "output.mp4", b"reel")
    change = {"op": "replace", "index": 1, "clip": {"prompt": "a fox, 1", "caption": "three"}}

    edited = (await api.http.post(f"/v1/jobs/{job['id']}/edits", json={"clips": [change], "captions": "burned"})).json()

    assert [(clip["caption"], clip["reused"]) for clip in edited["clips"]] == [("one", True), ("three", True)]
    assert edited["request"]["captions"] == "burned"
