"""Query parameters that a route does not have are refused, on every route, with all other errors of the request."""

from typing import Any

from fastapi.routing import APIRoute, iter_route_contexts

from fixtures.api import Api, assert_problem, open_api
from phoenix.api.app import create_app
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.settings import AuthMode, Settings, load_settings

# From FastAPI itself: the documents and their page.
NOT_OURS = {"/docs", "/docs/oauth2-redirect", "/openapi.json"}
IDS = {
    "job_id": "job_" + "0" * 26,
    "artifact_id": "art_" + "0" * 26,
    "delivery_id": "whd_" + "0" * 26,
    "video_id": "video_" + "0" * 26,
    "storyboard_id": "stb_" + "0" * 26,
    "index": "0",
    "queue": "gpu",
    "model_id": "animatic",
    "key_id": "anonymous",
    "worker_id": "wrk_1",
}


def list_routes() -> list[APIRoute]:
    """Every route of the API, in the order of the application."""
    contexts = iter_route_contexts(create_app(load_settings()).routes)
    routes = [each.original_route for each in contexts if isinstance(each.original_route, APIRoute)]
    return [route for route in routes if route.path not in NOT_OURS]


async def test_every_route_refuses_a_parameter_that_it_does_not_have(api: Api) -> None:
    requests = [(method, route.path) for route in list_routes() for method in sorted(route.methods or ())]
    for method, path in requests:
        response = await api.http.request(method, path.format(**IDS), params={"metadata[customer]": "42"})

        wanted = 400 if path.startswith("/v1/videos") else 422
        assert (method, path, response.status_code) == (method, path, wanted)
        assert method == "HEAD" or "/query/metadata[customer]" in response.text, path
    assert len(requests) > 40


def test_a_route_of_another_class_would_be_found() -> None:
    assert [route.path for route in list_routes() if not isinstance(route, StrictRoute)] == []


async def test_the_known_parameters_are_listed(api: Api) -> None:
    problem = assert_problem(
        await api.http.get("/v1/webhooks/deliveries", params={"jobid": "x"}), 422, "INVALID_REQUEST"
    )
    (fault,) = problem["errors"]
    assert fault["pointer"] == "/query/jobid"
    assert fault["detail"] == "There is no such query parameter; known are cursor, job_id, limit."


async def test_a_route_without_parameters_says_so(api: Api) -> None:
    problem = assert_problem(await api.http.get("/v1/models?page=2"), 422, "INVALID_REQUEST")
    assert problem["errors"][0]["detail"] == "There is no such query parameter; this route has none."


async def test_other_errors_of_the_request_are_reported_too(api: Api) -> None:
    response = await api.http.post("/v1/reels?dry_run=1&dry_run=2&debug", json={"clips": [], "fsp": 24})

    problem = assert_problem(response, 422, "INVALID_REQUEST")
    assert {fault["pointer"] for fault in problem["errors"]} == {"/clips", "/fsp", "/query/dry_run", "/query/debug"}


async def test_parameters_of_dependencies_are_known(api: Api) -> None:
    job = await api.submit()

    response = await api.http.get(f"/v1/jobs/{job['id']}/events?tokn=1")

    problem = assert_problem(response, 422, "INVALID_REQUEST")
    assert problem["errors"][0]["detail"].endswith("known are last_event_id, owner, token.")


async def test_a_refused_request_does_nothing(api: Api) -> None:
    body: dict[str, Any] = {"clips": [{"prompt": "a red balloon"}]}

    assert (await api.http.post("/v1/reels?priority=high", json=body)).status_code == 422
    assert (await api.http.get("/v1/jobs")).json()["data"] == []


async def test_a_stranger_learns_nothing_of_the_parameters(api_settings: Settings) -> None:
    guarded = api_settings.model_copy(update={"auth": AuthMode.REQUIRED})
    async with open_api(guarded) as api:
        assert_problem(await api.http.get("/v1/jobs?x=1"), 401, "UNAUTHENTICATED")
