"""A server without keys is for this machine only, on every route and before it reads anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fixtures.api import Api, assert_problem
from fixtures.bounded_server import WITHIN_S, serving_bounded
from fixtures.callers import GuardedApi

EVIL = {"Host": "evil.example"}
FORGED = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def operations(api: Api) -> list[tuple[str, str]]:
    """(method, path) of each documented route."""
    paths = api.app.openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


async def test_no_route_answers_under_another_name(api: Api) -> None:
    pages = [("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/studio/app.js"), ("GET", "/no")]
    for method, path in [*operations(api), *pages]:
        problem = assert_problem(await api.http.request(method, path, headers=EVIL), 403, "FORBIDDEN")
        assert "evil.example" in problem["detail"]
        assert "PHOENIX_API__ALLOWED_HOSTS" in problem["detail"]


async def test_no_route_changes_anything_for_a_page_of_another_site(api: Api) -> None:
    changing = [(method, path) for method, path in operations(api) if method != "GET"]
    for method, path in changing:
        problem = assert_problem(await api.http.request(method, path, headers=FORGED), 403, "FORBIDDEN")
        assert "PHOENIX_API__CORS_ORIGINS" in problem["detail"]
    assert len(changing) >= 10


async def test_nothing_is_read_of_the_body_of_a_foreign_page(api: Api) -> None:
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        while True:
            sent_bytes += 65_536
            yield b"{" * 65_536

    response = await api.http.post("/v1/reels", content=endless(), headers=FORGED)

    assert_problem(response, 403, "FORBIDDEN")
    assert response.headers["connection"] == "close"
    assert sent_bytes == 0


async def test_one_host_is_required_with_and_without_keys(api: Api, guarded: GuardedApi) -> None:
    for http in (api.http, guarded.api.http):
        none = http.build_request("GET", "/health")
        del none.headers["host"]
        two = http.build_request("GET", "/health", headers=[("Host", "localhost"), ("Host", "localhost")])
        for request in (none, two):
            problem = assert_problem(await http.send(request), 400, "INVALID_REQUEST")
            assert "exactly one Host" in problem["detail"]


async def test_a_name_in_a_refusal_cannot_be_mistaken_for_html(api: Api) -> None:
    response = await api.http.get("/v1/jobs", headers={"Host": "<script>"})

    assert_problem(response, 400, "INVALID_REQUEST")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in response.text


async def answer_to(api: Api, target: str, *lines: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request with this target, over a real connection."""
    head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", *lines, "Connection: close"))
    async with serving_bounded(api.app) as server, asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"{head}\r\n".encode())
        answer = await reader.read()
        writer.close()
    first, _, body = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), json.loads(body)


@pytest.mark.parametrize("foreign", ["http://evil.example/v1/queue", "HTTPS://evil.example:8080/v1/queue"])
async def test_the_host_of_a_whole_url_is_checked_and_not_the_header(api: Api, foreign: str) -> None:
    status, problem = await answer_to(api, foreign, "Host: localhost")

    assert (status, problem["code"]) == (403, "FORBIDDEN")
    assert "evil.example" in problem["detail"]
    assert problem["instance"] == "/v1/queue"


@pytest.mark.parametrize(
    "own", ["http://localhost/v1/queue", "http://[::1]:8080/v1/queue", "https://127.0.0.1/v1/queue"]
)
async def test_a_whole_url_of_this_server_is_answered_with_every_header(api: Api, own: str) -> None:
    status, queue = await answer_to(api, own, "Host: evil.example")

    assert status == 200
    assert "queues" in queue


async def test_a_whole_url_needs_one_host_header_too(api: Api) -> None:
    for lines in ((), ("Host: localhost", "Host: localhost")):
        status, problem = await answer_to(api, "http://localhost/v1/queue", *lines)
        assert (status, problem["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "target",
    ["ftp://localhost/", "http://user@localhost/", "http://user:word@localhost/", "localhost/", "http:///", "urn:x"],
)
async def test_a_url_that_is_not_of_the_web_is_refused(api: Api, target: str) -> None:
    status, problem = await answer_to(api, target, "Host: localhost")

    assert (status, problem["code"]) == (400, "INVALID_REQUEST")


async def test_a_key_opens_the_server_under_every_name(guarded: GuardedApi) -> None:
    caller = await guarded.caller()

    assert (await caller.http.get("/v1/jobs", headers=EVIL)).status_code == 200
    rotated = await caller.http.post("/v1/webhooks/secret/rotate", headers={**EVIL, **FORGED})
    assert rotated.status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_pages_have_a_security_policy(api: Api, path: str) -> None:
    response: httpx.Response = await api.http.get(path)

    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["referrer-policy"] == "no-referrer"
