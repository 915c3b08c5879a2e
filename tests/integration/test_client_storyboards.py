"""The client and `phoenix storyboard` against scripted streams: what they send, repeat, print and end with."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.api.openapi.postprocess import EXAMPLES
from phoenix.cli.app import app
from phoenix.client import AsyncPhoenix, PhoenixProblem, PhoenixUnreachable, RetryPolicy
from phoenix.contract import Storyboard, StoryboardPage, StoryboardRequest

EXAMPLE = Storyboard.model_validate(EXAMPLES["Storyboard"])
ID = EXAMPLE.id
PATH = f"/v1/storyboards/{ID}"
QUICK = RetryPolicy(attempts=3, first_delay_s=0.01, longest_delay_s=1)
FAILED = EXAMPLES["Storyboard"] | {
    "state": "failed",
    "error": {"code": "UNAVAILABLE", "message": "it is away", "retriable": True},
}


def stream(*events: dict[str, Any]) -> Answer:
    frames = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return Answer(200, frames.encode(), {"content-type": "text/event-stream"})


def ended(storyboard: dict[str, Any]) -> dict[str, Any]:
    kind = "storyboard.failed" if storyboard["state"] == "failed" else "storyboard.written"
    return {"type": kind, "storyboard_id": ID, "storyboard": storyboard}


def delta(text: str, attempt: int = 1) -> dict[str, Any]:
    return {"type": "storyboard.delta", "storyboard_id": ID, "attempt": attempt, "text": text}


WRITTEN = stream(
    delta("one"), {"type": "storyboard.new", "storyboard_id": ID}, delta("two", 2), ended(EXAMPLES["Storyboard"])
)


@pytest.fixture
async def phoenix(scripted_server: ScriptedServer) -> AsyncIterator[AsyncPhoenix]:
    async with AsyncPhoenix(scripted_server.url, "secret", retry_policy=QUICK) as client:
        yield client


async def test_a_storyboard_is_followed_and_returned(phoenix: AsyncPhoenix, scripted_server: ScriptedServer) -> None:
    scripted_server.on("POST", "/v1/storyboards", WRITTEN)
    texts: list[tuple[int, str]] = []

    found = await phoenix.create_storyboard(
        StoryboardRequest(idea="a boat"), on_text=lambda attempt, text: texts.append((attempt, text))
    )

    assert (found, texts) == (EXAMPLE, [(1, "one"), (2, "two")])
    (request,) = scripted_server.received
    assert (request.body, request.headers["accept"]) == (b'{"idea":"a boat"}', "text/event-stream")
    assert request.headers["idempotency-key"]


async def test_a_broken_stream_is_asked_for_again_with_the_same_key(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
) -> None:
    scripted_server.on(
        "POST", f"{PATH}/messages", stream(delta("one")), Answer(503, headers={"retry-after": "0"}), WRITTEN
    )

    assert await phoenix.refine_storyboard(ID, "at night") == EXAMPLE

    keys = {request.headers["idempotency-key"] for request in scripted_server.received}
    assert (len(scripted_server.received), len(keys)) == (3, 1)
    assert {request.body for request in scripted_server.received} == {b'{"text":"at night"}'}


async def test_a_refusal_and_a_page_of_a_proxy_are_errors(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", f"{PATH}/retry", Answer(409))
    with pytest.raises(PhoenixProblem):
        await phoenix.retry_storyboard(ID)

    scripted_server.otherwise = Answer(200, b"<html>", {"content-type": "text/html"})
    with pytest.raises(PhoenixUnreachable):
        await phoenix.retry_storyboard(ID)


async def test_storyboards_are_shown_listed_and_deleted(phoenix: AsyncPhoenix, scripted_server: ScriptedServer) -> None:
    page = StoryboardPage(data=[EXAMPLE], has_more=False, next_cursor=None)
    scripted_server.on("GET", PATH, Answer(body=EXAMPLE.model_dump_json().encode()))
    scripted_server.on("GET", "/v1/storyboards", Answer(body=page.model_dump_json().encode()))
    scripted_server.on("DELETE", PATH, Answer(204))

    assert await phoenix.get_storyboard(ID) == EXAMPLE
    assert await phoenix.list_storyboards(limit=2, cursor="abc") == page
    await phoenix.delete_storyboard(ID)
    assert scripted_server.received_at("/v1/storyboards")[0].query == "limit=2&cursor=abc"


@pytest.fixture
def run(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("PHOENIX_URL", scripted_server.url)

    def run_storyboard(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["storyboard", *arguments])

    return run_storyboard


def test_the_command_prints_each_clip_and_who_wrote_it(
    run: Callable[..., Result], scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", "/v1/storyboards", WRITTEN)

    shown = run("a boat", "--clips", "2", "--style", "ink", "--character", "Mia = a girl")

    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert (lines[0], lines[1].strip()[:8]) == ("The balloon (animatic, by a language model)", "1 [3 s] ")
    assert "repairs" in shown.stderr
    assert json.loads(scripted_server.received[0].body) == {
        "idea": "a boat",
        "num_clips": 2,
        "style": "ink",
        "characters": [{"name": "Mia", "description": "a girl"}],
    }


def test_wishes_are_sent_in_order_and_json_is_printed(
    run: Callable[..., Result], scripted_server: ScriptedServer
) -> None:
    scripted_server.on("GET", PATH, Answer(body=EXAMPLE.model_dump_json().encode()))
    scripted_server.on("POST", f"{PATH}/messages", WRITTEN, WRITTEN)

    shown = run(ID, "--refine", "one", "--refine", "two", "--json")

    assert json.loads(shown.stdout) == EXAMPLE.model_dump(mode="json")
    assert [json.loads(each.body)["text"] for each in scripted_server.received_at(f"{PATH}/messages")] == ["one", "two"]


def test_a_failure_ends_the_command_with_the_remedy(
    run: Callable[..., Result], scripted_server: ScriptedServer
) -> None:
    scripted_server.on("POST", "/v1/storyboards", stream(ended(FAILED)))

    shown = run("a boat")

    assert shown.exit_code == 1
    assert "UNAVAILABLE: it is away" in shown.stderr
    assert f"phoenix storyboard {ID}" in shown.stderr


def test_a_failed_storyboard_is_tried_again_by_its_id(
    run: Callable[..., Result], scripted_server: ScriptedServer
) -> None:
    scripted_server.on("GET", PATH, Answer(body=json.dumps(FAILED).encode()))
    scripted_server.on("POST", f"{PATH}/retry", WRITTEN)

    assert run(ID).exit_code == 0


@pytest.mark.parametrize("arguments", [("a boat", "--character", "Mia"), (ID, "--clips", "2")])
def test_options_that_cannot_be_meant_are_refused(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
