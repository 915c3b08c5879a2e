"""Text that PostgreSQL cannot store never reaches it: the answer is a 4xx, wherever the text stands."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy.engine import URL

from fixtures.api import Api, assert_problem, open_api, pointers, reel_body
from phoenix.settings import DatabaseSettings, Settings


@pytest.fixture
async def api_on_postgres(api_settings: Settings, postgres_url: URL) -> AsyncIterator[Api]:
    database = DatabaseSettings(url=postgres_url.render_as_string(hide_password=False))
    async with open_api(api_settings.model_copy(update={"database": database})) as api:
        yield api


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (reel_body("before\0after"), "/clips/0/prompt"),
        (reel_body(negative_prompt="\0"), "/negative_prompt"),
        (reel_body(model="animatic\0"), "/model"),
        (reel_body(metadata={"a": "\0"}), "/metadata/a"),
        (reel_body(metadata={"\0": "a"}), "/metadata/\0"),
        (reel_body(webhook={"url": "https://example.com/\0"}), "/webhook/url"),
    ],
)
async def test_a_reel_with_nul_is_refused_with_its_field(
    api_on_postgres: Api, body: dict[str, Any], pointer: str
) -> None:
    refused = await api_on_postgres.http.post("/v1/reels", json=body)

    assert pointers(assert_problem(refused, 422, "INVALID_REQUEST")) == [pointer]


def text_parameters(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The path and name of every query parameter of a GET that takes text."""
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] == "query" and parameter["schema"].get("type") == "string":
                yield path, parameter["name"]


async def test_no_text_in_a_query_breaks_a_route(api_on_postgres: Api) -> None:
    job = await api_on_postgres.submit()
    await api_on_postgres.http.post(f"/v1/jobs/{job['id']}/cancel")
    document = (await api_on_postgres.http.get("/openapi.json")).json()
    # The stream of all jobs does not end, and takes a number of its own making or starts anew.
    asked = [(path, name) for path, name in text_parameters(document) if path != "/v1/events"]

    answers = {
        (path, name): (await api_on_postgres.http.get(path.replace("{job_id}", job["id"]), params={name: "\0"}))
        for path, name in asked
    }

    assert ("/v1/jobs", "q") in answers
    assert {place: answer.status_code for place, answer in answers.items() if answer.status_code >= 500} == {}
