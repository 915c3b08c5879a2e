"""Keys at the door: who gets in, what each scope may do, and that owners do not see each other."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select

from builders import claim_next
from fixtures.api import Api, assert_problem, open_api, reel_body, until
from fixtures.callers import GuardedApi, id_of, open_guarded_api
from phoenix.access.keys import Scope
from phoenix.access.tables import ApiKeyRow
from phoenix.jobs.tables import JobRow
from phoenix.settings import ApiSettings, AuthMode, Settings, load_settings

JOB = "job_" + "0" * 26
ARTIFACT = "art_" + "0" * 26


def guarded_routes(api: Api) -> list[tuple[str, str]]:
    """(method, path) of every route under /v1, its ids filled in."""
    values = {"{job_id}": JOB, "{artifact_id}": ARTIFACT, "{index}": "0", "{delivery_id}": "whd_" + "0" * 26}
    values["{video_id}"] = "video_" + "0" * 26
    found: list[tuple[str, str]] = []
    for route in api.app.openapi()["paths"].items():
        path, operations = route
        for name, value in values.items():
            path = path.replace(name, value)
        found += [(method.upper(), path) for method in operations if path.startswith("/v1/")]
    return found


async def call(http: httpx.AsyncClient, method: str, path: str, **options: object) -> httpx.Response:
    body = {"json": reel_body()} if path == "/v1/reels" else {}
    if path in ("/v1/stitches", "/v1/soundtracks"):
        sound = {"source": {"artifact_id": ARTIFACT}}
        body = {"json": {"artifact_ids": [ARTIFACT]} if path == "/v1/stitches" else sound}
    return await http.request(method, path, **body, **options)  # type: ignore[arg-type]


async def test_no_route_answers_without_a_key(api_settings: Settings) -> None:
    # There are more routes than an address may fail to name a key in a minute.
    limits = api_settings.limits.model_copy(update={"failed_auth_per_minute": 1000})
    settings = api_settings.model_copy(update={"limits": limits})
    async with open_guarded_api(settings, leads=False) as guarded:
        routes = guarded_routes(guarded.api)

        for method, path in routes:
            response = await call(guarded.api.http, method, path)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == "Bearer"
    assert len(routes) > 15


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_nothing_is_read_of_the_body_of_a_stranger(guarded: GuardedApi, kind: str) -> None:
    sent_bytes = 0

    async def broken_and_endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        while True:
            sent_bytes += 65_536
            yield b"{" * 65_536

    paths = guarded.api.app.openapi()["paths"]
    taking_a_body = [path for path, operations in paths.items() if "requestBody" in operations.get("post", {})]
    for path in taking_a_body:
        response = await guarded.api.http.post(
            path.replace("{video_id}", "garbage"), content=broken_and_endless(), headers={"Content-Type": kind}
        )
        assert response.status_code == 401, path
        assert response.headers["connection"] == "close", path
    assert len(taking_a_body) >= 5
    assert sent_bytes == 0


async def test_a_key_that_may_only_read_learns_that_before_what_is_wrong_with_its_body(guarded: GuardedApi) -> None:
    reader = await guarded.caller(Scope.READ)

    response = await reader.http.post("/v1/reels", content=b"{", headers={"Content-Type": "application/json"})

    assert_problem(response, 403, "FORBIDDEN")


async def test_a_stranger_learns_nothing_of_what_is_wrong_with_a_request(guarded: GuardedApi) -> None:
    for path in ("/v1/jobs?limit=x", "/v1/jobs/garbage", "/v1/artifacts/%00/content", "/v1/videos?order=up"):
        assert (await guarded.api.http.get(path)).status_code == 401, path


async def test_health_and_the_document_need_no_key(guarded: GuardedApi) -> None:
    statuses = [(await guarded.api.http.get(path)).status_code for path in ("/health", "/openapi.json")]

    assert statuses[1] == 200
    # Its checks have a time limit, and a machine may stand still for longer.
    assert statuses[0] in (200, 503)


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key}x", "Bearer {other}", "Bearer " + "x" * 9999],
)
async def test_what_is_not_a_key_is_refused(guarded: GuardedApi, given: str) -> None:
    key = await guarded.make_key()
    other = key[:-1] + ("a" if key[-1] != "a" else "b")

    headers = {"Authorization": given.format(key=key, other=other)}
    problem = assert_problem(await guarded.api.http.get("/v1/jobs", headers=headers), 401, "UNAUTHENTICATED")

    assert key not in str(problem)


async def test_two_keys_at_once_are_none(guarded: GuardedApi) -> None:
    key = await guarded.make_key()

    response = await guarded.api.http.get("/v1/jobs", headers=[("Authorization", f"Bearer {key}")] * 2)

    assert_problem(response, 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_key_lets_its_holder_in(guarded: GuardedApi, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {await guarded.make_key()}"}

    assert (await guarded.api.http.get("/v1/jobs", headers=headers)).status_code == 200


async def test_a_revoked_key_is_refused_at_its_next_request(guarded: GuardedApi) -> None:
    key = await guarded.make_key()
    caller = guarded.client(key)
    assert (await caller.http.get("/v1/jobs")).status_code == 200

    await guarded.revoke(key)

    assert_problem(await caller.http.get("/v1/jobs"), 401, "UNAUTHENTICATED")


async def test_a_rotated_key_still_sees_its_jobs_and_the_old_one_is_refused(guarded: GuardedApi) -> None:
    old = await guarded.make_key()
    job = await guarded.client(old).submit()

    new = await guarded.rotate(old, hours=0)

    assert (await guarded.client(new).show(job["id"]))["id"] == job["id"]
    assert_problem(await guarded.client(old).http.get("/v1/jobs"), 401, "UNAUTHENTICATED")


async def test_a_key_that_may_only_read_changes_nothing(guarded: GuardedApi) -> None:
    reader = await guarded.caller(Scope.READ)

    for method, path in guarded_routes(guarded.api):
        if method == "GET" or path.endswith("-tokens"):
            continue
        assert (await call(reader.http, method, path)).status_code == 403, (method, path)


async def test_a_key_for_the_metrics_is_of_no_use_elsewhere(guarded: GuardedApi) -> None:
    scraper = await guarded.caller(Scope.METRICS)

    for method, path in guarded_routes(guarded.api):
        assert (await call(scraper.http, method, path)).status_code == 403, (method, path)


async def test_hosts_and_processes_are_for_admins(guarded: GuardedApi) -> None:
    await guarded.api.register_worker()
    reader, admin = await guarded.caller(Scope.READ), await guarded.caller(Scope.ADMIN)

    seen = [(await caller.http.get("/v1/workers")).json()["data"][0] for caller in (reader, admin)]

    assert [(worker["host"], worker["pid"]) for worker in seen] == [(None, None), ("host", 1)]


async def test_a_job_belongs_to_the_key_that_made_it(guarded: GuardedApi) -> None:
    key = await guarded.make_key()

    job = await guarded.client(key).submit()

    async with guarded.api.services.database.read() as session:
        row = await session.get_one(JobRow, job["id"])
    assert row.owner_id == id_of(key)


async def test_a_list_shows_only_ones_own_jobs(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.caller(), await guarded.caller()
    job = await mine.submit()
    await theirs.submit()

    listed = (await mine.http.get("/v1/jobs")).json()["data"]

    assert [each["id"] for each in listed] == [job["id"]]


async def test_another_owners_job_does_not_exist(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.caller(), await guarded.caller(Scope.ADMIN)
    job = await mine.submit()

    for method, suffix in [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/content"),
        ("GET", "/clips/0/content"),
        ("GET", "/clips/0/segments"),
        ("GET", "/playlist.m3u8"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("POST", "/stream-tokens"),
        ("POST", "/media-tokens"),
        ("DELETE", ""),
    ]:
        unknown = await theirs.http.request(method, f"/v1/jobs/{JOB}{suffix}")
        foreign = await theirs.http.request(method, f"/v1/jobs/{job['id']}{suffix}")
        assert_problem(foreign, 404, "NOT_FOUND")
        assert foreign.json()["detail"].replace(job["id"], JOB) == unknown.json()["detail"]
    assert (await mine.show(job["id"]))["state"] == "queued"


async def test_a_worker_shows_only_the_callers_own_jobs(guarded: GuardedApi) -> None:
    mine, theirs, admin = await guarded.caller(), await guarded.caller(), await guarded.caller(Scope.ADMIN)
    job = await mine.submit()
    # Before there is a worker: otherwise the dispatcher would dispatch the task, and leave nothing to claim here.
    await claim_next(guarded.api.services.database)
    await mine.register_worker()

    seen = [(await one.http.get("/v1/workers")).json()["data"][0]["running"] for one in (mine, theirs, admin)]

    assert seen == [[job["id"]], [], [job["id"]]]


async def test_the_use_of_a_key_is_noted(guarded: GuardedApi) -> None:
    caller = await guarded.caller()
    await caller.http.get("/v1/jobs")

    async def is_noted() -> bool:
        async with guarded.api.services.database.read() as session:
            return (await session.scalars(select(ApiKeyRow.last_used_at))).one() is not None

    await until(is_noted)


async def test_a_use_that_cannot_be_noted_fails_no_request(guarded: GuardedApi) -> None:
    caller = await guarded.caller()
    async with guarded.api.services.database.write() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    statuses = [(await caller.http.get("/v1/jobs")).status_code for _ in range(3)]

    assert statuses == [200, 200, 200]


@pytest.mark.parametrize(
    ("auth", "host", "is_required"),
    [
        (None, "127.0.0.1", False),
        (None, "127.8.8.8", False),
        (None, "::1", False),
        (None, "localhost", False),
        (None, "0.0.0.0", True),
        (None, "::", True),
        (None, "", True),
        (None, "192.168.1.9", True),
        (None, "phoenix.example", True),
        (AuthMode.OFF, "0.0.0.0", False),
        (AuthMode.REQUIRED, "127.0.0.1", True),
    ],
)
def test_keys_are_required_wherever_strangers_could_call(auth: AuthMode | None, host: str, is_required: bool) -> None:
    assert load_settings(auth=auth, api=ApiSettings(host=host)).is_auth_required is is_required


async def test_on_a_loopback_address_nobody_needs_a_key(api_settings: Settings) -> None:
    async with open_api(api_settings) as api:
        assert (await api.http.get("/v1/jobs")).status_code == 200
        assert not any(isinstance(route, APIRoute) and route.path == "/v1/keys" for route in api.app.routes)
