"""Downloads arrive whole and checked, or not at all."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fixtures.event_examples import JOB_ID, a_job
from fixtures.scripted_server import Answer, ScriptedServer
from phoenix.client import AsyncPhoenix, DownloadCorrupted, NoOutput, PhoenixProblem, RetryPolicy
from phoenix.contract import Job, JobOutput, JobState

CONTENT = f"/v1/jobs/{JOB_ID}/content"
MOVIE = b"moov" * 10_000


def done(content: bytes = MOVIE) -> Job:
    output = JobOutput(
        artifact_id="art_1",
        url=CONTENT,
        duration_s=1,
        width=1,
        height=1,
        fps=1,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return a_job(state=JobState.SUCCEEDED).model_copy(update={"output": output})


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
async def phoenix(scripted_server: ScriptedServer) -> AsyncIterator[AsyncPhoenix]:
    quick = RetryPolicy(attempts=3, first_delay_s=0.01)
    async with AsyncPhoenix(scripted_server.url, retry_policy=quick) as client:
        yield client


async def test_a_download_leaves_only_its_file(phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path):
    scripted_server.on("GET", CONTENT, Answer(body=MOVIE))
    path = await phoenix.download(done(), tmp_path / "reel.mp4")
    assert path.read_bytes() == MOVIE
    assert files_in(tmp_path) == [path]


async def test_a_job_may_be_named_by_its_id(phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path):
    scripted_server.on("GET", f"/v1/jobs/{JOB_ID}", Answer(body=done().model_dump_json().encode()))
    scripted_server.on("GET", CONTENT, Answer(body=MOVIE))
    assert (await phoenix.download(JOB_ID, tmp_path / "reel.mp4")).read_bytes() == MOVIE


async def test_a_broken_download_is_continued_where_it_broke(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path
):
    scripted_server.on("GET", CONTENT, Answer(body=MOVIE[:15_000], breaks=True), Answer(206, MOVIE[15_000:]))
    assert (await phoenix.download(done(), tmp_path / "reel.mp4")).read_bytes() == MOVIE
    assert scripted_server.received[1].headers["range"] == "bytes=15000-"


async def test_a_server_without_ranges_sends_it_all_again(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path
):
    scripted_server.on("GET", CONTENT, Answer(body=MOVIE[:15_000], breaks=True), Answer(200, MOVIE))
    assert (await phoenix.download(done(), tmp_path / "reel.mp4")).read_bytes() == MOVIE


async def test_altered_content_is_refused_and_the_old_file_kept(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path
):
    target = tmp_path / "reel.mp4"
    target.write_bytes(b"older")
    scripted_server.on("GET", CONTENT, Answer(body=MOVIE[:-1] + b"!"))
    with pytest.raises(DownloadCorrupted):
        await phoenix.download(done(), target)
    assert target.read_bytes() == b"older"
    assert files_in(tmp_path) == [target]


async def test_a_file_that_never_arrives_whole_is_given_up(
    phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path
):
    scripted_server.on("GET", CONTENT, *[Answer(206, breaks=True)] * 3)
    with pytest.raises(Exception, match=r"does not answer|ended too soon"):
        await phoenix.download(done(), tmp_path / "reel.mp4")
    assert files_in(tmp_path) == []


async def test_deleted_content_is_a_problem(phoenix: AsyncPhoenix, scripted_server: ScriptedServer, tmp_path: Path):
    scripted_server.on("GET", CONTENT, Answer(410))
    with pytest.raises(PhoenixProblem, match="410"):
        await phoenix.download(done(), tmp_path / "reel.mp4")


async def test_a_job_without_output_has_nothing_to_download(phoenix: AsyncPhoenix, tmp_path: Path):
    with pytest.raises(NoOutput, match="running"):
        await phoenix.download(a_job(), tmp_path / "reel.mp4")
