"""`GET /v1/jobs` as a search: its parameters, its pages, and what is refused."""

import httpx
import pytest

from fixtures.api import Api, assert_problem, pointers
from fixtures.callers import GuardedApi


async def find(api: Api, query: str) -> list[str]:
    response = await api.http.get(f"/v1/jobs?{query}")
    assert response.status_code == 200, response.text
    return [job["id"] for job in response.json()["data"]]


async def test_jobs_are_searched_by_words_tags_favorites_and_metadata(api: Api) -> None:
    balloon = (await api.submit("a red balloon", title="Harbour", tags=["sea", "dawn"]))["id"]
    kite = (await api.submit("a red kite", metadata={"customer": "42", "a.b": "x y"}))["id"]
    await api.http.patch(f"/v1/jobs/{kite}", json={"favorite": True})

    assert await find(api, "q=red") == await find(api, "q=red&mode=words") == [kite, balloon]
    assert await find(api, "q=harbour+red") == await find(api, "tag=sea&tag=dawn") == [balloon]
    assert await find(api, "favorite=true") == [kite]
    assert await find(api, "favorite=false&q=red&state=queued") == [balloon]
    assert await find(api, "metadata.customer=42&metadata.a.b=x%20y") == [kite]
    assert await find(api, "metadata.customer=4") == await find(api, "tag=red") == []
    assert await find(api, "q=+") == [kite, balloon]


async def test_pages_of_a_search_follow_on_each_other_by_their_links(api: Api) -> None:
    last, first, middle = [(await api.submit("balloon", **options))["id"] for options in ({}, {"title": "Balloon"}, {})]
    path = "/v1/jobs?q=balloon&limit=1"
    found: list[str] = []
    while path:
        page = await api.http.get(path)
        found += [job["id"] for job in page.json()["data"]]
        path = str(page.links.get("next", {}).get("url", ""))

    assert found == [first, middle, last]


async def test_a_found_job_is_shown_like_a_listed_one(api: Api) -> None:
    await api.submit("balloon")

    listed, found = [(await api.http.get(f"/v1/jobs{query}")).json() for query in ("", "?q=balloon")]

    assert listed == found


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("q=%00", "/query/q"),
        ("q=" + "x" * 201, "/query/q"),
        ("mode=meaning", "/query/q"),
        ("mode=meaning&q=x", "/query/mode"),
        ("similar_to=job_" + "0" * 26, "/query/similar_to"),
        ("similar_to=balloon", "/query/similar_to"),
        ("similar_to=job_" + "0" * 26 + "&q=x", "/query/similar_to"),
        ("tag=", "/query/tag/0"),
        ("favorite=1", "/query/favorite"),
        ("metadata.=x", "/query/metadata."),
        ("metadata.a=%00", "/query/metadata.a"),
        ("metadata.a=" + "x" * 513, "/query/metadata.a"),
        ("metadata=x", "/query/metadata"),
        ("meta.a=x", "/query/meta.a"),
    ],
)
async def test_a_parameter_that_says_nothing_is_named(api: Api, query: str, pointer: str) -> None:
    problem = assert_problem(await api.http.get(f"/v1/jobs?{query}"), 422, "INVALID_REQUEST")

    assert pointers(problem) == [pointer]


async def test_a_cursor_of_a_list_is_none_of_a_search(api: Api) -> None:
    for _ in range(2):
        await api.submit("balloon")
    cursor = (await api.http.get("/v1/jobs?limit=1")).json()["next_cursor"]

    problem = assert_problem(await api.http.get(f"/v1/jobs?q=balloon&cursor={cursor}"), 400, "INVALID_REQUEST")

    assert pointers(problem) == ["/query/cursor"]


async def test_a_key_finds_only_its_own_jobs(guarded: GuardedApi) -> None:
    mine, other = await guarded.caller(), await guarded.caller()
    job = (await mine.submit("balloon", tags=["sea"]))["id"]

    for query in ("q=balloon", "tag=sea", "favorite=false"):
        assert (await find(mine, query), await find(other, query)) == ([job], [])


async def test_a_stranger_finds_nothing(guarded: GuardedApi) -> None:
    response: httpx.Response = await guarded.api.http.get("/v1/jobs?q=x")

    assert_problem(response, 401, "UNAUTHENTICATED")
