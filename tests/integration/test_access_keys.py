"""API keys, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from phoenix.access.keys import (
    Caller,
    Scope,
    create_key,
    find_callers,
    find_invalid,
    list_keys,
    record_use,
    revoke_key,
    rotate_key,
)
from phoenix.access.tables import ApiKeyRow
from phoenix.db.columns import db_now
from phoenix.db.unit_of_work import Database
from phoenix.errors import Conflict, Forbidden, NotFound


async def make_key(database: Database, *scopes: Scope) -> str:
    async with database.write() as uow:
        return await create_key(uow, "front end", scopes or (Scope.READ, Scope.WRITE))


async def find_caller(database: Database, key: str) -> Caller | None:
    return (await find_callers(database, [key])).get(key)


async def test_a_key_names_its_owner_and_scopes(database: Database) -> None:
    key = await make_key(database, Scope.READ)

    caller = await find_caller(database, key)

    assert caller is not None
    assert caller.owner_id == key.split("_")[1]
    assert caller.scopes == {Scope.READ}


async def test_a_key_is_not_stored(database: Database) -> None:
    key = await make_key(database)

    async with database.read() as session:
        (row,) = await list_keys(session)

    assert key.split("_", 2)[2] not in row.model_dump_json()


@pytest.mark.parametrize("wrong", ["", "phx_", "phx_000000000000_" + "a" * 43, "Bearer x", "phx_\x00_" + "a" * 43])
async def test_what_is_no_key_is_refused(database: Database, wrong: str) -> None:
    assert await find_caller(database, wrong) is None


async def test_a_right_id_with_a_wrong_secret_is_refused(database: Database) -> None:
    key = await make_key(database)

    assert await find_caller(database, key[:-1] + ("a" if key[-1] != "a" else "b")) is None


async def test_a_revoked_key_is_refused(database: Database) -> None:
    key = await make_key(database)
    async with database.write() as uow:
        await revoke_key(uow, key.split("_")[1])

    assert await find_caller(database, key) is None


async def test_revoking_an_unknown_key_says_so(database: Database) -> None:
    with pytest.raises(NotFound):
        async with database.write() as uow:
            await revoke_key(uow, "000000000000")


async def rotate(database: Database, key: str, *, hours: float = 24) -> str:
    async with database.write() as uow:
        return await rotate_key(uow, key.split("_")[1], keep_old_for=timedelta(hours=hours))


async def test_a_rotated_key_is_the_same_owner(database: Database) -> None:
    key = await make_key(database, Scope.READ)

    before, after = await find_caller(database, key), await find_caller(database, await rotate(database, key))

    assert before is not None
    assert after is not None
    assert (after.owner_id, after.scopes) == (before.owner_id, before.scopes)
    assert after.secret_id != before.secret_id


async def test_the_old_secret_works_until_its_time_is_over(database: Database) -> None:
    key = await make_key(database)
    await rotate(database, key)
    assert await find_caller(database, key) is not None

    async with database.write() as uow:
        await uow.session.execute(update(ApiKeyRow).values(previous_until=db_now(-1)))

    assert await find_caller(database, key) is None


async def test_an_old_secret_that_is_not_kept_ends_at_once(database: Database) -> None:
    key = await make_key(database)
    new = await rotate(database, key, hours=0)

    assert await find_caller(database, key) is None
    assert await find_caller(database, new) is not None


async def test_of_two_old_secrets_only_the_newer_works(database: Database) -> None:
    oldest = await make_key(database)
    older = await rotate(database, oldest)
    newest = await rotate(database, older)

    found = [await find_caller(database, key) is not None for key in (oldest, older, newest)]

    assert found == [False, True, True]


async def test_revoking_a_rotated_key_ends_both_of_its_secrets(database: Database) -> None:
    old = await make_key(database)
    new = await rotate(database, old)
    async with database.write() as uow:
        await revoke_key(uow, old.split("_")[1])

    assert [await find_caller(database, key) for key in (old, new)] == [None, None]


async def test_a_revoked_key_is_not_rotated_back_to_life(database: Database) -> None:
    key = await make_key(database)
    async with database.write() as uow:
        await revoke_key(uow, key.split("_")[1])

    with pytest.raises(Conflict):
        await rotate(database, key)


async def test_rotating_an_unknown_key_says_so(database: Database) -> None:
    with pytest.raises(NotFound):
        await rotate(database, "phx_000000000000_")


async def test_what_an_ended_secret_has_made_is_void(database: Database) -> None:
    kept, replaced, revoked = [await make_key(database) for _ in range(3)]
    used: dict[str, tuple[str, str]] = {}
    for key in (kept, replaced, revoked):
        caller = await find_caller(database, key)
        assert caller is not None
        used[key] = (caller.owner_id, caller.secret_id)
    await rotate(database, kept)
    await rotate(database, replaced, hours=0)
    async with database.write() as uow:
        await revoke_key(uow, revoked.split("_")[1])

    async with database.read() as session:
        void = await find_invalid(session, [*used.values(), ("anonymous", "")])

    assert void == {used[replaced], used[revoked]}


async def test_the_last_use_is_noted(database: Database) -> None:
    key = await make_key(database)
    async with database.write() as uow:
        await record_use(uow, key.split("_")[1])

    async with database.read() as session:
        (row,) = await list_keys(session)

    assert row.last_used_at is not None


def test_a_scope_that_is_missing_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        Caller("a", frozenset({Scope.READ})).check(Scope.WRITE)


def test_an_admin_may_do_what_the_others_may() -> None:
    Caller("a", frozenset({Scope.ADMIN})).check(Scope.WRITE)
