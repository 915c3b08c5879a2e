"""The audit log: what gets an entry, what an entry says, and how long it stays."""

from typing import Any

import pytest
from sqlalchemy import update

from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi, id_of
from phoenix.access.audit import Act, Actor, AuditFilter, audited_write, delete_old_acts, list_acts, record_act
from phoenix.access.keys import Scope
from phoenix.access.tables import AuditRow
from phoenix.db import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Conflict

DAY_S = 24 * 3600.0


def an_act(action: str = "job.cancel", target: str = "job_1", *, key_id: str = "key_admin") -> Act:
    return Act(Actor(key_id, address="192.0.2.7"), action, target, "key_b", {"priority": "high"})


async def add(database: Database, *acts: Act) -> None:
    for act in acts:
        async with database.write() as uow:
            await record_act(uow, act)


async def actions(database: Database, **wanted: Any) -> list[str]:
    entries, _ = await list_acts(database, AuditFilter(**wanted), limit=100, before_id=None)
    return [entry.action for entry in entries]


async def test_an_entry_says_who_did_what_to_what_and_from_where(database: Database) -> None:
    async with audited_write(database, an_act()):
        pass

    (entry,), has_more = await list_acts(database, AuditFilter(), limit=1, before_id=None)

    shown = (entry.actor, entry.address, entry.action, entry.target, entry.owner, entry.outcome, entry.details)
    assert shown == ("key_admin", "192.0.2.7", "job.cancel", "job_1", "key_b", "done", {"priority": "high"})
    assert not has_more


async def test_a_refused_act_is_undone_and_has_an_entry_with_the_code(database: Database) -> None:
    async def refuse() -> None:
        async with audited_write(database, an_act()) as uow:
            await record_act(uow, an_act("job.retry"))
            raise Conflict

    with pytest.raises(Conflict):
        await refuse()

    entries, _ = await list_acts(database, AuditFilter(), limit=10, before_id=None)

    assert [(entry.action, entry.outcome) for entry in entries] == [("job.cancel", "CONFLICT")]


async def test_entries_are_filtered_by_each_field(database: Database) -> None:
    await add(database, an_act("a", "x"), an_act("b", "y", key_id="key_c"))

    assert await actions(database) == ["b", "a"]
    for wanted in ({"actor": "key_c"}, {"action": "b"}, {"target": "y"}):
        assert await actions(database, **wanted) == ["b"]
    assert await actions(database, owner="key_b") == ["b", "a"]
    assert await actions(database, owner="key_z") == []


async def test_only_old_entries_are_deleted(database: Database) -> None:
    await add(database, an_act("old"), an_act("new"))
    async with database.write() as uow:
        await uow.session.execute(update(AuditRow).where(AuditRow.action == "old").values(at=db_now(-3 * DAY_S)))  # pyright: ignore[reportArgumentType]

    async with database.write() as uow:
        deleted = await delete_old_acts(uow, older_than_s=2 * DAY_S)

    assert (deleted, await actions(database)) == (1, ["new"])


async def test_pages_follow_each_other_without_a_gap(api: Api) -> None:
    for queue in ("gpu", "media", "remote"):
        await api.http.post(f"/v1/queues/{queue}/pause")

    first = (await api.http.get("/v1/audit?limit=2")).json()
    second = (await api.http.get("/v1/audit", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    targets = [entry["target"] for page in (first, second) for entry in page["data"]]
    assert (targets, second["has_more"]) == (["remote", "media", "gpu"], False)
    assert_problem(await api.http.get("/v1/audit?cursor=x"), 400, "INVALID_REQUEST")


async def test_acts_on_jobs_of_others_are_logged_and_acts_on_own_jobs_are_not(guarded: GuardedApi) -> None:
    key, admin_key = await guarded.make_key(), await guarded.make_key(Scope.ADMIN)
    owner, admin = guarded.client(key), guarded.client(admin_key)
    own, job = await admin.submit(), await owner.submit()
    await admin.http.post(f"/v1/jobs/{own['id']}/cancel?owner=all")
    await admin.http.post(f"/v1/jobs/{job['id']}/cancel?owner=all")
    await admin.http.post(f"/v1/jobs/{job['id']}/cancel?owner=all")

    entries = (await admin.http.get("/v1/audit")).json()["data"]

    shown = [(each["actor"], each["action"], each["target"], each["owner"], each["outcome"]) for each in entries]
    act = (id_of(admin_key), "job.cancel", job["id"], id_of(key))
    assert shown == [(*act, "JOB_ENDED"), (*act, "done")]
    assert all(each["address"] == "127.0.0.1" for each in entries)


async def test_only_operators_and_administrators_read_the_log(guarded: GuardedApi) -> None:
    caller = await guarded.caller()

    assert_problem(await caller.http.get("/v1/audit"), 403, "FORBIDDEN")
