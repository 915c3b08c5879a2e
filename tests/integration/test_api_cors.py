"""CORS: which pages may read responses, and the response to other pages."""

from collections.abc import AsyncIterator

import httpx
import pytest

from fixtures.api import Api, assert_problem, open_api
from phoenix.settings import Settings

OURS = "https://app.example"
OTHER = "https://evil.example"


@pytest.fixture
async def shared(api_settings: Settings) -> AsyncIterator[Api]:
    """An application whose answers pages of `OURS` may read."""
    cors = api_settings.api.model_copy(update={"cors_origins": (OURS,)})
    async with open_api(api_settings.model_copy(update={"api": cors})) as api:
        yield api


async def preflight(api: Api, path: str, origin: str, *, method: str = "GET", headers: str = "") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return await api.http.options(path, headers=asked)


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere", "/v1/jobs/job_x/events"])
async def test_a_listed_origin_is_echoed_with_credentials(shared: Api, path: str) -> None:
    response = await shared.http.get(path, headers={"Origin": OURS})

    assert response.headers["access-control-allow-origin"] == OURS
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in response.headers["vary"]


async def test_scripts_may_read_the_headers_that_clients_need(shared: Api) -> None:
    response = await shared.http.get("/v1/models", headers={"Origin": OURS})

    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"Location", "Retry-After", "ETag", "X-Request-ID", "RateLimit"} <= set(exposed)


async def test_any_other_origin_gets_no_permission(shared: Api) -> None:
    response = await shared.http.get("/v1/models", headers={"Origin": OTHER})

    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/jobs/job_x/events"), ("POST", "/v1/reels"), ("DELETE", "/v1/jobs/job_x")]
)
async def test_a_preflight_allows_the_methods_and_headers_of_the_api(shared: Api, method: str, path: str) -> None:
    wanted = "authorization, content-type, idempotency-key, if-match, last-event-id, prefer, traceparent"

    response = await preflight(shared, path, OURS, method=method, headers=wanted)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == OURS
    assert response.headers["access-control-allow-credentials"] == "true"
    assert method in response.headers["access-control-allow-methods"].split(", ")
    assert response.headers["access-control-allow-headers"] == wanted
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(("origin", "method"), [(OTHER, "GET"), (OURS, "BREW"), ("null", "POST")])
async def test_a_preflight_that_is_refused_is_a_problem(shared: Api, origin: str, method: str) -> None:
    response = await preflight(shared, "/v1/reels", origin, method=method)

    assert_problem(response, 400, "INVALID_REQUEST")
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert "Origin" in response.headers["vary"]


async def test_without_listed_origins_there_is_no_cors(api: Api) -> None:
    response = await preflight(api, "/v1/reels", OURS, method="POST")

    assert_problem(response, 405, "INVALID_REQUEST")
    assert not [name for name in response.headers if name.startswith("access-control-")]
