"""Who counts as the client: the limit on failed authentications cannot be passed by with another address."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from fixtures.api import Api, open_api
from phoenix.api.server.serve import server_config
from phoenix.settings import AuthMode, Settings

PROXY = "10.0.0.5"
LIMIT = 2


@pytest.fixture
async def api(api_settings: Settings) -> AsyncIterator[Api]:
    """An application behind the proxies of a network, where an address fails twice a minute."""
    limits = api_settings.limits.model_copy(update={"failed_auth_per_minute": LIMIT})
    behind = api_settings.api.model_copy(update={"trusted_proxies": ("10.0.0.0/24",)})
    changed = {"limits": limits, "api": behind, "auth": AuthMode.REQUIRED}
    async with open_api(api_settings.model_copy(update=changed)) as opened:
        yield opened


def connect(api: Api, peer: str = PROXY) -> httpx.AsyncClient:
    """The application as uvicorn calls it for a connection of this peer."""
    config = server_config(api.app, api.services.settings)
    config.load()
    transport = httpx.ASGITransport(cast("Any", config.loaded_app), client=(peer, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def statuses(http: httpx.AsyncClient, *forwarded: str) -> list[int]:
    """One request without a key for each `X-Forwarded-For`."""
    return [(await http.get("/v1/jobs", headers={"X-Forwarded-For": each})).status_code for each in forwarded]


async def test_what_a_client_wrote_before_the_entry_of_the_proxy_does_not_count(api: Api) -> None:
    async with connect(api) as http:
        forged = [f"198.51.100.{number}, 203.0.113.7" for number in range(3)]

        assert await statuses(http, *forged) == [401, 401, 429]
        assert await statuses(http, "198.51.100.9, 203.0.113.8") == [401]


async def test_entries_of_further_proxies_are_passed_over(api: Api) -> None:
    async with connect(api) as http:
        chains = [f"198.51.100.{number}, 203.0.113.7, 10.0.0.{number}" for number in range(3)]

        assert await statuses(http, *chains) == [401, 401, 429]


async def test_a_proxy_that_adds_a_header_of_its_own_is_read_last(api: Api) -> None:
    async with connect(api) as http:
        headers = [[("X-Forwarded-For", f"198.51.100.{n}"), ("X-Forwarded-For", "203.0.113.7")] for n in range(3)]

        assert [(await http.get("/v1/jobs", headers=each)).status_code for each in headers] == [401, 401, 429]


async def test_a_peer_that_is_no_proxy_is_the_client_whatever_it_says(api: Api) -> None:
    async with connect(api, "203.0.113.7") as http:
        assert await statuses(http, *(f"198.51.100.{number}" for number in range(3))) == [401, 401, 429]


async def test_a_host_of_ipv6_is_counted_by_its_network(api: Api) -> None:
    async with connect(api) as http:
        assert await statuses(http, *(f"2001:db8:1:2::{number}" for number in range(1, 4))) == [401, 401, 429]
        assert await statuses(http, "2001:db8:1:3::1") == [401]


async def test_guessed_stream_tokens_count_like_guessed_keys(api: Api) -> None:
    url = f"/v1/jobs/job_{'0' * 26}/events"
    async with connect(api, "203.0.113.7") as http:
        by_token = await http.get(url, params={"token": "abc.def"})
        by_cookie = await http.get(url, headers={"Cookie": "phoenix_stream=abc.def"})
        key = await http.get("/v1/jobs", headers={"Authorization": "Bearer phx_1"})
        token = await http.get(url, params={"token": "abc.def"})

    assert [each.status_code for each in (by_token, by_cookie, key, token)] == [401, 401, 429, 429]
