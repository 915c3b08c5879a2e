"""Posting jobs, and everything that can be wrong with one. What is refused leaves nothing behind."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from builders import add_file, claim_next
from fixtures.api import Api, assert_problem, open_api, pointers, reel_body
from fixtures.redis_server import RedisServer
from phoenix.contract import MediaInfo
from phoenix.jobs.tables import EventRow, JobRow, TaskRow
from phoenix.settings import Settings

NO_ARTIFACT = "art_" + "0" * 26


def last_frame(artifact_id: str) -> dict[str, Any]:
    """A role that the default model does not take."""
    return {"role": "last_frame", "source": {"artifact_id": artifact_id}}


async def count_rows(api: Api) -> int:
    async with api.services.database.read() as session:
        counts = [
            await session.scalar(select(func.count()).select_from(table)) for table in (JobRow, TaskRow, EventRow)
        ]
    return sum(count or 0 for count in counts)


async def add_artifact(api: Api, number: int, *, owner_id: str = "anonymous", **info: Any) -> str:
    artifact_id = f"art_{number:026}"
    async with api.services.database.write() as uow:
        await add_file(uow, artifact_id, MediaInfo(media="video", format="mp4", **info), owner_id=owner_id)
    return artifact_id


async def test_a_reel_is_accepted_with_where_to_follow_it(api: Api) -> None:
    response = await api.http.post(
        "/v1/reels",
        json=reel_body("one", "two", metadata={"customer": "42"}, priority="high"),
        headers={"X-Request-ID": "mine"},
    )

    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["x-request-id"] == job["request_id"] == "mine"
    assert (job["state"], job["kind"], job["model"], job["progress"]) == ("queued", "reel", "animatic", 0)
    assert (job["metadata"], job["priority"], job["last_seq"]) == ({"customer": "42"}, "high", 1)
    assert [clip["prompt"] for clip in job["clips"]] == ["one", "two"]
    assert [clip["seed"] for clip in job["clips"]] == [7, 8]
    assert job["waiting_reason"]["code"] == "NO_WORKER_FOR_QUEUE"


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=0"}], ids=["at once", "read again"])
async def test_the_answer_shows_the_job_as_a_look_at_it_does(api: Api, headers: dict[str, str]) -> None:
    body = reel_body("one", "two", metadata={"customer": "42"}, priority="high", run_timeout_s=60)

    job = (await api.http.post("/v1/reels", json=body, headers=headers)).json()

    assert job == (await api.http.get(f"/v1/jobs/{job['id']}")).json()


async def test_a_reel_without_a_seed_is_given_one_that_is_shown(api: Api) -> None:
    seeds = {(await api.submit(seed=None))["clips"][0]["seed"] for _ in range(3)}

    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/clips"),
        ({"clips": []}, "/clips"),
        ({"clips": [{"prompt": "x"}] * 10_000}, "/clips"),
        ({"clips": [{"prompt": ""}]}, "/clips/0/prompt"),
        ({"clips": [{"prompt": " \n\t"}]}, "/clips/0/prompt"),
        ({"clips": [{"prompt": "x" * 100_000}]}, "/clips/0/prompt"),
        ({"clips": [{"prompt": "\ud800"}]}, "/clips/0/prompt"),
        ({"clips": [{}]}, "/clips/0/prompt"),
        ({"clips": "one"}, "/clips"),
        (reel_body(resolution="9000p"), "/resolution"),
        (reel_body(aspect_ratio="100:1"), "/aspect_ratio"),
        (reel_body(duration_s=599), "/duration_s"),
        (reel_body(duration_s=-1), "/duration_s"),
        (reel_body(duration_s=float("inf")), "/duration_s"),
        (reel_body(duration_s="long"), "/duration_s"),
        (reel_body(model="sora-9"), "/model"),
        (reel_body(promt="x"), "/promt"),
        ({"clips": [{"prompt": "x", "sed": 1}]}, "/clips/0/sed"),
        (reel_body(seed=2**32), "/seed"),
        (reel_body(fps=0), "/fps"),
        (reel_body(priority="urgent"), "/priority"),
        (reel_body(metadata={"k" * 65: "v"}), "/metadata/" + "k" * 65),
        (reel_body(metadata={"k": 1}), "/metadata/k"),
        (reel_body(soundtrack={}), "/soundtrack"),
        (reel_body(soundtrack={"artifact_id": "art_x"}), "/soundtrack/artifact_id"),
        (reel_body(soundtrack={"artifact_id": NO_ARTIFACT}), "/soundtrack/artifact_id"),
        (reel_body(soundtrack={"url": "http://example.org/a.mp3"}), "/soundtrack/url"),
        (reel_body(transition={"kind": "crossfade", "duration_s": 0}), "/transition/duration_s"),
        (reel_body(webhook={"url": "ftp://example.org"}), "/webhook/url"),
        ([], ""),
        ("reel", ""),
        (None, ""),
    ],
)
async def test_a_bad_reel_names_the_field_and_leaves_nothing(api: Api, body: Any, pointer: str) -> None:
    # httpx itself refuses to send some of these as `json=`.
    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    response = await api.http.post("/v1/reels", content=content, headers=headers)

    problem = assert_problem(response, 422, "INVALID_REQUEST")
    assert pointer in pointers(problem)
    assert all(error["detail"] for error in problem["errors"])
    # The prompt of 100 kB must not come back.
    assert len(response.content) < 5000
    assert await count_rows(api) == 0


async def test_all_faults_of_a_body_are_reported_at_once(api: Api) -> None:
    body = {"clips": [{"prompt": ""}, {"prompt": "ok", "seed": -1}], "fsp": 16, "resolution": "9p"}

    problem = assert_problem(await api.http.post("/v1/reels", json=body), 422, "INVALID_REQUEST")

    assert set(pointers(problem)) == {"/clips/0/prompt", "/clips/1/seed", "/fsp", "/resolution"}


async def test_all_faults_that_the_model_and_the_artifacts_decide_are_reported_at_once(api: Api) -> None:
    body = {
        "clips": [{"prompt": "a", "duration_s": 500}, {"prompt": "b", "conditions": [last_frame(NO_ARTIFACT)]}],
        "steps": 1000,
        "soundtrack": {"artifact_id": NO_ARTIFACT},
    }

    problem = assert_problem(await api.http.post("/v1/reels", json=body), 422, "INVALID_REQUEST")

    expected = {
        "/clips/0/duration_s",
        "/clips/1/conditions/0/role",
        "/clips/1/conditions/0/source/artifact_id",
        "/soundtrack/artifact_id",
    }
    assert expected <= set(pointers(problem))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"clips": [}', b"\xff\xfe", b"[" * 100_000, b'{"seed": 1' + b"0" * 5000 + b"}"],
)
async def test_a_body_that_is_not_json_is_refused(api: Api, content: bytes) -> None:
    response = await api.http.post("/v1/reels", content=content, headers={"Content-Type": "application/json"})

    assert_problem(response, 422 if content == b"" else 400, "INVALID_REQUEST")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_does_not_say_it_is_json_is_refused(api: Api, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    response = await api.http.post("/v1/reels", content=b'{"clips": [{"prompt": "x"}]}', headers=headers)

    assert_problem(response, 415, "UNSUPPORTED_MEDIA")


async def test_a_body_over_the_limit_is_refused_and_the_connection_closed(api: Api) -> None:
    response = await api.http.post("/v1/reels", json=reel_body(metadata={"x": "y" * 1_000_001}))

    assert_problem(response, 413, "PAYLOAD_TOO_LARGE")
    assert response.headers["connection"] == "close"


async def test_a_full_queue_says_when_to_retry(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"max_queued_jobs": 1})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        await api.submit()

        response = await api.http.post("/v1/reels", json=reel_body())

        assert_problem(response, 503, "QUEUE_FULL")
        assert int(response.headers["retry-after"]) > 0


async def test_a_reel_is_accepted_while_redis_is_away(api: Api, redis_server: RedisServer) -> None:
    redis_server.kill()

    job = await api.submit()

    assert (await api.show(job["id"]))["state"] == "queued"


async def test_without_its_database_a_server_refuses_for_the_time_being(api_settings: Settings) -> None:
    away = api_settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1/none"})
    async with open_api(api_settings.model_copy(update={"database": away})) as api:
        response = await api.http.post("/v1/reels", json=reel_body())

        problem = assert_problem(response, 503, "UNAVAILABLE")
        assert int(response.headers["retry-after"]) > 0
        assert "127.0.0.1" not in response.text
        assert problem["detail"] == "The database is away."


async def test_places_in_the_queue_are_counted_in_jobs(api: Api) -> None:
    await api.register_worker(slots=0)

    places = [(await api.submit("a", "b"))["queue_position"] for _ in range(3)]

    assert places == [0, 1, 2]


async def test_the_next_job_waits_for_a_slot_only_while_all_are_busy(api: Api) -> None:
    await api.register_worker("gpu", slots=1)
    first = await api.submit("a")
    idle = (await api.show(first["id"]))["waiting_reason"]["detail"]
    await claim_next(api.services.database)
    second = await api.submit("b")

    assert (idle, second["waiting_reason"]["detail"]) == (
        "A worker is about to start it.",
        "It is next: every slot is busy.",
    )


async def test_a_stitch_of_own_videos_is_accepted(api: Api) -> None:
    first, second = [await add_artifact(api, number, duration_s=2.0) for number in (1, 2)]

    response = await api.http.post("/v1/stitches", json={"artifact_ids": [first, second]})

    assert response.status_code == 202
    assert response.json()["kind"] == "stitch"
    assert response.json()["request"]["artifact_ids"] == [first, second]


async def test_a_stitch_of_what_is_not_a_video_of_ones_own_names_each(api: Api) -> None:
    foreign = await add_artifact(api, 1, owner_id="somebody else")

    problem = assert_problem(
        await api.http.post("/v1/stitches", json={"artifact_ids": [foreign, NO_ARTIFACT]}), 422, "INVALID_REQUEST"
    )

    assert pointers(problem) == ["/artifact_ids/0", "/artifact_ids/1"]


async def test_a_soundtrack_job_shows_its_request_without_what_was_not_given(api: Api) -> None:
    sound = await add_artifact(api, 1, duration_s=9.0, audio_codec="aac")

    response = await api.http.post("/v1/soundtracks", json={"source": {"artifact_id": sound}, "duration_s": 5})

    assert response.status_code == 202
    assert response.json()["request"]["source"]["artifact_id"] == sound
    assert "url" not in response.json()["request"]["source"]


async def test_errors_of_form_hide_no_errors_of_the_model_and_of_files(api: Api) -> None:
    clips = [{"prompt": "a balloon", "conditions": [last_frame("art_" + "0" * 26)]}, {"prompt": "the sea", "sed": 3}]
    body = {"model": "animatic", "clips": clips, "fps": 999, "duration_s": 400, "webhook": {"url": "https://localhost"}}

    problem = assert_problem(await api.http.post("/v1/reels?dry_run=1", json=body), 422, "INVALID_REQUEST")

    form = ["/clips/1/sed", "/fps", "/query/dry_run"]
    others = {"/clips/0/conditions/0/role", "/clips/0/conditions/0/source/artifact_id", "/duration_s", "/webhook/url"}
    assert pointers(problem)[:3] == form
    assert set(pointers(problem)[3:]) == others


async def test_an_unknown_model_hides_no_errors_of_files(api: Api) -> None:
    body = {"model": "none", "clips": [{"prompt": "x"}], "soundtrack": {"artifact_id": "art_" + "0" * 26}}

    problem = assert_problem(await api.http.post("/v1/reels", json=body), 422, "INVALID_REQUEST")

    assert set(pointers(problem)) == {"/model", "/soundtrack/artifact_id"}
