"""Storyboards that a language model writes, over real HTTP: its answers, its faults, and clients that leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col

from fixtures.api import Api, LiveStream, assert_problem, open_api, until
from fixtures.callers import open_guarded_api
from fixtures.llm_server import LlmServer, refusal, script_of, spoken
from fixtures.speech import service_settings
from phoenix.contract import StoryboardState
from phoenix.db import db_now
from phoenix.settings import LlmSettings, Settings
from phoenix.storyboards.tables import StoryboardRow

IDEA = "A red balloon finds the sea."
GOOD = script_of("a red balloon leaves a harbour", "the balloon above the sea")
LONG = script_of("a", "b", "c")
KEY = "canary-llm-key"
WITHIN_S = 100


def with_llm(settings: Settings, server: LlmServer, **changes: Any) -> Settings:
    given = {"base_url": server.url, "api_key": KEY, "model": "scripted", "max_retries": 0, **changes}
    return settings.model_copy(update={"llm": LlmSettings.model_validate(given)})


@pytest.fixture
async def writing(api_settings: Settings, llm_server: LlmServer) -> AsyncIterator[Api]:
    """An application with a language model."""
    async with open_api(with_llm(api_settings, llm_server), leads=False) as opened:
        yield opened


async def make(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.http.post("/v1/storyboards", json={"idea": IDEA, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def post(api: Api, storyboard: dict[str, Any], action: str, **body: Any) -> httpx.Response:
    return await api.http.post(f"/v1/storyboards/{storyboard['id']}/{action}", json=body or None)


def error_of(storyboard: dict[str, Any]) -> tuple[str, str, bool]:
    return storyboard["state"], storyboard["error"]["code"], storyboard["error"]["retriable"]


async def test_a_language_model_writes_a_reel_that_is_accepted(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD)]

    made = await make(writing, model="animatic", style="ink")

    assert (made["state"], made["planner"], made["messages"][1]["text"]) == ("draft", "llm", "Here it is.")
    clips = made["reel"]["clips"]
    assert [clip["prompt"] for clip in clips] == [
        "a red balloon leaves a harbour. Style: ink.",
        "the balloon above the sea. Style: ink.",
    ]
    assert [clip["duration_s"] for clip in clips] == [2, 2]
    assert (await writing.http.post("/v1/reels", json=made["reel"])).status_code == 202
    (asked,) = llm_server.bodies()
    assert (asked["model"], asked["stream"], asked["max_tokens"]) == ("scripted", True, 8192)
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["title", "message", "characters", "clips"]
    assert llm_server.received[0].headers["authorization"] == f"Bearer {KEY}"


async def test_captions_and_narration_are_written_and_changed_with_the_seeds_kept(
    api_settings: Settings, llm_server: LlmServer
) -> None:
    def script(said: str) -> dict[str, Any]:
        texts = [{"caption": "At dawn", "narration": said}, {"caption": "", "narration": ""}]
        clips = [clip | text for clip, text in zip(GOOD["clips"], texts, strict=True)]
        return GOOD | {"clips": clips}

    llm_server.script = [spoken(script(" ".join("blah" for _ in range(20)))), spoken(script("It leaves."))]
    llm_server.script.append(spoken(script("It flies.")))
    settings = with_llm(api_settings, llm_server).model_copy(update={"tts": service_settings("http://127.0.0.1:9")})
    async with open_api(settings, leads=False) as api:
        made = await make(api, caption=True, narrate=True, voice="nova")
        changed = (await post(api, made, "messages", text="another text")).json()

    (first, second), (after, _) = made["reel"]["clips"], changed["reel"]["clips"]
    assert (first["caption"], first["narration"], after["narration"]) == ("At dawn", "It leaves.", "It flies.")
    assert {"caption", "narration"} & set(second) == set()
    assert (made["reel"]["voice"], made["reel"]["fit_narration"]) == ("nova", True)
    assert first["seed"] == after["seed"]
    assert "time for 4 words" in llm_server.bodies()[1]["messages"][-1]["content"]


async def test_characters_of_the_user_and_of_the_model_are_in_the_prompts_that_show_them(
    writing: Api, llm_server: LlmServer
) -> None:
    clips = [
        {"prompt": "Mia runs", "characters": ["mia"], "duration_s": 2},
        {"prompt": "Rex barks", "characters": ["Rex"], "duration_s": 2},
    ]
    rex = [{"name": "Rex", "description": "a small white dog"}]
    llm_server.script = [spoken(script_of(characters=rex, clips=clips, style="oil"))]

    made = await make(writing, characters=[{"name": "Mia", "description": "a girl in a yellow raincoat"}])

    assert [clip["prompt"] for clip in made["reel"]["clips"]] == [
        "Mia runs. Mia: a girl in a yellow raincoat. Style: oil.",
        "Rex barks. Rex: a small white dog. Style: oil.",
    ]


async def test_the_stream_has_the_text_as_it_is_written_and_then_the_storyboard(
    writing: Api, llm_server: LlmServer
) -> None:
    llm_server.script = [spoken(GOOD)]

    answer = await writing.http.post("/v1/storyboards", json={"idea": IDEA}, headers={"Accept": "text/event-stream"})

    events = events_of(answer.text)
    assert (answer.status_code, events[0]["type"], events[0]["storyboard"]["state"]) == (201, "storyboard", "writing")
    assert events[-1]["type"] == "storyboard.written"
    assert "".join(event["text"] for event in events[1:-1]) == json.dumps(GOOD)
    assert answer.headers["location"] == f"/v1/storyboards/{events[0]['storyboard_id']}"


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def test_a_message_goes_on_from_the_last_answer(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD), spoken(script_of("a red balloon leaves a harbour", "the sea at night"))]
    made = await make(writing)

    refined = (await post(writing, made, "messages", text="The last clip at night")).json()

    assert (refined["state"], refined["revision"], len(refined["messages"])) == ("draft", 2, 4)
    first, last = refined["reel"]["clips"]
    assert first == made["reel"]["clips"][0]
    assert last["prompt"] == "the sea at night."
    asked = llm_server.bodies()[1]["messages"]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert json.loads(asked[2]["content"])["clips"][1]["prompt"] == "the balloon above the sea"
    assert asked[3]["content"].endswith("The last clip at night")


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("I would love to help!", "this is not JSON"),
        (json.dumps({"clips": []}), "/title"),
        (json.dumps(script_of("a", clips=[{"prompt": "a", "characters": ["Bob"]}])), "nobody is called 'Bob'"),
        (json.dumps(script_of("a", clips=[{"prompt": "a", "duration_s": 999}])), "/clips/0/duration_s"),
        (json.dumps(script_of("x" * 4000)), "/clips/0/prompt"),
    ],
)
async def test_a_wrong_answer_is_repaired_once_with_its_faults(
    writing: Api, llm_server: LlmServer, wrong: str, fault: str
) -> None:
    llm_server.script = [spoken(wrong), spoken(GOOD)]

    made = await make(writing)

    assert made["state"] == "draft"
    repair = llm_server.bodies()[1]["messages"]
    assert (repair[-2]["role"], repair[-2]["content"]) == ("assistant", wrong)
    assert fault in repair[-1]["content"]


async def test_a_number_of_clips_that_was_asked_for_is_held(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD), spoken(LONG)]

    made = await make(writing, num_clips=3, duration_s=2)

    assert (len(made["reel"]["clips"]), made["reel"]["duration_s"]) == (3, 2)
    assert "asked for 3 clips, and these are 2" in llm_server.bodies()[1]["messages"][-1]["content"]


async def test_a_wish_may_change_the_number_of_clips(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD), spoken(LONG)]
    made = await make(writing, num_clips=2)

    refined = (await post(writing, made, "messages", text="One clip more")).json()

    assert (refined["state"], len(refined["reel"]["clips"])) == ("draft", 3)


async def test_a_language_model_continues_from_the_reel_that_the_user_has_changed(
    writing: Api, llm_server: LlmServer
) -> None:
    llm_server.script = [spoken(GOOD), spoken(script_of("my own clip", "a new clip"))]
    made = await make(writing, style="ink")
    mine = {"prompt": "my own clip", "takes": 2, "duration_s": 2, "seed": 5}
    changed = {"model": "animatic", "clip_sound": "drop", "clips": [mine]}

    refined = (await post(writing, made, "messages", text="One more", reel=changed)).json()

    assert refined["reel"]["clips"][0] == mine
    assert refined["reel"]["clips"][1]["prompt"] == "a new clip. Style: ink."
    assert refined["reel"]["clip_sound"] == "drop"
    said = json.loads(llm_server.bodies()[1]["messages"][2]["content"])
    assert [clip["prompt"] for clip in said["clips"]] == ["my own clip"]


async def test_what_is_still_wrong_after_the_repair_and_can_be_fitted_is_fitted(
    writing: Api, llm_server: LlmServer
) -> None:
    long = script_of(clips=[{"prompt": "a", "characters": ["Bob", ""], "duration_s": 999}])
    llm_server.script = [spoken(long), spoken(long)]

    made = await make(writing)

    assert (made["state"], len(llm_server.received)) == ("draft", 2)
    (clip,) = made["reel"]["clips"]
    assert (clip["prompt"], 1 < clip["duration_s"] < 999) == ("a.", True)


async def test_an_answer_that_stays_no_reel_is_a_fault_that_can_be_tried_again(
    writing: Api, llm_server: LlmServer
) -> None:
    llm_server.script = [spoken("no"), spoken("no"), spoken(GOOD)]

    made = await make(writing)

    assert error_of(made) == ("failed", "INVALID_ANSWER", True)
    assert (made["reel"], made["messages"][0]["text"]) == (None, IDEA)
    again = (await post(writing, made, "retry")).json()
    assert (again["state"], again["error"], again["revision"]) == ("draft", None, 2)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(429, Retry_After="1"), "UPSTREAM_RATE_LIMITED"),
        (refusal(500), "UNAVAILABLE"),
        (refusal(401), "UNAVAILABLE"),
        (spoken(GOOD, breaks=True), "UNAVAILABLE"),
        (spoken(GOOD, ending="length"), "INVALID_ANSWER"),
        (spoken(""), "INVALID_ANSWER"),
    ],
)
async def test_a_language_model_that_fails_leaves_a_storyboard_to_try_again(
    writing: Api, llm_server: LlmServer, answer: Any, code: str
) -> None:
    llm_server.script = [spoken(GOOD), answer, spoken(LONG)]
    made = await make(writing)

    failed = (await post(writing, made, "messages", text="Three clips")).json()

    assert error_of(failed) == ("failed", code, True)
    assert "canary" not in json.dumps(failed)
    assert (failed["reel"], failed["messages"][-1]["text"]) == (made["reel"], "Three clips")
    again = (await post(writing, failed, "retry")).json()
    assert (again["state"], len(again["reel"]["clips"])) == ("draft", 3)
    assert llm_server.bodies()[2]["messages"] == llm_server.bodies()[1]["messages"]


async def test_a_throttled_request_is_sent_again(api_settings: Settings, llm_server: LlmServer) -> None:
    llm_server.script = [refusal(429, Retry_After_Ms="1"), refusal(503, Retry_After_Ms="1"), spoken(GOOD)]

    async with open_api(with_llm(api_settings, llm_server, max_retries=2), leads=False) as api:
        assert (await make(api))["state"] == "draft"


async def test_a_language_model_that_nobody_runs_is_unavailable(api_settings: Settings, llm_server: LlmServer) -> None:
    settings = with_llm(api_settings, llm_server, base_url="http://127.0.0.1:9/v1")

    async with open_api(settings, leads=False) as api:
        assert error_of(await make(api)) == ("failed", "UNAVAILABLE", True)


async def test_a_server_of_another_kind_is_named_as_a_wrong_setting(writing: Api, llm_server: LlmServer) -> None:
    page = refusal(200)
    llm_server.script = [page]

    assert error_of(await make(writing)) == ("failed", "INVALID_ANSWER", True)


async def test_time_is_bounded(api_settings: Settings, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD, holds_after=1)]

    async with open_api(with_llm(api_settings, llm_server, timeout_s=0.5), leads=False) as api:
        assert error_of(await make(api)) == ("failed", "TIMEOUT", True)


@pytest.mark.parametrize(
    "answer",
    [
        spoken("", refusal="I cannot help with that."),
        spoken("", ending="content_filter"),
        refusal(400, "content_policy_violation"),
    ],
)
async def test_refused_words_are_moderated_and_left_out_afterwards(
    writing: Api, llm_server: LlmServer, answer: Any
) -> None:
    llm_server.script = [spoken(GOOD), answer, spoken(LONG)]
    made = await make(writing)

    refused = (await post(writing, made, "messages", text="a bad wish")).json()

    assert error_of(refused) == ("failed", "MODERATED", False)
    assert (refused["reel"], refused["messages"][-1]["refused"]) == (made["reel"], True)
    assert_problem(await post(writing, made, "retry"), 409, "CONFLICT")
    assert (await post(writing, made, "messages", text="a good wish")).json()["state"] == "draft"
    assert "a bad wish" not in json.dumps(llm_server.bodies()[2])


async def test_it_is_canceled_when_its_last_follower_leaves(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD, holds_after=2), spoken(GOOD)]
    stream = LiveStream(writing.app, "/v1/storyboards", method="POST", body={"idea": IDEA})
    await stream.until("storyboard.delta")

    stream.leave()

    assert await asyncio.to_thread(llm_server.was_left.wait, WITHIN_S)
    left = await until_it_ends(writing)
    assert error_of(left) == ("failed", "CANCELED", True)
    assert (await post(writing, left, "retry")).json()["state"] == "draft"


async def until_it_ends(api: Api) -> dict[str, Any]:
    """The only storyboard, once nobody writes it any more."""

    async def is_idle() -> bool:
        return (await api.http.get("/v1/storyboards")).json()["data"][0]["state"] != "writing"

    await until(is_idle, timeout_s=WITHIN_S)
    return (await api.http.get("/v1/storyboards")).json()["data"][0]


async def test_it_goes_on_while_somebody_else_follows(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD, holds_after=2)]
    first = LiveStream(writing.app, "/v1/storyboards", method="POST", body={"idea": IDEA})
    await first.until("storyboard.delta")
    (shown,) = (await writing.http.get("/v1/storyboards")).json()["data"]
    second = LiveStream(writing.app, f"/v1/storyboards/{shown['id']}")
    await second.until("storyboard.delta")

    first.leave()
    await first.until_end()
    llm_server.go_on.set()

    events = events_of(await second.until_end())
    assert (shown["state"], events[-1]["type"]) == ("writing", "storyboard.written")
    assert "".join(event["text"] for event in events[1:-1]) == json.dumps(GOOD)


async def test_a_storyboard_that_is_being_written_takes_no_message_and_can_be_deleted(
    writing: Api, llm_server: LlmServer
) -> None:
    llm_server.script = [spoken(GOOD, holds_after=2)]
    stream = LiveStream(writing.app, "/v1/storyboards", method="POST", body={"idea": IDEA})
    await stream.until("storyboard.delta")
    (shown,) = (await writing.http.get("/v1/storyboards")).json()["data"]

    assert_problem(await post(writing, shown, "messages", text="x"), 409, "CONFLICT")
    assert (await writing.http.delete(f"/v1/storyboards/{shown['id']}")).status_code == 204

    assert await asyncio.to_thread(llm_server.was_left.wait, WITHIN_S)
    stream.leave()
    await stream.until_end()


async def test_a_storyboard_of_a_process_that_was_lost_can_be_tried_again(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD), spoken(GOOD)]
    made = await make(writing)
    lost = {"state": StoryboardState.WRITING, "writing_until": db_now(-1)}
    async with writing.services.database.write() as uow:
        await uow.session.execute(update(StoryboardRow).where(col(StoryboardRow.id) == made["id"]).values(lost))

    shown = (await writing.http.get(f"/v1/storyboards/{made['id']}")).json()

    assert error_of(shown) == ("failed", "UNAVAILABLE", True)
    assert (await post(writing, made, "messages", text="Once more")).json()["state"] == "draft"


async def test_what_is_written_at_a_shutdown_can_be_tried_again(api_settings: Settings, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD, holds_after=2)]
    settings = with_llm(api_settings, llm_server)
    async with open_api(settings, leads=False) as api:
        stream = LiveStream(api.app, "/v1/storyboards", method="POST", body={"idea": IDEA})
        await stream.until("storyboard.delta")
        api.state.draining.set()
        await stream.until_end()

    async with open_api(settings, leads=False) as api:
        (left,) = (await api.http.get("/v1/storyboards")).json()["data"]
        assert error_of(left) == ("failed", "CANCELED", True)


async def test_a_key_has_a_limit_of_its_own(api_settings: Settings, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD)]
    limits = api_settings.limits.model_copy(update={"storyboards_per_minute": 1})
    settings = with_llm(api_settings, llm_server).model_copy(update={"limits": limits})
    async with open_guarded_api(settings, leads=False) as guarded:
        one, other = [await guarded.caller() for _ in range(2)]
        made = await make(one)

        refused = await post(one, made, "messages", text="x")

        assert assert_problem(refused, 429, "RATE_LIMITED")["violated-policies"] == ["storyboards"]
        assert (await one.http.get(f"/v1/storyboards/{made['id']}")).json() == made
        llm_server.script = [spoken(GOOD)]
        assert (await make(other))["state"] == "draft"


async def test_a_template_is_there_beside_a_language_model(writing: Api, llm_server: LlmServer) -> None:
    assert (await make(writing, planner="template"))["planner"] == "template"
    assert llm_server.received == []


@pytest.mark.parametrize("form", ["json_object", "text"])
async def test_a_server_that_knows_no_schemas_is_asked_without_one(
    api_settings: Settings, llm_server: LlmServer, form: str
) -> None:
    llm_server.script = [spoken(GOOD)]
    settings = with_llm(
        api_settings, llm_server, response_format=form, token_parameter="max_completion_tokens", temperature=0.2
    )

    async with open_api(settings, leads=False) as api:
        await make(api)

    (asked,) = llm_server.bodies()
    assert (asked.get("response_format", {}).get("type", "text"), asked["temperature"]) == (form, 0.2)
    assert (asked["max_completion_tokens"], "max_tokens" in asked) == (8192, False)


async def test_a_stream_ends_quietly_when_its_storyboard_is_deleted(writing: Api, llm_server: LlmServer) -> None:
    llm_server.script = [spoken(GOOD, holds_after=2)]
    stream = LiveStream(writing.app, "/v1/storyboards", method="POST", body={"idea": IDEA})
    await stream.until("storyboard.delta")
    (listed,) = (await writing.http.get("/v1/storyboards")).json()["data"]

    deleted = await writing.http.delete(f"/v1/storyboards/{listed['id']}")

    text = await stream.until_end()
    assert deleted.status_code == 204
    assert events_of(text)[-1]["type"] == "storyboard.delta"


async def test_a_stream_of_another_replica_ends_quietly_when_its_storyboard_is_deleted(
    writing: Api, llm_server: LlmServer
) -> None:
    llm_server.script = [spoken(GOOD)]
    made = await make(writing)
    lease = {"state": StoryboardState.WRITING, "writing_until": db_now(60)}
    async with writing.services.database.write() as uow:
        await uow.session.execute(update(StoryboardRow).values(**lease).where(col(StoryboardRow.id) == made["id"]))
    stream = LiveStream(writing.app, f"/v1/storyboards/{made['id']}")
    await stream.until("writing")

    await writing.http.delete(f"/v1/storyboards/{made['id']}")

    assert [event["type"] for event in events_of(await stream.until_end())] == ["storyboard"]
