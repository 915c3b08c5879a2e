"""`phoenix mcp` with the client of the SDK, over stdio and HTTP, against a live server that requires keys."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, EmptyResult
from PIL import Image

from fixtures.mcp_server import KnowsTasks, McpServer, ask, running_mcp_server
from fixtures.speech import tone
from phoenix.mcp.tasks import TaskAnswer, TaskHandle

SHORT = {"duration_s": 1, "seed": 1}
CLIPS = [{"prompt": "a red balloon", **SHORT}, {"prompt": "the sea at night", **SHORT}]
LONG = [{"prompt": "the sea", "duration_s": 9}] * 9


@pytest.fixture(scope="module")
def mcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpServer]:
    with running_mcp_server(tmp_path_factory.mktemp("mcp")) as server:
        yield server


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return result


def text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def links_of(result: CallToolResult) -> dict[str, str]:
    return {part.name: str(part.uri) for part in result.content if part.type == "resource_link"}


def picture_of(result: CallToolResult) -> Image.Image:
    [data] = [part.data for part in result.content if part.type == "image"]
    return Image.open(io.BytesIO(base64.b64decode(data)))


def job_of(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content
    return result.structured_content


async def until_ended(client: Client, job_id: str) -> CallToolResult:
    while True:
        result = await client.call_tool("get_job", {"job_id": job_id, "wait_s": 50})
        if job_of(result)["has_ended"]:
            return result


async def test_an_agent_makes_watches_edits_and_finds_a_reel_over_stdio(mcp_server: McpServer) -> None:
    """A session as agents have it: they know the tools, and what each has answered."""
    shares: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        shares.append(progress)

    async with mcp_server.over_stdio() as agent:
        models = job_of(await call(agent, "list_models"))["models"]
        [model] = [each["id"] for each in models if each["is_served"]]
        board = job_of(await call(agent, "create_storyboard", idea="Mia finds a dog. They run.", num_clips=2))
        board = job_of(await call(agent, "refine_storyboard", storyboard_id=board["storyboard_id"], wish="at night"))
        reel = {"storyboard_id": board["storyboard_id"], "model": model, "duration_s": 1, "title": "Mia"}
        estimate = job_of(await call(agent, "estimate_reel", reel=reel))
        made = await call(agent, "create_reel", reel=reel)
        followed = await agent.call_tool(
            "get_job", {"job_id": job_of(made)["job_id"], "wait_s": 50}, progress_callback=on_progress
        )
        seen = await until_ended(agent, job_of(made)["job_id"])
        changes = [{"op": "replace", "index": 1, "clip": {"prompt": "a dog in the snow"}}]
        edited = await call(agent, "edit_reel", job_id=job_of(made)["job_id"], changes=changes)
        final = await until_ended(agent, job_of(edited)["job_id"])
        found = job_of(await call(agent, "search_jobs", query="snow"))["jobs"]
        stitched = await call(
            agent, "stitch_videos", artifact_ids=[job_of(seen)["artifact_id"], job_of(final)["artifact_id"]]
        )
        joined = job_of(await until_ended(agent, job_of(stitched)["job_id"]))
        frame = await call(agent, "get_last_frame", job_id=job_of(final)["job_id"], clip_index=1)

    assert board["prompts"]
    assert estimate["renders"] == len(job_of(made)["clips"])
    assert job_of(followed)["job_id"] == job_of(made)["job_id"]
    assert shares == sorted(shares)
    assert job_of(final)["clips"][0]["reused"]
    assert [each["job_id"] for each in found] == [job_of(final)["job_id"]]
    assert joined["state"] == "succeeded"
    assert joined["duration_s"] == pytest.approx(2 * job_of(final)["duration_s"], abs=0.1)
    assert picture_of(frame).format == "JPEG"
    assert "first_frame" in text_of(frame)


async def test_an_agent_makes_a_face_say_a_sound(mcp_server: McpServer) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (96, 64), (214, 170, 146)).save(picture, "PNG")
    files = {"face.png": picture.getvalue(), "voice.wav": tone(0.5)}
    async with mcp_server.over_http(mcp_server.key) as client:
        face, voice = [
            job_of(await call(client, "upload_file", data=base64.b64encode(data).decode(), filename=name))[
                "artifact_id"
            ]
            for name, data in files.items()
        ]
        made = job_of(await call(client, "sync_lips", video=face, audio=voice, box=[16, 0, 64, 64], title="Hello"))
        ended = job_of(await until_ended(client, made["job_id"]))
        refused = await client.call_tool("sync_lips", {"video": face, "audio": voice})

    assert (ended["kind"], ended["state"], ended["title"]) == ("lipsync", "succeeded", "Hello")
    assert ended["duration_s"] == pytest.approx(0.5, abs=0.1)
    assert "/box: this server has no face detector" in text_of(refused)


async def test_the_result_has_links_that_work_without_a_key_and_a_picture(mcp_server: McpServer) -> None:
    async with mcp_server.over_http(mcp_server.key) as client:
        made = job_of(await call(client, "create_reel", reel={"clips": CLIPS}, idempotency_key="links"))
        again = job_of(await call(client, "create_reel", reel={"clips": CLIPS}, idempotency_key="links"))
        result = await until_ended(client, made["job_id"])

    links = links_of(result)
    assert again["job_id"] == made["job_id"]
    assert list(links) == [f"{made['job_id']}{end}.mp4" for end in ("", "-clip-0", "-clip-1")]
    async with httpx.AsyncClient(timeout=100) as http:
        for url in links.values():
            assert (await http.get(url)).content[4:8] == b"ftyp"
    assert picture_of(result).width > 100


async def test_a_client_that_knows_tasks_gets_a_task_with_the_id_of_the_job(mcp_server: McpServer) -> None:
    tasks = KnowsTasks()
    async with mcp_server.over_http(mcp_server.key, tasks) as client:
        result = await client.call_tool("create_reel", {"reel": {"clips": CLIPS}})
        models = await call(client, "list_models")

    first, last = tasks.seen[0], tasks.seen[-1]
    assert isinstance(first, TaskHandle)
    assert (first.status, last.status) == ("working", "completed")
    assert first.task_id == last.task_id == job_of(result)["job_id"]
    assert job_of(result)["state"] == "succeeded"
    assert len(links_of(result)) == 3
    assert job_of(models)["models"]


async def test_a_task_is_canceled_with_its_job(mcp_server: McpServer) -> None:
    async with mcp_server.over_stdio(None, KnowsTasks()) as client:
        with mcp_server.phoenix() as phoenix:
            job = phoenix.submit_reel({"clips": LONG})
        before = await ask(client, "tasks/get", job.id, TaskAnswer)
        await ask(client, "tasks/cancel", job.id, EmptyResult)
        await until_ended(client, job.id)
        after = await ask(client, "tasks/get", job.id, TaskAnswer)

    assert (before.status, after.status, after.result) == ("working", "cancelled", None)


async def test_a_client_that_does_not_know_tasks_gets_the_job_at_once(mcp_server: McpServer) -> None:
    async with mcp_server.over_stdio() as client:
        made = job_of(await call(client, "create_reel", reel={"clips": LONG}))
        canceled = job_of(await call(client, "cancel_job", job_id=made["job_id"]))
        ended = await until_ended(client, canceled["job_id"])
        retried = job_of(await call(client, "retry_job", job_id=made["job_id"]))
        await call(client, "cancel_job", job_id=made["job_id"])

    assert not made["has_ended"]
    assert ended.is_error
    assert (job_of(ended)["state"], job_of(ended)["can_retry"]) == ("canceled", True)
    assert retried["state"] in ("queued", "running")


async def test_a_mistake_is_named_with_its_place(mcp_server: McpServer) -> None:
    async with mcp_server.over_http(mcp_server.key) as client:
        refused = await client.call_tool("create_reel", {"reel": {"clips": [{"prompt": ""}], "more": {"fps": 999}}})
        missing = await client.call_tool("get_job", {"job_id": "job_00000000000000000000000000"})
        unfinished = await client.call_tool(
            "create_reel", {"reel": {"storyboard_id": "stb_00000000000000000000000000"}}
        )

    assert refused.is_error
    assert "INVALID_REQUEST (422)" in text_of(refused)
    assert "/clips/0/prompt: " in text_of(refused)
    assert "/fps: " in text_of(refused)
    assert "NOT_FOUND (404)" in text_of(missing)
    assert unfinished.is_error


async def test_an_agent_over_stdio_uploads_a_file_of_its_machine(mcp_server: McpServer, png_file: Path) -> None:
    async with mcp_server.over_stdio() as client:
        uploaded = job_of(await call(client, "upload_file", path=str(png_file)))
        missing = await client.call_tool("upload_file", {"path": str(png_file.parent / "none.png")})

    assert (uploaded["media"], uploaded["artifact_id"][:4]) == ("image", "art_")
    assert "none.png cannot be read" in text_of(missing)


@pytest.fixture
def png_in_base64(png_file: Path) -> str:
    return base64.b64encode(png_file.read_bytes()).decode()


async def test_an_agent_over_http_uploads_bytes_and_reads_no_file_of_the_server(
    mcp_server: McpServer, png_file: Path, png_in_base64: str
) -> None:
    async with mcp_server.over_http(mcp_server.key) as client:
        uploaded = job_of(await call(client, "upload_file", data=png_in_base64, filename="../a.png"))
        refused = [
            text_of(await client.call_tool("upload_file", arguments))
            for arguments in ({"path": str(png_file)}, {}, {"data": "?"})
        ]

    assert uploaded["media"] == "image"
    said = ["over stdio alone", "either path or data", "no base64"]
    assert [part for part, text in zip(said, refused, strict=True) if part not in text] == []


async def test_each_caller_over_http_acts_with_its_own_key(mcp_server: McpServer) -> None:
    async with mcp_server.over_http(mcp_server.key) as client:
        made = job_of(await call(client, "create_reel", reel={"clips": CLIPS}))
    async with mcp_server.over_http(mcp_server.reading_key) as client:
        assert job_of(await call(client, "list_models"))["models"]
        assert "NOT_FOUND" in text_of(await client.call_tool("get_job", {"job_id": made["job_id"]}))
        assert "FORBIDDEN (403)" in text_of(await client.call_tool("create_reel", {"reel": {"clips": CLIPS}}))
    async with mcp_server.over_http(None) as client:
        assert "UNAUTHENTICATED (401)" in text_of(await client.call_tool("list_models", {}))


async def test_each_tool_says_what_it_may_change(mcp_server: McpServer) -> None:
    async with mcp_server.over_http(mcp_server.key) as client:
        tools = (await client.list_tools()).tools

    hints = {each.name: each.annotations for each in tools}
    assert all(each.description and each.input_schema for each in tools)
    # Agents read all of it in each session.
    assert sum(len(each.model_dump_json(exclude_none=True)) for each in tools) < 30_000
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == {
        "list_models",
        "estimate_reel",
        "get_job",
        "search_jobs",
        "get_last_frame",
    }
    assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {"cancel_job"}
