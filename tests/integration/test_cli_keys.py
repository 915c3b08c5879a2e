"""`phoenix keys` against a real database."""

import asyncio
import io
from pathlib import Path

import pytest
from sqlalchemy.engine import URL
from typer.testing import CliRunner, Result

from phoenix.access.keys import Scope, find_callers
from phoenix.cli.app import app
from phoenix.services import open_database
from phoenix.settings import load_settings


@pytest.fixture
def run(sqlite_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO):
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))

    def run_phoenix(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["keys", *arguments])

    return run_phoenix


async def scopes_of(key: str) -> set[Scope]:
    """None of a key that is not good."""
    database = open_database(load_settings())
    try:
        callers = await find_callers(database, [key])
        return {scope for caller in callers.values() for scope in caller.scopes}
    finally:
        await database.close()


def create(run, *arguments: str) -> str:
    return run("create", "front end", *arguments).stdout.splitlines()[-1]


async def in_thread(run, *arguments: str) -> Result:
    return await asyncio.to_thread(run, *arguments)


async def test_a_key_that_was_made_lets_in(run):
    made = await in_thread(run, "create", "front end")

    assert await scopes_of(made.stdout.splitlines()[-1]) == {Scope.READ, Scope.WRITE}


async def test_a_key_has_the_scopes_that_were_named(run):
    made = await in_thread(run, "create", "front end", "--scope", "read", "--scope", "admin")

    assert await scopes_of(made.stdout.splitlines()[-1]) == {Scope.READ, Scope.ADMIN}


async def test_a_key_that_could_not_follow_what_it_makes_is_not_made(run):
    made = await in_thread(run, "create", "front end", "--scope", "write")

    assert (made.exit_code, made.stdout) == (1, "")
    assert "`write` needs `read`" in made.stderr


def test_a_list_shows_names_and_no_secret(run):
    key = create(run)

    listed = run("list").stdout

    assert "front end" in listed
    assert key.split("_")[1] in listed
    assert key.split("_", 2)[2] not in listed


async def test_a_revoked_key_is_refused(run):
    key = (await in_thread(run, "create", "front end")).stdout.splitlines()[-1]

    result = await in_thread(run, "revoke", key.split("_")[1])

    assert result.exit_code == 0
    assert await scopes_of(key) == set()


async def test_a_rotated_key_and_the_old_key_both_work(run):
    old = (await in_thread(run, "create", "front end")).stdout.splitlines()[-1]

    new = (await in_thread(run, "rotate", old.split("_")[1])).stdout.splitlines()[-1]

    assert new != old
    assert [await scopes_of(key) for key in (old, new)] == [{Scope.READ, Scope.WRITE}] * 2


async def test_an_old_key_may_be_ended_at_once(run):
    old = (await in_thread(run, "create", "front end")).stdout.splitlines()[-1]

    await in_thread(run, "rotate", old.split("_")[1], "--keep-old-for", "0")

    assert await scopes_of(old) == set()


def test_rotating_what_is_revoked_says_so(run):
    key_id = create(run).split("_")[1]
    run("revoke", key_id)

    result = run("rotate", key_id)

    assert (result.exit_code, "is revoked" in result.stderr, result.stdout) == (1, True, "")


def test_revoking_what_is_not_there_says_so(run):
    result = run("revoke", "000000000000")

    assert result.exit_code == 1
    assert "There is no key" in result.stderr


def test_a_key_shows_its_end_and_its_quota_in_80_columns(run):
    key_id = create(run, "--expires-at", "2099-12-31T12:00", "--max-stored-bytes", "50GB").split("_")[1]

    header, row = run("list").stdout.splitlines()

    assert row.startswith(f"{key_id}  0 B of 50.0 GB  2099-12-31 12:00")
    assert header.split()[:3] == ["id", "stored", "ends"]
    assert max(len(header), len(row)) <= 80


def test_a_revoked_key_does_not_look_alive_in_80_columns(run):
    run("revoke", create(run).split("_")[1])

    row = run("list").stdout.splitlines()[1]

    assert "revoked 20" in row
    assert len(row) <= 80


def test_a_key_may_be_changed(run):
    key_id = create(run, "--expires-in", "30d", "--max-stored-bytes", "1GB").split("_")[1]

    changed = run("set", key_id, "--never-expires", "--max-stored-bytes", "2TB")

    assert (changed.exit_code, f"{key_id} (front end) is changed." in changed.stdout) == (0, True)
    assert f"{key_id}  0 B of 2.0 TB  -" in run("list").stdout
    run("set", key_id, "--default-quota")
    assert f"{key_id}  0 B     -" in run("list").stdout


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--never-expires", "--expires-in", "1d"),
        ("--default-quota", "--max-stored-bytes", "1"),
        ("--expires-in", "x"),
    ],
)
def test_a_change_names_each_value_once(run, options: tuple[str, ...]):
    assert run("set", create(run).split("_")[1], *options).exit_code == 2


def test_a_key_that_would_have_expired_is_not_made(run):
    made = run("create", "front end", "--expires-at", "2020-01-01")

    assert (made.exit_code, made.stdout) == (1, "")
    assert "in the future" in made.stderr
