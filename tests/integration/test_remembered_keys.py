"""How long a process remembers a key, and what makes it look the key up again."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from starlette.datastructures import Headers

from fixtures.callers import open_guarded_api
from phoenix.access.authentication import REMEMBERED_S, Authenticator
from phoenix.access.keys import Caller, Scope, create_key, find_callers, ids_of, revoke_key, rotate_key
from phoenix.db.unit_of_work import Database
from phoenix.errors import Unauthenticated
from phoenix.settings import Settings


@dataclass
class Replica:
    """An authenticator with its clock, and with what Redis reports as the version of the keys."""

    database: Database
    version: bytes | None = b"1"
    now_s: float = 0.0
    counted: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._authenticator = Authenticator(self.database, is_required=True, clock_s=lambda: self.now_s)

    async def ask(self, key: str) -> Caller:
        headers = Headers({"authorization": f"Bearer {key}"})
        return await self._authenticator.authenticate(headers, self._count)

    async def _count(self, caller: Caller) -> bytes | None:
        self.counted.append(caller.owner_id)
        return self.version


@pytest.fixture
async def key(database: Database) -> str:
    async with database.write() as uow:
        return await create_key(uow, "somebody", [Scope.READ])


@pytest.fixture
async def replica(database: Database, key: str) -> Replica:
    """Remembers the key. The first request only learns the version."""
    replica = Replica(database)
    for _ in range(2):
        await replica.ask(key)
    return replica


async def revoke(database: Database, key: str) -> None:
    """Like a process that cannot reach Redis: it changes no version."""
    async with database.write() as uow:
        await revoke_key(uow, ids_of(key)[0])


async def test_a_remembered_key_is_not_looked_up_again(replica: Replica, key: str) -> None:
    await revoke(replica.database, key)

    assert (await replica.ask(key)).owner_id == ids_of(key)[0]


async def test_a_key_that_is_remembered_before_any_version_is_known_is_looked_up(database: Database, key: str) -> None:
    replica = Replica(database)
    await replica.ask(key)
    await revoke(database, key)

    with pytest.raises(Unauthenticated):
        await replica.ask(key)


async def test_a_new_version_of_the_keys_makes_a_revocation_take_effect_at_once(replica: Replica, key: str) -> None:
    await revoke(replica.database, key)
    replica.version = b"2"

    with pytest.raises(Unauthenticated):
        await replica.ask(key)


async def test_without_redis_a_key_is_looked_up_for_every_request(replica: Replica, key: str) -> None:
    await revoke(replica.database, key)
    replica.version = None

    with pytest.raises(Unauthenticated):
        await replica.ask(key)


async def test_a_revocation_without_redis_takes_effect_some_seconds_later(replica: Replica, key: str) -> None:
    await revoke(replica.database, key)
    replica.now_s += REMEMBERED_S

    with pytest.raises(Unauthenticated):
        await replica.ask(key)


async def test_each_request_is_counted_once(replica: Replica, key: str) -> None:
    await replica.ask(key)
    replica.version = b"2"
    await replica.ask(key)

    assert replica.counted == [ids_of(key)[0]] * 4


async def test_the_old_secret_of_a_rotated_key_is_remembered_no_longer_than_it_is_valid(
    database: Database, key: str
) -> None:
    async with database.write() as uow:
        new = await rotate_key(uow, ids_of(key)[0], keep_old_for=timedelta(hours=1))

    found = await find_callers(database, [key, new])

    valid_for_s = [found[each].secret_valid_for_s for each in (key, new)]  # type: ignore[union-attr]
    assert 0 < valid_for_s[0] <= 3600
    assert valid_for_s[1] == float("inf")


async def test_a_revocation_in_one_process_takes_effect_in_another_at_its_next_request(api_settings: Settings) -> None:
    async with open_guarded_api(api_settings, leads=False) as one, open_guarded_api(api_settings, leads=False) as other:
        key = await one.make_key()
        there = other.client(key).http
        statuses = [(await there.get("/v1/jobs")).status_code for _ in range(3)]
        await one.revoke(key)
        statuses.append((await there.get("/v1/jobs")).status_code)

    assert statuses == [200, 200, 200, 401]
