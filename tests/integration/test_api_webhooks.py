"""Webhooks from the end of a job to a real receiver: sent once it is over, signed, tried again, and replayable."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlmodel import col
from standardwebhooks.webhooks import Webhook

from builders import OWNER, complete_next
from fixtures.api import Api, assert_problem, open_api, reel_body, until
from fixtures.callers import GuardedApi
from fixtures.webhook_receiver import Receiver, end_job, receiving, status, trusting
from phoenix.access.keys import Scope
from phoenix.db import db_now
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.webhooks.outbox import MAX_PAYLOAD_BYTES
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow, WebhookSecretRow
from phoenix.settings import Settings


async def secret_of(api: Api) -> str:
    secret: str = (await api.http.get("/v1/webhooks/secret")).json()["secret"]
    return secret


async def deliveries(api: Api, **params: Any) -> list[dict[str, Any]]:
    response = await api.http.get("/v1/webhooks/deliveries", params=params)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def settled(api: Api, **expected: Any) -> dict[str, Any]:
    """The one delivery, once it has these values."""

    async def is_so() -> bool:
        return [{name: each[name] for name in expected} for each in await deliveries(api)] == [expected]

    await until(is_so)
    return (await deliveries(api))[0]


async def has_failed_once(api: Api) -> bool:
    return [(each["attempts"], each["last_error"] is not None) for each in await deliveries(api)] == [(1, True)]


async def make_due(api: Api) -> None:
    """Makes every delivery due that waits for its next try."""
    async with api.services.database.write() as uow:
        await uow.session.execute(update(WebhookDeliveryRow).values(next_at=await uow.now()))


async def test_the_end_of_a_job_is_sent_signed(webhook_api: Api, receiver: Receiver) -> None:
    job_id = await end_job(webhook_api, receiver.url("/hook?x=1"))

    received = await receiver.next()
    said = Webhook(await secret_of(webhook_api)).verify(received.body, received.headers)

    assert received.target == "/hook?x=1"
    assert received.headers["content-type"] == "application/json"
    assert said["type"] == "job.canceled"
    assert said["data"]["job_id"] == job_id
    assert (said["data"]["state"], said["data"]["metadata"]) == ("canceled", {"customer": "42"})
    delivery = await settled(webhook_api, state="succeeded", attempts=1, last_status=204)
    assert delivery["id"] == received.headers["webhook-id"]
    assert delivery["next_attempt_at"] is None


async def test_a_success_is_sent_with_its_output(webhook_api: Api, receiver: Receiver) -> None:
    await webhook_api.submit(webhook={"url": receiver.url()})
    for queue in ("gpu", "media"):
        await complete_next(webhook_api.services.database, queue)

    said = json.loads((await receiver.next()).body)

    assert said["type"] == "job.succeeded"
    assert said["data"]["output"]["url"] == f"/v1/jobs/{said['data']['job_id']}/content"


async def test_only_the_events_that_were_asked_for_are_sent(webhook_api: Api, receiver: Receiver) -> None:
    await end_job(webhook_api, receiver.url("/unwanted"), events=["job.succeeded", "job.failed"])
    await end_job(webhook_api, receiver.url("/wanted"), events=["job.canceled"])

    assert (await receiver.next()).target == "/wanted"
    assert len(await deliveries(webhook_api)) == 1


async def test_a_job_that_ended_twice_is_sent_twice(webhook_api: Api, receiver: Receiver) -> None:
    job_id = await end_job(webhook_api, receiver.url())
    await webhook_api.http.post(f"/v1/jobs/{job_id}/retry")
    await webhook_api.http.post(f"/v1/jobs/{job_id}/cancel")

    received = [await receiver.next(), await receiver.next()]

    assert len({one.headers["webhook-id"] for one in received}) == 2


async def test_a_payload_stays_short_at_the_expense_of_the_metadata(webhook_api: Api, receiver: Receiver) -> None:
    metadata = {f"key {number}": "é" * 512 for number in range(32)}
    response = await webhook_api.http.post(
        "/v1/reels", json=reel_body(webhook={"url": receiver.url()}, metadata=metadata)
    )
    await webhook_api.http.post(f"/v1/jobs/{response.json()['id']}/cancel")

    received = await receiver.next()

    assert len(received.body) < MAX_PAYLOAD_BYTES
    assert json.loads(received.body)["data"]["metadata"] == {}


@pytest.mark.parametrize(
    "answer", [status("500 X"), status("404 X"), status("302 Found", "location: /there"), b"nonsense\r\n\r\n"]
)
async def test_a_failure_is_tried_again_under_the_same_id(webhook_api: Api, receiver: Receiver, answer: bytes) -> None:
    receiver.answers.append(answer)
    await end_job(webhook_api, receiver.url())
    first = await receiver.next()

    await until(lambda: has_failed_once(webhook_api))
    await make_due(webhook_api)
    second = await receiver.next()

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.target == "/hook"
    await settled(webhook_api, state="succeeded", attempts=2)


async def test_a_target_may_ask_for_more_time(webhook_api: Api, receiver: Receiver) -> None:
    receiver.answers.append(status("503 X", "retry-after: 3600"))
    await end_job(webhook_api, receiver.url())

    waiting = await settled(webhook_api, state="pending", last_status=503)

    created, due = waiting["created_at"], waiting["next_attempt_at"]
    assert due > created
    async with webhook_api.services.database.read() as session:
        row = (await session.scalars(select(WebhookDeliveryRow))).one()
    assert (row.next_at - row.created_at).total_seconds() > 3500


async def test_a_try_that_breaks_off_here_counts_as_well(webhook_api: Api, receiver: Receiver) -> None:
    await secret_of(webhook_api)
    async with webhook_api.services.database.write() as uow:
        await uow.session.execute(update(WebhookSecretRow).values(secret="whsec_that is none"))
    await end_job(webhook_api, receiver.url())

    await until(lambda: has_failed_once(webhook_api))

    async with webhook_api.services.database.read() as session:
        soon = select(WebhookDeliveryRow).where(col(WebhookDeliveryRow.next_at) < db_now(10))
        assert (await session.scalars(soon)).one().attempts == 1


async def test_the_webhook_of_a_newer_version_is_sent_and_blocks_no_other(webhook_api: Api, receiver: Receiver) -> None:
    job = await webhook_api.submit(webhook={"url": receiver.url("/newer")})
    async with webhook_api.services.database.write() as uow:
        await cancel(uow, job["id"], owner_id=OWNER)
        row = (await uow.session.scalars(select(WebhookDeliveryRow))).one()
        row.payload = {"type": "job.paused", "timestamp": "2026-11-21T12:00:00Z", "data": {"kind": "slide show"}}
    await end_job(webhook_api, receiver.url("/ours"))

    received = {each.target: json.loads(each.body) for each in (await receiver.next(), await receiver.next())}
    assert set(received) == {"/newer", "/ours"}
    assert received["/newer"]["data"] == {"kind": "slide show"}


async def test_after_the_last_try_it_is_given_up(webhook_api: Api, receiver: Receiver) -> None:
    receiver.answers += [status("500 X")] * 2
    await end_job(webhook_api, receiver.url())
    await receiver.next()
    await settled(webhook_api, state="pending", attempts=1, last_status=500)
    async with webhook_api.services.database.write() as uow:
        await uow.session.execute(update(WebhookDeliveryRow).values(next_at=await uow.now(), attempts=9))

    given_up = await settled(webhook_api, state="failed", attempts=10)

    assert given_up["next_attempt_at"] is None


async def test_a_target_that_is_gone_is_left_alone_until_a_replay(webhook_api: Api, receiver: Receiver) -> None:
    receiver.answers.append(status("410 Gone"))
    await end_job(webhook_api, receiver.url())
    await receiver.next()
    first = await settled(webhook_api, state="failed", last_status=410)

    await end_job(webhook_api, receiver.url())
    second = (await deliveries(webhook_api))[0]
    assert (second["state"], second["attempts"]) == ("failed", 0)

    replayed = await webhook_api.http.post(f"/v1/webhooks/deliveries/{first['id']}/replay")
    assert replayed.status_code == 202
    assert (await receiver.next()).headers["webhook-id"] == first["id"]
    await end_job(webhook_api, receiver.url())
    assert (await receiver.next()).headers["webhook-id"] not in (first["id"], second["id"])


async def test_a_delivery_can_be_replayed(webhook_api: Api, receiver: Receiver) -> None:
    await end_job(webhook_api, receiver.url())
    first = await receiver.next()
    delivery = await settled(webhook_api, state="succeeded")

    await webhook_api.http.post(f"/v1/webhooks/deliveries/{delivery['id']}/replay")

    again = await receiver.next()
    assert (again.body, again.headers["webhook-id"]) == (first.body, delivery["id"])


async def test_after_a_rotation_both_secrets_are_good(webhook_api: Api, receiver: Receiver) -> None:
    old = await secret_of(webhook_api)
    rotated = (await webhook_api.http.post("/v1/webhooks/secret/rotate")).json()
    assert rotated["secret"] != old
    assert rotated["previous_valid_until"]
    await end_job(webhook_api, receiver.url())

    received = await receiver.next()

    for secret in (old, rotated["secret"]):
        Webhook(secret).verify(received.body, received.headers)
    assert await secret_of(webhook_api) == rotated["secret"]


async def test_a_slow_target_does_not_hold_the_others_up(api_settings: Settings, receiver: Receiver) -> None:
    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with receiving() as quick:
        settings = trusting(api_settings, receiver.port, quick.port, max_concurrent=16)
        async with open_api(settings) as api:
            receiver.answers += [never] * 5
            for _ in range(5):
                await end_job(api, receiver.url())
            await end_job(api, quick.url())

            await quick.next()
            pending = [each for each in await deliveries(api) if each["url"] == receiver.url()]

    assert {each["state"] for each in pending} == {"pending"}
    assert sum(each["attempts"] for each in pending) <= 2


async def test_a_target_that_says_nothing_is_given_up_in_time(api_settings: Settings, receiver: Receiver) -> None:
    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    receiver.answers.append(never)
    async with open_api(trusting(api_settings, receiver.port, timeout_s=0.2)) as api:
        await end_job(api, receiver.url())

        assert (await settled(api, state="pending", last_error="No response within 0.2 s."))["last_status"] is None


async def test_of_an_endless_answer_only_the_beginning_is_read(webhook_api: Api, receiver: Receiver) -> None:
    sent_bytes = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
            await writer.drain()
            sent_bytes += 1024

    receiver.answers.append(endless)
    await end_job(webhook_api, receiver.url())

    await settled(webhook_api, state="succeeded", last_status=200)
    assert sent_bytes < 20_000_000


async def test_a_name_that_leads_inside_is_not_called(api_settings: Settings, receiver: Receiver) -> None:
    async with open_api(trusting(api_settings, receiver.port, allow_private=False)) as api:
        job = await api.submit(webhook={"url": f"http://good.example:{receiver.port}/"})
        async with api.services.database.write() as uow:
            # As if the name, good when it was submitted, had been turned inside since then.
            await uow.session.execute(update(WebhookDeliveryRow).values(url=receiver.url()))
        await api.http.post(f"/v1/jobs/{job['id']}/cancel")
        async with api.services.database.write() as uow:
            await uow.session.execute(update(WebhookDeliveryRow).values(url=receiver.url(), next_at=await uow.now()))

        async def is_refused() -> bool:
            return (await deliveries(api))[0]["last_error"] == "This URL may not be called."

        await until(is_refused)
    assert receiver.received.empty()


async def test_a_delivery_is_written_with_its_event_or_not_at_all(webhook_api: Api, receiver: Receiver) -> None:
    job = await webhook_api.submit(webhook={"url": receiver.url()})
    async with webhook_api.services.database.write() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql("DROP TABLE webhook_deliveries")

    response = await webhook_api.http.post(f"/v1/jobs/{job['id']}/cancel")

    assert response.status_code == 503
    assert (await webhook_api.show(job["id"]))["state"] == "queued"


async def test_deleting_a_job_deletes_its_deliveries(webhook_api: Api, receiver: Receiver) -> None:
    job_id = await end_job(webhook_api, receiver.url())

    assert (await webhook_api.http.delete(f"/v1/jobs/{job_id}")).status_code == 204

    async with webhook_api.services.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(WebhookDeliveryRow)) == 0


async def test_deliveries_are_listed_by_job_and_by_page(webhook_api: Api, receiver: Receiver) -> None:
    ids = [await end_job(webhook_api, receiver.url()) for _ in range(3)]

    first = (await webhook_api.http.get("/v1/webhooks/deliveries", params={"limit": 2})).json()
    second = (await webhook_api.http.get("/v1/webhooks/deliveries", params={"cursor": first["next_cursor"]})).json()

    assert [each["job_id"] for each in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [each["job_id"] for each in await deliveries(webhook_api, job_id=ids[1])] == [ids[1]]


async def test_deliveries_and_secrets_are_their_owners_alone(guarded: GuardedApi) -> None:
    mine, theirs = await guarded.caller(), await guarded.caller()
    job = await mine.submit(webhook={"url": "https://good.example/"})
    await mine.http.post(f"/v1/jobs/{job['id']}/cancel")
    (delivery,) = await deliveries(mine)

    assert await deliveries(theirs) == []
    response = await theirs.http.post(f"/v1/webhooks/deliveries/{delivery['id']}/replay")
    assert_problem(response, 404, "NOT_FOUND")
    assert await secret_of(mine) != await secret_of(theirs)


async def test_a_key_that_may_only_read_does_not_see_the_secret(guarded: GuardedApi) -> None:
    reader = await guarded.caller(Scope.READ)

    assert_problem(await reader.http.get("/v1/webhooks/secret"), 403, "FORBIDDEN")


@pytest.mark.parametrize("delivery_id", ["whd_" + "0" * 26, "x", "..%2f", "%00"])
async def test_an_unknown_delivery_is_not_found(api: Api, delivery_id: str) -> None:
    assert (await api.http.post(f"/v1/webhooks/deliveries/{delivery_id}/replay")).status_code == 404
