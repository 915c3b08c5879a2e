"""The secrets that the database keeps, with and without a key for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select
from sqlalchemy.engine import URL
from typer.testing import CliRunner, Result

from builders import OWNER
from fixtures.api import Api, assert_problem, open_api
from phoenix.access.tables import SecretRow
from phoenix.access.tokens import get_or_create_secret
from phoenix.cli.app import app
from phoenix.db import Database, SecretCipher, open_engine
from phoenix.jobs.webhooks.signing_secrets import get_secret, rotate_secret
from phoenix.jobs.webhooks.tables import WebhookSecretRow
from phoenix.settings import DatabaseSettings, Settings

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@asynccontextmanager
async def opened(url: URL, *keys: str) -> AsyncIterator[Database]:
    database = Database(open_engine(url, DatabaseSettings()), cipher=SecretCipher(keys))
    try:
        yield database
    finally:
        await database.close()


async def read_all(database: Database) -> set[str | None]:
    """Every secret that the database keeps, readable."""
    found = await get_secret(database, OWNER)
    return {found.current, found.previous, (await get_or_create_secret(database, "tokens")).decode()}


async def make_all(database: Database) -> set[str | None]:
    await get_secret(database, OWNER)
    async with database.write() as uow:
        await rotate_secret(uow, OWNER)
    return await read_all(database)


async def stored_in(database: Database) -> set[str | None]:
    async with database.read() as session:
        shared = await session.scalars(select(SecretRow.value))
        webhooks = (await session.scalars(select(WebhookSecretRow))).one()
        return {*shared, webhooks.secret, webhooks.previous_secret}


async def test_with_a_key_no_secret_is_stored_in_the_clear(any_database_url: URL) -> None:
    async with opened(any_database_url, NEW) as database:
        secrets = await make_all(database)
        stored = await stored_in(database)

    assert len(stored) == len(secrets) == 3
    assert not stored & secrets


async def test_secrets_of_a_time_without_a_key_are_still_read(any_database_url: URL) -> None:
    async with opened(any_database_url) as database:
        secrets = await make_all(database)
    async with opened(any_database_url, NEW) as database:
        assert await read_all(database) == secrets


@pytest.fixture
def encrypt(sqlite_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """Runs `phoenix db encrypt` with these keys."""
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))

    def run(keys: str) -> Result:
        monkeypatch.setenv("PHOENIX_DATABASE__ENCRYPTION_KEYS", keys)
        return CliRunner().invoke(app, ["db", "encrypt"])

    return run


@pytest.mark.parametrize("before", [(), (OLD,)])
async def test_after_the_command_the_first_key_alone_is_enough(
    before: tuple[str, ...], sqlite_url: URL, encrypt: Callable[[str], Result]
) -> None:
    async with opened(sqlite_url, *before) as database:
        secrets = await make_all(database)

    done = await asyncio.to_thread(encrypt, f"{NEW},{OLD}")

    assert done.exit_code == 0, done.output
    async with opened(sqlite_url, NEW) as database:
        assert await read_all(database) == secrets
        assert not await stored_in(database) & secrets


async def test_after_the_command_no_file_of_the_database_has_a_secret_in_the_clear(
    sqlite_url: URL, tmp_path: Path, encrypt: Callable[[str], Result]
) -> None:
    async with opened(sqlite_url) as database:  # a server that runs meanwhile, so that SQLite keeps its log
        secrets = await make_all(database)
        assert find_in_files(tmp_path, *secrets)

        done = await asyncio.to_thread(encrypt, NEW)

        assert done.exit_code == 0, done.output
        assert (tmp_path / "phoenix.db-wal").exists()
        assert find_in_files(tmp_path, *secrets) == []


def find_in_files(folder: Path, *texts: str | None) -> list[str]:
    """The files of a SQLite database that have one of the texts."""
    wanted = [text.encode() for text in texts if text]
    found = sorted(folder.glob("phoenix.db*"))
    return [path.name for path in found if any(text in path.read_bytes() for text in wanted)]


async def test_the_command_changes_nothing_if_it_cannot_read_a_secret(
    sqlite_url: URL, encrypt: Callable[[str], Result]
) -> None:
    async with opened(sqlite_url, OLD) as database:
        secrets = await make_all(database)

    done = await asyncio.to_thread(encrypt, NEW)

    assert done.exit_code == 1
    assert "PHOENIX_DATABASE__ENCRYPTION_KEYS" in done.output
    async with opened(sqlite_url, OLD) as database:
        assert await read_all(database) == secrets


def test_the_command_asks_for_a_key(encrypt: Callable[[str], Result]) -> None:
    done = encrypt("")
    assert done.exit_code == 2
    assert "`phoenix db new-key`" in done.output


def test_a_new_key_is_one_that_the_command_takes(encrypt: Callable[[str], Result]) -> None:
    made = CliRunner().invoke(app, ["db", "new-key"])
    assert encrypt(made.stdout.strip()).exit_code == 0


@pytest.fixture
async def api_without_the_key(api_settings: Settings, sqlite_url: URL) -> AsyncIterator[Api]:
    async with opened(sqlite_url, OLD) as database:
        await get_secret(database, OWNER)
        await get_or_create_secret(database, "stream-tokens")
    async with open_api(api_settings) as api:
        yield api


async def test_a_secret_that_cannot_be_read_is_a_503_that_names_the_setting(api_without_the_key: Api) -> None:
    api = api_without_the_key
    job = await api.submit()
    for answer in (
        await api.http.get("/v1/webhooks/secret"),
        await api.http.post(f"/v1/jobs/{job['id']}/stream-tokens"),
    ):
        problem = assert_problem(answer, 503, "UNAVAILABLE")
        assert "PHOENIX_DATABASE__ENCRYPTION_KEYS" in problem["detail"]
