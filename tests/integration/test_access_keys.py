"""API keys, on both databases."""

import pytest

from phoenix.access.keys import Caller, Scope, create_key, find_callers, list_keys, note_use, revoke_key
from phoenix.db.unit_of_work import Database
from phoenix.errors import Forbidden, NotFound


async def make_key(database: Database, *scopes: Scope) -> str:
    async with database.write() as uow:
        return await create_key(uow, "front end", scopes or (Scope.READ, Scope.WRITE))


async def find_caller(database: Database, key: str) -> Caller | None:
    async with database.read() as session:
        return (await find_callers(session, [key])).get(key)


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


async def test_the_last_use_is_noted(database: Database) -> None:
    key = await make_key(database)
    async with database.write() as uow:
        await note_use(uow, key.split("_")[1])

    async with database.read() as session:
        (row,) = await list_keys(session)

    assert row.last_used_at is not None


def test_a_scope_that_is_missing_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        Caller("a", frozenset({Scope.READ})).check(Scope.WRITE)


def test_an_admin_may_do_what_the_others_may() -> None:
    Caller("a", frozenset({Scope.ADMIN})).check(Scope.WRITE)
