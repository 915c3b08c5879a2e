"""Downloads from allowed addresses only, and within limits."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.lookups import answer_lookups
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.media.fetch import fetch_file
from phoenix.media.ssrf import EgressPolicy

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A web server that says exactly the bytes it is told to."""

    port: int = 0
    answers: dict[str, bytes | Answer] = field(default_factory=dict[str, "bytes | Answer"])
    requests: list[str] = field(default_factory=list[str])

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        answer = self.answers[head.split()[1]]
        try:
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()


def reply(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@asynccontextmanager
async def running() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as one:
        yield one


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "fetched"


def trusting(site: Site, *more: int) -> EgressPolicy:
    return EgressPolicy(schemes=("http",), ports=(site.port, *more), allow_private=True)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def fetch(site: Site, output: Path, path: str = "/", **options: Any) -> int:
    limits = {"policy": trusting(site), "max_bytes": 10_000, "timeout_s": 100, **options}
    return await fetch_file(site.url(path), output, **limits)


async def test_a_file_is_downloaded_completely(site: Site, output: Path) -> None:
    site.answers["/"] = reply(b"sound" * 1000)

    size_bytes = await fetch(site, output)

    assert size_bytes == 5000
    assert content_of(output) == b"sound" * 1000


async def test_no_header_of_the_caller_is_sent(site: Site, output: Path) -> None:
    site.answers["/"] = reply(b"x")

    await fetch(site, output)

    (request,) = site.requests
    names = {line.partition(":")[0].lower() for line in request.splitlines()[1:] if line}
    assert names == {"host", "accept", "accept-encoding", "user-agent"}
    assert "accept-encoding: identity" in request.lower()


async def test_a_redirect_is_followed(site: Site, output: Path) -> None:
    site.answers = {"/": reply(status="302 Found", location="/there?x=1"), "/there?x=1": reply(b"sound")}

    assert await fetch(site, output) == 5


async def test_endless_redirects_are_refused(site: Site, output: Path) -> None:
    site.answers["/"] = reply(status="302 Found", location="/")

    with pytest.raises(TaskFailed, match="redirected more than"):
        await fetch(site, output)

    assert len(site.requests) == 5


async def test_a_redirect_to_another_port_is_refused_before_a_packet_is_sent(site: Site, output: Path) -> None:
    async with running() as inner:
        site.answers["/"] = reply(status="302 Found", location=inner.url())

        with pytest.raises(TaskFailed, match="may not be fetched"):
            await fetch(site, output)

        assert inner.requests == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "https://u:p@x.example/", "http://[::"])
async def test_a_redirect_to_what_is_no_plain_url_is_refused(site: Site, output: Path, location: str) -> None:
    site.answers["/"] = reply(status="302 Found", location=location)

    with pytest.raises(TaskFailed, match="may not be fetched") as caught:
        await fetch(site, output)

    assert not caught.value.retriable


async def test_our_own_network_is_not_reached_by_address(site: Site, output: Path) -> None:
    policy = replace(trusting(site), allow_private=False)

    with pytest.raises(TaskFailed, match="may not be fetched") as caught:
        await fetch(site, output, policy=policy)

    assert site.requests == []
    assert (caught.value.code, caught.value.stage) == (FailureCode.MEDIA_INVALID, Stage.FETCH)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]])
async def test_a_public_name_that_leads_inside_is_refused_like_a_host_that_does_not_answer(
    site: Site, output: Path, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    lookups = answer_lookups(monkeypatch, addresses)
    policy = replace(trusting(site), allow_private=False)

    with pytest.raises(TaskFailed, match="no usable response") as caught:
        await fetch_file(site.url(host="sounds.example"), output, policy=policy, max_bytes=100, timeout_s=100)

    assert (site.requests, lookups) == ([], ["sounds.example"])
    assert caught.value.retriable


async def test_a_name_is_resolved_once_and_is_the_host_of_the_request(
    site: Site, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a second look-up the name could lead elsewhere by then. A dead first address is passed over."""
    lookups = answer_lookups(monkeypatch, ["127.0.0.99", "127.0.0.1"])
    site.answers["/"] = reply(b"sound")

    await fetch_file(site.url(host="sounds.example"), output, policy=trusting(site), max_bytes=100, timeout_s=100)

    assert lookups == ["sounds.example"]
    assert f"host: sounds.example:{site.port}" in site.requests[0].lower()


async def test_a_body_that_states_too_many_bytes_is_not_read(site: Site, output: Path) -> None:
    site.answers["/"] = reply(bytes(10_001))

    with pytest.raises(TaskFailed, match="larger than 10000 bytes") as caught:
        await fetch(site, output)

    assert not caught.value.retriable
    assert content_of(output) == b""


async def test_an_endless_body_is_cut_off(site: Site, output: Path) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
            await writer.drain()

    site.answers["/"] = endless

    with pytest.raises(TaskFailed, match="larger than"):
        await fetch(site, output)

    assert len(content_of(output)) <= 10_000


@pytest.mark.parametrize("opening", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"])
async def test_a_drip_ends_at_the_time_limit(site: Site, output: Path, opening: bytes) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(opening)
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.05)

    site.answers["/"] = drip

    with pytest.raises(TaskFailed, match=r"within 0\.4 s") as caught:
        await fetch(site, output, timeout_s=0.4)

    assert caught.value.retriable


async def test_a_compressed_body_is_refused(site: Site, output: Path) -> None:
    """A gzip bomb is small on the wire."""
    site.answers["/"] = reply(b"\x1f\x8b", content_encoding="gzip")

    with pytest.raises(TaskFailed, match="compressed"):
        await fetch(site, output)


async def test_a_truncated_body_is_retriable(site: Site, output: Path) -> None:
    site.answers["/"] = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nsound"

    with pytest.raises(TaskFailed) as caught:
        await fetch(site, output)

    assert caught.value.retriable


@pytest.mark.parametrize(
    ("status", "is_retriable"), [("404 X", False), ("401 X", False), ("204 X", False), ("429 X", True), ("503 X", True)]
)
async def test_a_failure_is_retriable_by_its_status(site: Site, output: Path, status: str, is_retriable: bool) -> None:
    site.answers["/"] = reply(b"a secret", status=status) if status[0] != "2" else f"HTTP/1.1 {status}\r\n\r\n".encode()

    with pytest.raises(TaskFailed, match=f"status {status[:3]}") as caught:
        await fetch(site, output)

    assert caught.value.retriable is is_retriable
    assert "secret" not in caught.value.detail


async def test_no_host_and_no_response_have_the_same_message(
    site: Site, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the message would be a port scanner."""
    details = set[str]()
    site.answers["/"] = b""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed_port = unused.getsockname()[1]
        for url in (site.url(), f"http://127.0.0.1:{closed_port}/", f"http://nowhere.invalid:{site.port}/"):
            policy = trusting(site, closed_port)
            with pytest.raises(TaskFailed) as caught:
                await fetch_file(url, output, policy=policy, max_bytes=100, timeout_s=100)
            details.add(caught.value.detail)

    assert len(details) == 1


async def test_a_proxy_of_the_environment_is_not_used(
    site: Site, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.answers["/"] = reply(b"sound")

    assert await fetch(site, output) == 5


async def test_a_full_disk_is_a_failure_of_storage(site: Site) -> None:
    site.answers["/"] = reply(bytes(9000))

    with pytest.raises(TaskFailed, match="no space left") as caught:
        await fetch(site, Path("/dev/full"))

    assert caught.value.code == FailureCode.STORAGE_FULL


async def test_a_fetch_that_is_canceled_ends_at_once(site: Site, output: Path) -> None:
    reached = asyncio.Event()

    async def hang(writer: asyncio.StreamWriter) -> None:
        reached.set()
        await writer.wait_closed()

    site.answers["/"] = hang
    task = asyncio.create_task(fetch(site, output))
    await reached.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 50)
