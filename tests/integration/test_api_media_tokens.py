"""URLs that load the media of one job or artifact without a header."""

import io
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi, open_guarded_api
from fixtures.log_lines import lines_about
from fixtures.s3_server import Bucket
from phoenix.access.keys import Caller, Scope, ids_of
from phoenix.clock import utc_now
from phoenix.settings import Settings
from phoenix.storage.keys import OutputName

VIDEO = bytes(range(256)) * 40


async def finished_job(owner: Api) -> str:
    job = await owner.submit()
    await owner.finish_next("gpu", OutputName.CLIP, b"the clip")
    await owner.finish_next("media", OutputName.OUTPUT, VIDEO)
    return job["id"]


async def urls_of(owner: Api, job_id: str) -> dict[str, Any]:
    response = await owner.http.post(f"/v1/jobs/{job_id}/media-tokens")
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return response.json()


def token_in(url: str) -> str:
    return url.partition("token=")[2]


async def test_the_urls_of_a_job_need_no_key(guarded: GuardedApi, owner: Api) -> None:
    urls = await urls_of(owner, await finished_job(owner))

    content, clip = [await guarded.api.http.get(url) for url in (urls["content"], urls["clips"][0])]

    assert (content.status_code, content.content) == (200, VIDEO)
    assert (clip.status_code, clip.content) == (200, b"the clip")
    assert_problem(await guarded.api.http.get(urls["thumbnail"]), 404, "NOT_FOUND")


async def test_a_player_seeks_with_a_url(guarded: GuardedApi, owner: Api) -> None:
    url = (await urls_of(owner, await finished_job(owner)))["content"]

    part = await guarded.api.http.get(url, headers={"Range": "bytes=100-119"})
    head = await guarded.api.http.head(url)

    assert (part.status_code, part.content) == (206, VIDEO[100:120])
    assert head.headers["content-length"] == str(len(VIDEO))


async def test_in_a_bucket_too_a_player_is_sent_ranges(api_settings: Settings, bucket: Bucket) -> None:
    redirecting = bucket.settings.model_copy(update={"redirect_downloads": True})
    async with open_guarded_api(api_settings.model_copy(update={"storage": redirecting}), leads=False) as guarded:
        owner = await guarded.caller()
        url = (await urls_of(owner, await finished_job(owner)))["content"]

        part = await guarded.api.http.get(url, headers={"Range": "bytes=5-9", "Sec-Fetch-Dest": "video"})
        download = await guarded.api.http.get(url)
        async with httpx.AsyncClient(trust_env=False, timeout=100) as outside:
            followed = await outside.get(download.headers["location"])

    assert (part.status_code, part.content) == (206, VIDEO[5:10])
    assert (download.status_code, followed.content) == (307, VIDEO)


async def test_urls_are_given_before_the_files_are_there(guarded: GuardedApi, owner: Api) -> None:
    job = await owner.submit("one", "two")
    urls = await urls_of(owner, job["id"])
    assert_problem(await guarded.api.http.get(urls["clips"][0]), 409, "CONFLICT")

    await owner.finish_next("gpu", OutputName.CLIP, b"the clip")

    assert (await guarded.api.http.get(urls["clips"][0])).content == b"the clip"
    assert len(urls["clips"]) == 2


async def test_a_job_and_an_artifact_show_signed_urls_when_asked(guarded: GuardedApi, owner: Api) -> None:
    job_id = await finished_job(owner)
    plain = await owner.show(job_id)

    signed = (await owner.http.get(f"/v1/jobs/{job_id}?signed=true")).json()
    artifact = (await owner.http.get(f"/v1/artifacts/{signed['output']['artifact_id']}?signed=true")).json()

    assert (plain["output"]["signed_url"], plain["clips"][0]["signed_url"]) == (None, None)
    for url, content in (
        (signed["output"]["signed_url"], VIDEO),
        (signed["clips"][0]["signed_url"], b"the clip"),
        (artifact["signed_url"], VIDEO),
    ):
        assert (await guarded.api.http.get(url)).content == content


async def test_a_job_that_is_asked_for_again_has_the_same_urls(owner: Api) -> None:
    url = f"/v1/jobs/{await finished_job(owner)}?signed=true"
    first = await owner.http.get(url)

    again = await owner.http.get(url, headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304


@pytest.mark.parametrize("signed", ["1", "yes", ""])
async def test_only_true_and_false_are_taken(owner: Api, signed: str) -> None:
    job = await owner.submit()

    assert_problem(await owner.http.get(f"/v1/jobs/{job['id']}?signed={signed}"), 422, "INVALID_REQUEST")


async def test_a_token_loads_nothing_but_the_media_of_its_job(guarded: GuardedApi, owner: Api) -> None:
    job_id, other = await finished_job(owner), await finished_job(owner)
    token = token_in((await urls_of(owner, job_id))["content"])
    nobody = guarded.api.http
    artifact = (await owner.show(job_id))["output"]["artifact_id"]

    assert_problem(await nobody.get(f"/v1/jobs/{other}/content?token={token}"), 403, "FORBIDDEN")
    assert_problem(await nobody.get(f"/v1/artifacts/{artifact}/content?token={token}"), 403, "FORBIDDEN")
    assert_problem(await nobody.get(f"/v1/jobs/{job_id}/events?token={token}"), 401, "UNAUTHENTICATED")
    assert_problem(await nobody.get(f"/v1/jobs/{job_id}/content?token={token}x"), 401, "UNAUTHENTICATED")
    assert (await nobody.get(f"/v1/jobs/{job_id}?token={token}")).status_code in (400, 401)


async def test_a_token_of_another_owner_is_of_no_use(guarded: GuardedApi, owner: Api) -> None:
    job_id = await finished_job(owner)
    other = guarded.client(await guarded.make_key())

    assert_problem(await other.http.post(f"/v1/jobs/{job_id}/media-tokens"), 404, "NOT_FOUND")


async def revoke(guarded: GuardedApi, key: str) -> None:
    await guarded.revoke(key)


async def replace_leaked(guarded: GuardedApi, key: str) -> None:
    await guarded.rotate(key, hours=0)


@pytest.mark.parametrize("end", [revoke, replace_leaked])
async def test_a_url_is_worth_no_more_than_the_secret_that_made_it(
    guarded: GuardedApi, key: str, owner: Api, end: Callable[[GuardedApi, str], Awaitable[None]]
) -> None:
    url = (await urls_of(owner, await finished_job(owner)))["content"]
    assert (await guarded.api.http.get(url)).status_code == 200

    await end(guarded, key)

    assert_problem(await guarded.api.http.get(url), 401, "UNAUTHENTICATED")


async def test_a_url_ends_with_its_time(guarded: GuardedApi, key: str, owner: Api) -> None:
    job_id = await finished_job(owner)
    owner_id, secret_id = ids_of(key)
    ended = Caller(owner_id, frozenset({Scope.READ}), secret_id, expires_at=utc_now())

    token, _ = await guarded.api.state.signed_urls.media_token(job_id, ended)

    assert_problem(await guarded.api.http.get(f"/v1/jobs/{job_id}/content?token={token}"), 401, "UNAUTHENTICATED")


async def test_urls_last_as_long_as_the_settings_say_and_longer_while_the_job_may_run(owner: Api) -> None:
    limits, longest_s = owner.services.settings.limits, owner.services.settings.api.media_url_s
    unfinished = (await owner.submit())["id"]
    running_s = limits.default_queue_timeout_s + limits.default_run_timeout_s
    await owner.http.post(f"/v1/jobs/{unfinished}/cancel")
    ended = await urls_of(owner, unfinished)
    running = await urls_of(owner, (await owner.submit())["id"])

    for urls, most_s in ((ended, longest_s), (running, longest_s + running_s)):
        lasts = datetime.fromisoformat(urls["expires_at"]) - utc_now()
        assert timedelta(seconds=most_s - longest_s / 12 - 10) < lasts <= timedelta(seconds=most_s)


async def test_wrong_tokens_count_as_failed_attempts(api_settings: Settings) -> None:
    limits = api_settings.limits.model_copy(update={"failed_auth_per_minute": 1})
    async with open_guarded_api(api_settings.model_copy(update={"limits": limits}), leads=False) as guarded:
        url = f"/v1/jobs/{(await (await guarded.caller()).submit())['id']}/content?token=a.b"

        statuses = [(await guarded.api.http.get(url)).status_code for _ in range(2)]

    assert statuses == [401, 429]


async def test_a_log_line_names_the_key_and_never_the_token(
    guarded: GuardedApi, key: str, owner: Api, log_lines: io.StringIO
) -> None:
    url = (await urls_of(owner, await finished_job(owner)))["content"]

    await guarded.api.http.get(url)

    line = lines_about(log_lines, "request")[-1]
    assert (line["key_id"], line["secret_id"]) == ids_of(key)
    assert token_in(url) not in log_lines.getvalue()


async def test_where_no_key_is_needed_urls_are_signed_all_the_same(api: Api, png_file: Path) -> None:
    artifact = (await api.upload(png_file)).json()

    shown = (await api.http.get(f"/v1/artifacts/{artifact['id']}?signed=true")).json()

    assert (await api.http.get(shown["signed_url"])).headers["etag"] == f'"{artifact["sha256"]}"'
    assert artifact["signed_url"] is None
