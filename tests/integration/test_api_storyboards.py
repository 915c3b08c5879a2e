"""Storyboards through the API, written by a template: made, refined, posted as reels, listed, deleted, refused."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from fixtures.api import Api, assert_problem, open_api
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope
from phoenix.db import UnitOfWork
from phoenix.settings import Settings, TtsSettings
from phoenix.storyboards.repository import delete_old_storyboards, delete_surplus_storyboards
from phoenix.storyboards.tables import StoryboardRow

IDEA = "A red balloon leaves a harbour at dawn. Then it finds the sea."
MIA = {"name": "Mia", "description": "a girl with a yellow raincoat"}


async def make(api: Api, idea: str = IDEA, **fields: Any) -> dict[str, Any]:
    answer = await api.http.post("/v1/storyboards", json={"idea": idea, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


async def count_rows(uow: UnitOfWork) -> int:
    return (await uow.session.execute(select(func.count()).select_from(StoryboardRow))).scalar_one()


async def test_a_server_without_a_language_model_says_that_a_template_wrote_it(api: Api) -> None:
    answer = await api.http.post("/v1/storyboards", json={"idea": IDEA})

    made = answer.json()
    assert (made["state"], made["planner"], made["revision"], made["error"]) == ("draft", "template", 1, None)
    assert [message["role"] for message in made["messages"]] == ["user", "assistant"]
    assert made["messages"][0]["text"] == IDEA
    assert "template" in made["messages"][1]["text"]
    assert answer.headers["location"] == f"/v1/storyboards/{made['id']}"
    assert (await api.http.get(answer.headers["location"])).json() == made


async def test_its_reel_is_accepted_as_it_is(api: Api) -> None:
    made = await make(
        api, model="animatic", num_clips=4, duration_s=2, aspect_ratio="9:16", style="ink", characters=[MIA]
    )

    job = await api.http.post("/v1/reels", json=made["reel"])

    assert job.status_code == 202, job.text
    shown = job.json()["request"]
    assert (len(shown["clips"]), shown["aspect_ratio"]) == (4, "9:16")
    assert job.json()["title"] == made["reel"]["title"]
    assert all("yellow raincoat" in clip["prompt"] and "ink" in clip["prompt"] for clip in shown["clips"])


async def test_a_message_is_added_and_unchanged_clips_keep_their_seeds(api: Api) -> None:
    made = await make(api, "One. Two. Three. Four.")

    refined = await api.http.post(f"/v1/storyboards/{made['id']}/messages", json={"text": "Five"})

    after = refined.json()
    assert (refined.status_code, after["revision"], len(after["messages"])) == (200, 2, 4)
    before = {clip["prompt"]: clip["seed"] for clip in made["reel"]["clips"]}
    kept = [clip for clip in after["reel"]["clips"] if clip["prompt"] in before]
    assert [clip["seed"] for clip in kept] == [before[clip["prompt"]] for clip in kept]
    assert (len(kept), "Five" in after["reel"]["clips"][-1]["prompt"]) == (3, True)


async def test_a_reel_that_the_user_has_changed_is_kept_and_extended(api: Api) -> None:
    made = await make(api)
    changed = {"clips": [{"prompt": "a boat", "takes": 2, "seed": 3}], "transition": {"kind": "crossfade"}}
    path = f"/v1/storyboards/{made['id']}/messages"

    await api.http.post(path, json={"text": "it sinks", "reel": changed})
    after = (await api.http.post(path, json={"text": "the end"})).json()

    assert after["reel"]["clips"][0] == changed["clips"][0]
    assert after["reel"]["transition"] == {"kind": "crossfade"}
    assert [clip["prompt"].partition(": ")[2] for clip in after["reel"]["clips"][1:]] == ["it sinks.", "the end."]


async def test_a_changed_reel_that_cannot_be_made_is_refused_by_its_place(api: Api) -> None:
    made = await make(api)
    wrong = {"model": "animatic", "clips": [{"prompt": "x", "duration_s": 599}]}

    answer = await api.http.post(f"/v1/storyboards/{made['id']}/messages", json={"text": "x", "reel": wrong})

    assert_problem(answer, 422, "INVALID_REQUEST")
    assert pointers(answer) == ["/reel/clips/0/duration_s"]
    assert (await api.http.get(f"/v1/storyboards/{made['id']}")).json() == made


async def test_what_does_not_fit_the_model_is_fitted_and_reported(api: Api) -> None:
    made = await make(api, model="wan-2.1-t2v-1.3b", duration_s=100, aspect_ratio="21:9")

    changed = {each["pointer"]: each["resolved"] for each in made["adjustments"]}
    assert set(changed) == {"/duration_s", "/aspect_ratio"}
    assert made["reel"]["aspect_ratio"] == changed["/aspect_ratio"] == "16:9"
    assert (await api.http.post("/v1/reels", json=made["reel"])).status_code == 202


async def test_a_server_without_a_voice_writes_no_narration(api_settings: Settings) -> None:
    silent = api_settings.model_copy(update={"tts": TtsSettings(engine="off")})
    async with open_api(silent, leads=False) as api:
        answer = await api.http.post("/v1/storyboards", json={"idea": IDEA, "narrate": True})

        assert_problem(answer, 422, "INVALID_REQUEST")
        assert pointers(answer) == ["/narrate"]
        assert "no voice" in answer.json()["errors"][0]["detail"]
        assert (await api.http.get("/v1/storyboards")).json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"model": "nobody-has-it"}, "/model"),
        ({"model": "wan-2.1-i2v-14b-480p"}, "/model"),
        ({"planner": "llm"}, "/planner"),
        ({"idea": " "}, "/idea"),
        ({"num_clips": 0}, "/num_clips"),
        ({"characters": [MIA, {**MIA, "name": "MIA"}]}, ""),
        ({"voice": "en"}, ""),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_bad_input_is_named_and_nothing_is_kept(api: Api, fields: dict[str, Any], pointer: str) -> None:
    answer = await api.http.post("/v1/storyboards", json={"idea": IDEA, **fields})

    assert_problem(answer, 422, "INVALID_REQUEST")
    assert pointers(answer) == [pointer]
    assert (await api.http.get("/v1/storyboards")).json()["data"] == []


async def test_a_storyboard_that_has_not_failed_is_not_tried_again(api: Api) -> None:
    made = await make(api)

    assert_problem(await api.http.post(f"/v1/storyboards/{made['id']}/retry"), 409, "CONFLICT")


async def test_storyboards_are_listed_in_pages_and_deleted(api: Api) -> None:
    ids = [(await make(api, f"Idea {number}."))["id"] for number in range(3)]

    first = await api.http.get("/v1/storyboards?limit=2")
    second = (await api.http.get("/v1/storyboards", params={"cursor": first.json()["next_cursor"]})).json()

    assert [each["id"] for each in first.json()["data"]] == ids[:0:-1]
    assert 'rel="next"' in first.headers["link"]
    assert ([each["id"] for each in second["data"]], second["has_more"]) == (ids[:1], False)
    assert (await api.http.delete(f"/v1/storyboards/{ids[0]}")).status_code == 204
    assert_problem(await api.http.get(f"/v1/storyboards/{ids[0]}"), 404, "NOT_FOUND")


async def test_an_idempotency_key_makes_one_storyboard(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}

    first, second = [await api.http.post("/v1/storyboards", json={"idea": IDEA}, headers=headers) for _ in range(2)]
    other = await api.http.post("/v1/storyboards", json={"idea": "Another."}, headers=headers)

    assert (second.json()["id"], second.headers["idempotent-replayed"]) == (first.json()["id"], "true")
    assert_problem(other, 422, "IDEMPOTENCY_MISMATCH")
    assert len((await api.http.get("/v1/storyboards")).json()["data"]) == 1


async def test_a_message_with_an_idempotency_key_is_added_once(api: Api) -> None:
    path, headers = f"/v1/storyboards/{(await make(api))['id']}/messages", {"Idempotency-Key": "once"}

    for _ in range(2):
        answer = await api.http.post(path, json={"text": "At night."}, headers=headers)

    assert (answer.json()["revision"], len(answer.json()["messages"])) == (2, 4)


async def test_a_stream_of_a_finished_storyboard_ends_at_once(api: Api) -> None:
    made = await make(api)

    stream = await api.http.get(f"/v1/storyboards/{made['id']}", headers={"Accept": "text/event-stream"})

    events = [line for line in stream.text.splitlines() if line.startswith("event:")]
    assert events == ["event: storyboard", "event: storyboard.written"]


async def test_another_key_and_a_reading_key_may_not_touch_it(guarded: GuardedApi) -> None:
    owner, other, reader = [await guarded.caller(*scopes) for scopes in ((), (), (Scope.READ,))]
    path = f"/v1/storyboards/{(await make(owner))['id']}"

    assert_problem(await other.http.get(path), 404, "NOT_FOUND")
    assert_problem(await other.http.post(f"{path}/messages", json={"text": "x"}), 404, "NOT_FOUND")
    assert_problem(await other.http.post(f"{path}/retry"), 404, "NOT_FOUND")
    assert_problem(await other.http.delete(path), 404, "NOT_FOUND")
    assert (await other.http.get("/v1/storyboards")).json()["data"] == []
    assert_problem(await reader.http.post("/v1/storyboards", json={"idea": IDEA}), 403, "FORBIDDEN")
    assert_problem(await guarded.api.http.post("/v1/storyboards", json={"idea": 1}), 401, "UNAUTHENTICATED")


async def test_old_storyboards_and_those_beyond_the_newest_are_deleted(api: Api) -> None:
    newest = [(await make(api, f"Idea {number}."))["id"] for number in range(3)][1:]

    async with api.services.database.write() as uow:
        assert await delete_surplus_storyboards(uow, max_per_owner=2) == 1
    assert {each["id"] for each in (await api.http.get("/v1/storyboards")).json()["data"]} == set(newest)
    async with api.services.database.write() as uow:
        assert await delete_old_storyboards(uow, older_than_s=3600) == 0
        assert await delete_old_storyboards(uow, older_than_s=-1) == 2
        assert await count_rows(uow) == 0
