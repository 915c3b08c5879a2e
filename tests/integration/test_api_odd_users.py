"""What hostile and clumsy users do to searches, drafts, edits and narration, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy.engine import URL

from fixtures.api import Api, open_api, reel_body
from phoenix.settings import Settings
from phoenix.storage.keys import OutputName

ODD_TEXTS = [
    "'",
    '"',
    '"unclosed phrase',
    "a & b | !c <-> d:*",
    "NEAR(a b) AND NOT *",
    "{title} : x",
    "%_\\",
    "\\'; DROP TABLE jobs;--",
    "\u202eright to left \u200f\u05d0\u05d1",
    "\ufdfa" * 60,
    "\U0001e900\U0001e901",
    "\U0001f469\u200d\U0001f680",
    "\u0301\u0301\u0301",
    "\u1e9e\u0130\ufb03",
    "2\u00b2\u2460\u0bf0",
    "\ue000\U000f0000",
    "\u00aa\u02b0\u1c90\ua7ae",
    "=f",
    "~harbour",
    "x" * 200,
    "\n\t\r",
]


@pytest.fixture
async def any_api(api_settings: Settings, any_database_url: URL) -> AsyncIterator[Api]:
    url = any_database_url.render_as_string(hide_password=False)
    database = api_settings.database.model_copy(update={"url": url})
    async with open_api(api_settings.model_copy(update={"database": database}), leads=False) as opened:
        yield opened


async def find(api: Api, text: str) -> httpx.Response:
    return await api.http.get(f"/v1/jobs?q={quote(text)}")


async def finish(api: Api, clips: int = 1) -> None:
    for number in range(clips):
        await api.finish_next("gpu", OutputName.CLIP, b"clip %d" % number)
    await api.finish_next("media", OutputName.OUTPUT, b"reel")


async def hold(api: Api, **changes: Any) -> dict[str, Any]:
    answer = await api.http.post("/v1/reels", json=reel_body(hold="draft", **changes))
    assert answer.status_code == 202, answer.text
    return answer.json()


async def post(api: Api, path: str, body: Any = None) -> httpx.Response:
    return await api.http.post(path, json=body)


async def test_every_text_is_a_search_and_finds_the_job_that_has_it(any_api: Api) -> None:
    faults: dict[str, object] = {}
    for text in ODD_TEXTS:
        job = await any_api.submit(f"harbour{len(faults)} . {text}", title=text.strip()[:200] or "x")
        answer = await find(any_api, text[:200])
        if answer.status_code != 200:
            faults[text] = answer.text
        elif any(map(str.isalnum, text)) and job["id"] not in [each["id"] for each in answer.json()["data"]]:
            faults[text] = "not found"

    assert faults == {}


async def test_searches_without_a_word_find_nothing_and_are_no_error(any_api: Api) -> None:
    await any_api.submit("harbour")

    answers = [await find(any_api, text) for text in ("'", '"', "&|!*", "\u0301")]

    assert [(answer.status_code, answer.json()["data"]) for answer in answers] == [(200, [])] * 4


async def test_two_changes_at_once_leave_both(any_api: Api) -> None:
    path = f"/v1/jobs/{(await any_api.submit())['id']}"

    answers = await asyncio.gather(
        *(any_api.http.patch(path, json={"title": f"title {number}"}) for number in range(8)),
        *(any_api.http.patch(path, json={"tags": [f"tag {number}"]}) for number in range(8)),
    )

    assert {answer.status_code for answer in answers} == {200}
    job = (await any_api.http.get(path)).json()
    assert (job["title"][:5], job["tags"][0][:3]) == ("title", "tag")
    assert len((await find(any_api, job["title"])).json()["data"]) == 1


async def test_one_of_many_changes_with_one_etag_wins(any_api: Api) -> None:
    path = f"/v1/jobs/{(await any_api.submit())['id']}"
    etag = (await any_api.http.get(path)).headers["etag"]

    answers = await asyncio.gather(
        *(any_api.http.patch(path, json={"title": f"t{n}"}, headers={"If-Match": etag}) for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 5]


async def test_approvals_at_once_queue_the_reel_once(any_api: Api) -> None:
    job = await hold(any_api)
    await finish(any_api)

    answers = await asyncio.gather(*(post(any_api, f"/v1/jobs/{job['id']}/approve") for _ in range(6)))

    assert {answer.status_code for answer in answers} == {202}
    log = await any_api.http.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"})
    events = log.json()["data"]
    assert [event["type"] for event in events].count("job.approved") == 1


async def test_a_canceled_reel_cannot_be_approved(any_api: Api) -> None:
    job = await hold(any_api)
    await finish(any_api)
    await post(any_api, f"/v1/jobs/{job['id']}/cancel")

    answer = await post(any_api, f"/v1/jobs/{job['id']}/approve")

    assert answer.status_code == 409
    assert (await any_api.show(job["id"]))["state"] == "canceled"


async def test_of_an_approval_and_a_cancel_at_once_the_cancel_stays(any_api: Api) -> None:
    job = await hold(any_api)
    await finish(any_api)

    approved, canceled = await asyncio.gather(
        post(any_api, f"/v1/jobs/{job['id']}/approve"), post(any_api, f"/v1/jobs/{job['id']}/cancel")
    )

    assert (approved.status_code in (202, 409), canceled.status_code) == (True, 202)
    assert (await any_api.show(job["id"]))["state"] == "canceled"


async def test_deleting_the_draft_of_a_held_reel_leaves_no_job_stuck(any_api: Api) -> None:
    job = await hold(any_api)
    await finish(any_api)

    answer = await any_api.http.delete(f"/v1/jobs/{job['draft_job_id']}")

    if answer.status_code == 204:
        assert (await post(any_api, f"/v1/jobs/{job['id']}/approve")).status_code == 202
    else:
        assert answer.status_code == 409


async def test_a_held_job_cannot_be_edited_deleted_or_put_ahead(any_api: Api) -> None:
    job = await hold(any_api)
    path = f"/v1/jobs/{job['id']}"

    edit = await post(any_api, f"{path}/edits", {"clips": [{"op": "reroll", "index": 0}]})
    ahead = await any_api.http.patch(path, json={"priority": "high"})
    manifest = await any_api.http.get(f"{path}/manifest")
    playlist = await any_api.http.get(f"{path}/playlist.m3u8")

    codes = [each.status_code for each in (edit, await any_api.http.delete(path), ahead, manifest, playlist)]
    assert codes == [409] * 5
    assert (await any_api.http.patch(path, json={"title": "still held"})).json()["state"] == "held"


async def test_a_retried_held_reel_is_held_again(any_api: Api) -> None:
    job = await hold(any_api)
    await post(any_api, f"/v1/jobs/{job['draft_job_id']}/cancel")
    assert (await any_api.show(job["id"]))["state"] == "canceled"

    answer = await post(any_api, f"/v1/jobs/{job['id']}/retry")

    assert (answer.status_code, answer.json()["state"]) == (202, "held")
    await finish(any_api)
    assert (await post(any_api, f"/v1/jobs/{job['id']}/approve")).status_code == 202


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x" * 10_000])
@pytest.mark.parametrize("field", ["narration", "caption"])
async def test_text_that_cannot_be_spoken_or_stored_is_refused_by_name(any_api: Api, field: str, text: str) -> None:
    body = str(reel_body()).replace("'", '"').replace("False", "false")
    raw = body.replace('"prompt"', f'"{field}": {json_text(text)}, "prompt"')

    answer = await any_api.http.post("/v1/reels", content=raw, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422)
    assert text == "\ud800" or answer.json()["errors"][0]["pointer"] == f"/clips/0/{field}"


def json_text(text: str) -> str:
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in text) + '"'


async def test_a_clip_that_others_reuse_outlives_its_first_job(any_api: Api) -> None:
    first = await any_api.submit("a", "b", reuse=True)
    await finish(any_api, 2)
    edit = await post(any_api, f"/v1/jobs/{first['id']}/edits", {"clips": [{"op": "reroll", "index": 1}]})
    path = f"/v1/jobs/{edit.json()['id']}"

    await asyncio.gather(
        any_api.http.delete(f"/v1/jobs/{first['id']}"),
        *(any_api.http.get(f"{path}/playlist.m3u8") for _ in range(4)),
        *(any_api.http.get(f"{path}/clips/0/content") for _ in range(4)),
    )

    assert (await any_api.http.get(f"{path}/clips/0/content")).content == b"clip 0"
    assert (await any_api.http.get(f"/v1/jobs/{first['id']}")).status_code == 404


async def test_wishes_at_once_for_one_storyboard_are_all_kept(any_api: Api) -> None:
    made = (await post(any_api, "/v1/storyboards", {"idea": "A boat. It sinks."})).json()
    path = f"/v1/storyboards/{made['id']}"

    answers = await asyncio.gather(*(post(any_api, f"{path}/messages", {"text": f"wish {n}"}) for n in range(6)))

    assert {answer.status_code for answer in answers} == {200}
    after = (await any_api.http.get(path)).json()
    assert (after["revision"], len(after["messages"])) == (7, 14)


async def test_a_storyboard_that_is_deleted_while_it_is_refined_is_gone(any_api: Api) -> None:
    made = (await post(any_api, "/v1/storyboards", {"idea": "A boat. It sinks."})).json()
    path = f"/v1/storyboards/{made['id']}"

    answers = await asyncio.gather(
        post(any_api, f"{path}/messages", {"text": "again"}),
        any_api.http.delete(path),
        post(any_api, f"{path}/messages", {"text": "and again"}),
        any_api.http.delete(path),
    )

    assert {answer.status_code for answer in answers} <= {200, 204, 404, 409}
    assert (await any_api.http.get(path)).status_code == 404


async def test_a_job_of_a_paused_queue_can_be_changed_and_canceled(any_api: Api) -> None:
    await post(any_api, "/v1/queues/gpu/pause", {"reason": "a repair"})
    path = f"/v1/jobs/{(await any_api.submit())['id']}"

    changed = await any_api.http.patch(path, json={"priority": "high", "queue_timeout_s": 5})
    canceled = await post(any_api, f"{path}/cancel")
    twice = [(await post(any_api, f"/v1/queues/gpu/{action}")).status_code for action in ("resume", "resume")]

    assert (changed.status_code, canceled.json()["state"]) == (200, "canceled")
    assert all(status < 300 for status in twice)


async def test_an_edit_chooses_another_take_of_a_clip_without_rendering_it(any_api: Api) -> None:
    body = reel_body(reuse=True, clips=[{"prompt": "a", "takes": 2, "caption": "{\\an8}"}])
    first = (await post(any_api, "/v1/reels", body)).json()
    await finish(any_api, 2)

    edit = await post(any_api, f"/v1/jobs/{first['id']}/edits", {"clips": [{"op": "take", "index": 0, "take": 1}]})
    missing = await post(any_api, f"/v1/jobs/{first['id']}/edits", {"clips": [{"op": "take", "index": 0, "take": 2}]})

    assert edit.status_code == 202, edit.text
    assert [clip["reused"] for clip in edit.json()["clips"]] == [True]
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (422, "/clips/0/take")
