"""What holds for every route: ids, errors, methods, CORS, health, and what the fleet shows."""

from pathlib import Path

import pytest
from sqlalchemy import update
from sse_starlette.sse import SendTimeoutError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from fixtures.api import Api, assert_problem, open_api, until
from fixtures.redis_server import RedisServer
from phoenix.api.middleware import ErrorBoundary
from phoenix.jobs.tables import JobRow
from phoenix.settings import Settings


@pytest.mark.parametrize("path", ["/health/live", "/v1/models", "/nowhere"])
async def test_a_request_id_is_echoed(api: Api, path: str) -> None:
    response = await api.http.get(path, headers={"X-Request-ID": "mine"})

    assert response.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("path", ["/health/live", "/v1/jobs", "/nowhere", "/", "/openapi.json"])
async def test_no_answer_is_to_be_taken_for_another_type_than_it_says(api: Api, path: str) -> None:
    assert (await api.http.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_a_request_without_an_id_gets_one(api: Api) -> None:
    seen = {(await api.http.get("/health/live")).headers["x-request-id"] for _ in range(3)}

    assert len(seen) == 3


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/jobs/", "/v1/../etc/passwd"])
async def test_an_unknown_path_is_a_problem(api: Api, path: str) -> None:
    assert_problem(await api.http.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/reels", "POST"),
        ("PUT", "/v1/jobs/job_1", "GET, HEAD, PATCH, DELETE"),
        ("POST", "/v1/jobs/job_1/content", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
        ("POST", "/studio/app.js", "GET, HEAD"),
        ("OPTIONS", "/v1/jobs", "GET, HEAD"),
        ("BREW", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_answered_with_the_right_ones(api: Api, method: str, path: str, allowed: str) -> None:
    response = await api.http.request(method, path)

    assert_problem(response, 405, "INVALID_REQUEST")
    assert response.headers["allow"] == allowed


async def test_whatever_can_be_read_answers_head_like_get(api: Api) -> None:
    paths = (await api.http.get("/openapi.json")).json()["paths"]
    readable = [path for path, operations in paths.items() if "get" in operations and "events" not in path]
    for path in [*readable, "/metrics"]:
        got, headed = await api.http.get(path), await api.http.head(path)
        assert (path, headed.status_code) == (path, got.status_code)
        assert (path, headed.headers["content-type"]) == (path, got.headers["content-type"])
    assert len(readable) > 10


async def test_an_unexpected_error_is_answered_without_what_it_says(api: Api) -> None:
    job = await api.submit()
    async with api.services.database.write() as uow:
        await uow.session.execute(update(JobRow).values(error={"secret": "row"}))

    response = await api.http.get(f"/v1/jobs/{job['id']}")

    assert_problem(response, 500, "INTERNAL")
    assert not any(word in response.text for word in ("secret", "Traceback", ".py", "pydantic"))


async def answer_with(error: Exception, *, after_start: bool) -> list[str]:
    """The types of the messages that leave when an application fails with `error`."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        if after_start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await ErrorBoundary(application)({"type": "http"}, receive, send)
    return sent


async def test_an_answer_that_broke_off_is_not_patched_up() -> None:
    with pytest.raises(RuntimeError, match="half way"):
        await answer_with(RuntimeError("half way"), after_start=True)


@pytest.mark.parametrize("error", [ClientDisconnect(), SendTimeoutError()])
async def test_a_client_that_has_gone_is_not_answered(error: Exception) -> None:
    assert await answer_with(error, after_start=False) == []


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_a_healthy_server_says_so(api: Api, path: str) -> None:
    async def is_healthy() -> bool:
        # A check has two seconds, for which a machine may stand still.
        return (await api.http.get(path)).json().get("status") == "ok"

    await until(is_healthy)
    response = await api.http.get(path)

    checks = {"database": "ok", "redis": "ok", "storage": "ok"}
    assert (response.status_code, response.json()["status"], response.json()["checks"]) == (200, "ok", checks)
    assert (await api.http.head(path)).status_code == 200


async def test_without_redis_a_server_is_degraded_but_ready(api: Api, redis_server: RedisServer) -> None:
    redis_server.kill()

    response = await api.http.get("/health/ready")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["checks"]["redis"] == "away"


async def test_without_its_database_a_server_lives_but_is_not_ready(api_settings: Settings) -> None:
    away = api_settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1/none"})
    async with open_api(api_settings.model_copy(update={"database": away})) as api:
        ready = await api.http.get("/health/ready")
        live = await api.http.get("/health/live")

    problem = assert_problem(ready, 503, "UNAVAILABLE")
    assert problem["errors"] == [{"pointer": "/checks/database", "detail": "away"}]
    assert live.status_code == 200


async def test_on_a_database_without_tables_a_server_is_not_ready_and_says_why(
    api_settings: Settings, tmp_path: Path
) -> None:
    empty = api_settings.database.model_copy(update={"url": f"sqlite:///{tmp_path / 'empty.db'}"})
    async with open_api(api_settings.model_copy(update={"database": empty})) as api:
        ready = await api.http.get("/health/ready")

    assert assert_problem(ready, 503, "UNAVAILABLE")["errors"] == [
        {"pointer": "/checks/database", "detail": "not migrated"}
    ]


async def test_the_queue_and_the_workers_are_shown(api: Api) -> None:
    await api.submit("one", "two")
    await api.register_worker("gpu", slots=3)

    queue = (await api.http.get("/v1/queue")).json()
    workers = (await api.http.get("/v1/workers")).json()["data"]

    gpu = queue["queues"][0]
    assert (queue["jobs_queued"], gpu["name"], gpu["waiting"], gpu["slots"]) == (1, "gpu", 2, 3)
    assert [(worker["id"], worker["slots"], worker["running"]) for worker in workers] == [("wrk_1", 3, [])]


async def test_a_model_is_served_while_a_worker_serves_it_and_does_not_drain(api: Api) -> None:
    async def served() -> bool:
        models = (await api.http.get("/v1/models")).json()["data"]
        return next(model["is_served"] for model in models if model["id"] == "animatic")

    before = await served()
    await api.register_worker()
    live = await served()
    await api.register_worker(slots=0)

    assert (before, live, await served()) == (False, True, False)
