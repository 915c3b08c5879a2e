"""Every route with an id, asked by its owner, by another key, by a revoked key, and by nobody."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from fixtures.api import Api, assert_problem, reel_body
from fixtures.callers import GuardedApi
from phoenix.access.keys import Scope
from phoenix.storage.keys import OutputName


@dataclass(frozen=True)
class Belongings:
    """What one key has made."""

    job_id: str
    artifact_id: str
    delivery_id: str
    storyboard_id: str

    def fill(self, path: str) -> str:
        return path.format(
            job=self.job_id, artifact=self.artifact_id, delivery=self.delivery_id, storyboard=self.storyboard_id
        )


# In this order: the last ones change what the first ones show.
ROUTES = [
    ("GET", "/v1/jobs/{job}", 200),
    ("HEAD", "/v1/jobs/{job}/events", 200),
    ("GET", "/v1/jobs/{job}/events", 200),
    ("GET", "/v1/jobs/{job}/content", 200),
    ("HEAD", "/v1/jobs/{job}/content", 200),
    ("GET", "/v1/jobs/{job}/content?variant=thumbnail", 404),
    ("GET", "/v1/jobs/{job}/clips/0/content", 200),
    ("GET", "/v1/jobs/{job}/playlist.m3u8", 409),
    ("GET", "/v1/jobs/{job}/clips/0/segments", 409),
    ("GET", "/v1/artifacts/{artifact}", 200),
    ("GET", "/v1/artifacts/{artifact}/content", 200),
    ("POST", "/v1/jobs/{job}/stream-tokens", 201),
    ("POST", "/v1/jobs/{job}/media-tokens", 201),
    ("GET", "/v1/jobs/{job}?signed=true", 200),
    ("GET", "/v1/artifacts/{artifact}?signed=true", 200),
    ("POST", "/v1/webhooks/deliveries/{delivery}/replay", 202),
    ("PATCH", "/v1/jobs/{job}", 200),
    ("GET", "/v1/storyboards/{storyboard}", 200),
    ("POST", "/v1/storyboards/{storyboard}/retry", 409),
    ("DELETE", "/v1/storyboards/{storyboard}", 204),
    ("POST", "/v1/jobs/{job}/cancel", 202),
    ("POST", "/v1/jobs/{job}/retry", 409),
    ("DELETE", "/v1/artifacts/{artifact}", 204),
    ("DELETE", "/v1/jobs/{job}", 204),
]


@pytest.fixture
async def belongings(owner: Api, png_file: Path) -> Belongings:
    job = await owner.submit(webhook={"url": "https://good.example/"})
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.finish_next("media", OutputName.OUTPUT, b"video")
    artifact = (await owner.upload(png_file)).json()
    (delivery,) = (await owner.http.get("/v1/webhooks/deliveries")).json()["data"]
    storyboard = (await owner.http.post("/v1/storyboards", json={"idea": "a boat"})).json()
    return Belongings(job["id"], artifact["id"], delivery["id"], storyboard["id"])


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    if response.request.method == "HEAD":
        assert response.status_code == status
    else:
        assert_problem(response, status, code)


async def test_the_owner_gets_what_it_made(owner: Api, belongings: Belongings) -> None:
    answered = [(method, path, (await ask(owner, method, path, belongings)).status_code) for method, path, _ in ROUTES]

    assert answered == ROUTES


async def ask(api: Api, method: str, path: str, belongings: Belongings) -> httpx.Response:
    headers = {"Accept": "application/json"} if "/events" in path else {}
    body = {"json": {"favorite": True}} if method == "PATCH" else {}
    return await api.http.request(method, belongings.fill(path), headers=headers, **body)


@pytest.mark.parametrize("scopes", [(), (Scope.ADMIN,)], ids=["read and write", "admin"])
async def test_to_another_key_it_does_not_exist(
    guarded: GuardedApi, belongings: Belongings, scopes: tuple[Scope, ...]
) -> None:
    other = await guarded.caller(*scopes)

    for method, path, _ in ROUTES:
        assert_refused(await ask(other, method, path, belongings), 404, "NOT_FOUND")


async def test_a_revoked_key_and_no_key_get_nothing(
    guarded: GuardedApi, key: str, owner: Api, belongings: Belongings
) -> None:
    await guarded.revoke(key)

    for api in (owner, guarded.api):
        for method, path, _ in ROUTES:
            assert_refused(await ask(api, method, path, belongings), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("field", ["soundtrack", "image", "stitch", "source", "lips"])
async def test_another_keys_artifact_cannot_be_used(guarded: GuardedApi, belongings: Belongings, field: str) -> None:
    other, artifact_id = await guarded.caller(), belongings.artifact_id
    path, body = {
        "soundtrack": ("/v1/reels", reel_body(soundtrack={"artifact_id": artifact_id})),
        "image": (
            "/v1/reels",
            {
                "clips": [
                    {"prompt": "x", "conditions": [{"role": "first_frame", "source": {"artifact_id": artifact_id}}]}
                ]
            },
        ),
        "stitch": ("/v1/stitches", {"artifact_ids": [artifact_id]}),
        "source": ("/v1/soundtracks", {"source": {"artifact_id": artifact_id}}),
        "lips": ("/v1/lipsyncs", {"video": artifact_id, "audio": artifact_id}),
    }[field]

    assert_problem(await other.http.post(path, json=body), 422, "INVALID_REQUEST")


async def test_a_token_for_one_job_opens_nothing_else(guarded: GuardedApi, owner: Api, belongings: Belongings) -> None:
    job = await owner.submit()
    token = (await owner.http.post(f"/v1/jobs/{belongings.job_id}/stream-tokens")).json()["token"]
    nobody = guarded.api.http

    own = await nobody.get(f"/v1/jobs/{belongings.job_id}/events", params={"token": token, "last_event_id": 99999})
    other = await nobody.get(f"/v1/jobs/{job['id']}/events", params={"token": token})
    as_key = await nobody.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})

    assert own.status_code in (200, 204)
    assert_problem(other, 403, "FORBIDDEN")
    assert_problem(as_key, 401, "UNAUTHENTICATED")
