"""`phoenix api --reload` with a stream that is open: neither holds the other up."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from fixtures.databases import copied_database
from fixtures.fleet import run_phoenix
from fixtures.nginx import wait_until_it_listens
from fixtures.ports import free_port
from fixtures.redis_server import RedisServer
from fixtures.stream_fleet import TIMEOUT_S, fleet_environment


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "module.py").write_text("")
    return folder


@pytest.fixture
def url(
    tmp_path: Path, sources: Path, redis_process: RedisServer, postgres_server: URL, postgres_template: str
) -> Iterator[str]:
    """Of a replica that starts anew when something in `sources` changes."""
    port, log = free_port(), tmp_path / "api.log"
    with copied_database(postgres_server, postgres_template) as database_url:
        # Streams would live as long as their jobs.
        environment = fleet_environment(tmp_path, redis_process.url, database_url)
        arguments = ["api", "--port", str(port), "--reload", "--reload-dir", str(sources)]
        process = run_phoenix(arguments, environment, log)
        try:
            wait_until_it_listens(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            sys.stdout.write(log.read_text()[-5000:])


async def read_first_events(http: httpx.AsyncClient, path: str, then: Callable[[], object] | None = None) -> str:
    """The stream up to its snapshot; `then` does what is to end it, and it is read to its end."""
    text = ""
    async with http.stream("GET", path) as response:
        async for piece in response.aiter_text():
            text += piece
            if "event: snapshot" in text:
                if then is None:
                    break
                then()
    return text


async def come_back(http: httpx.AsyncClient, path: str) -> str:
    """As an EventSource does: a connection that the old process took, and dropped, is made again."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            with suppress(httpx.TransportError):
                return await read_first_events(http, path)


async def test_an_open_stream_ends_and_comes_back_to_the_new_process(url: str, sources: Path) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=TIMEOUT_S) as http:
        job = (await http.post("/v1/reels", json={"clips": [{"prompt": "a red balloon"}]})).json()
        path = f"/v1/jobs/{job['id']}/events"

        await read_first_events(http, path, then=partial((sources / "module.py").write_text, "changed = True\n"))
        again = await come_back(http, path)

    assert f'"id":"{job["id"]}"' in again.replace(" ", "")
