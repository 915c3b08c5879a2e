"""A real browser on this machine, on pages of another site and under another name, beside a server without keys."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fixtures.chromium import Page, open_chromium
from fixtures.up_process import UpProcess

pytestmark = pytest.mark.e2e

# Neither a form nor an empty body needs a preflight, so the browser sends these without asking first.
POST_FORM = """
(async () => {
  const form = new FormData(); form.append("prompt", "a red balloon"); form.append("model", "animatic");
  await fetch("URL/v1/videos", {method: "POST", mode: "no-cors", body: form});
  await fetch("URL/v1/webhooks/secret/rotate", {method: "POST", mode: "no-cors"});
  return "sent";
})()
"""
READ = "fetch('/v1/jobs').then(response => response.json()).then(body => body.code ?? 'read')"
LOADED = "document.readyState === 'complete' && location.href !== 'about:blank'"


@pytest.fixture
async def other_site() -> AsyncIterator[str]:
    """The URL of an empty page of somebody else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A browser also opens connections on which it sends nothing.
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://evil.example:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
async def anywhere(tmp_path: Path) -> AsyncIterator[Page]:
    """A page of a browser for which every name below `example` is this machine."""
    async with open_chromium(tmp_path / "profile", "--host-resolver-rules=MAP *.example 127.0.0.1") as opened:
        yield opened


def count_jobs(up: UpProcess) -> int:
    return len(httpx.get(f"{up.url}/v1/jobs", timeout=100).json()["data"])


def signing_secret(up: UpProcess) -> str:
    return httpx.get(f"{up.url}/v1/webhooks/secret", timeout=100).text


async def test_a_page_of_another_site_posts_nothing(anywhere: Page, lasting_up: UpProcess, other_site: str) -> None:
    up = lasting_up
    before = count_jobs(up), signing_secret(up)
    await anywhere.open(other_site)
    await anywhere.wait_until(LOADED)

    assert await anywhere.evaluate(POST_FORM.replace("URL", up.url)) == "sent"
    assert (count_jobs(up), signing_secret(up)) == before


async def test_a_page_under_another_name_for_this_machine_reads_nothing(anywhere: Page, lasting_up: UpProcess) -> None:
    up = lasting_up
    await anywhere.open(up.url.replace("127.0.0.1", "evil.example") + "/health/live")
    await anywhere.wait_until(LOADED)

    assert await anywhere.evaluate(READ) == "FORBIDDEN"


async def test_a_page_under_the_name_localhost_reads_and_posts(anywhere: Page, lasting_up: UpProcess) -> None:
    up = lasting_up
    await anywhere.open(up.url.replace("127.0.0.1", "localhost") + "/health/live")
    await anywhere.wait_until(LOADED)

    jobs = count_jobs(up)

    assert await anywhere.evaluate(READ) == "read"
    assert await anywhere.evaluate(POST_FORM.replace("URL", "")) == "sent"
    assert count_jobs(up) == jobs + 1
