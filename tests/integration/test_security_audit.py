"""The log answers who did what: the key, its secret and the address of each request, and each change of a key."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from fixtures.api import Api
from fixtures.callers import GuardedApi
from fixtures.log_lines import lines_about
from phoenix.access.keys import ids_of
from phoenix.cli.app import app

AUDITED = ("client", "key_id", "secret_id")
CLIENT = "127.0.0.1"
"""The peer of every request of httpx's in-process transport."""


def audited(log_lines: io.StringIO) -> tuple[str | None, ...]:
    """What the newest request line says."""
    line = lines_about(log_lines, "request")[-1]
    return tuple(line[name] for name in AUDITED)


async def test_a_request_line_has_the_key_its_secret_and_the_address(
    guarded: GuardedApi, log_lines: io.StringIO
) -> None:
    old = await guarded.make_key()
    await guarded.client(old).http.get("/v1/jobs")
    assert audited(log_lines) == (CLIENT, *ids_of(old))

    new = await guarded.rotate(old, hours=1)
    await guarded.client(new).http.get("/v1/jobs")
    await guarded.client(old).http.get("/v1/jobs/garbage")

    assert ids_of(new)[0] == ids_of(old)[0]
    lines = lines_about(log_lines, "request")[-2:]
    assert [line["secret_id"] for line in lines] == [ids_of(new)[1], ids_of(old)[1]]
    assert not [key for key in (old, new) if key.split("_", 2)[2] in log_lines.getvalue()]


async def test_a_stream_names_the_key_that_made_its_token(guarded: GuardedApi, log_lines: io.StringIO) -> None:
    key = await guarded.make_key()
    caller = guarded.client(key)
    job = await caller.submit()
    await caller.http.post(f"/v1/jobs/{job['id']}/cancel")
    token = (await caller.http.post(f"/v1/jobs/{job['id']}/stream-tokens")).json()

    assert (await guarded.api.http.get(token["url"])).status_code == 200

    assert audited(log_lines) == (CLIENT, *ids_of(key))


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer phx_1"}])
async def test_without_a_valid_key_the_line_has_the_address_alone(
    guarded: GuardedApi, log_lines: io.StringIO, given: dict[str, str]
) -> None:
    await guarded.api.http.get("/v1/jobs", headers=given)

    assert audited(log_lines) == (CLIENT, None, None)


async def test_where_no_key_is_required_the_line_has_the_address_alone(api: Api, log_lines: io.StringIO) -> None:
    await api.http.get("/v1/jobs")
    await api.http.get("/v1/jobs", headers={"Host": "evil.example"})

    lines = lines_about(log_lines, "request")
    assert [(line["status"], line["client"], line["key_id"]) for line in lines] == [
        (200, CLIENT, None),
        (403, CLIENT, None),
    ]


@pytest.mark.usefixtures("log_lines")
async def test_each_change_of_a_key_is_logged(sqlite_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_url.database == str(tmp_path / "phoenix.db")
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path))

    async def run(*arguments: str) -> tuple[str, dict[str, Any]]:
        """The last line of the output, and the line of the log."""
        result = await asyncio.to_thread(CliRunner().invoke, app, ["keys", *arguments])
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("{")]
        return result.stdout.splitlines()[-1], json.loads(line)

    created, creation = await run("create", "front end", "--scope", "read")
    key_id, first_id = ids_of(created)
    rotated, rotation = await run("rotate", key_id)
    _, revocation = await run("revoke", key_id)

    assert [each["event"].split()[-1] for each in (creation, rotation, revocation)] == ["created", "rotated", "revoked"]
    assert {each["key_id"] for each in (creation, rotation, revocation)} == {key_id}
    assert (creation["secret_id"], rotation["secret_id"]) == (first_id, ids_of(rotated)[1])
    assert (creation["name"], creation["scopes"]) == ("front end", ["read"])
    assert all(each["account"] for each in (creation, rotation, revocation))
    assert created.split("_", 2)[2] not in json.dumps([creation, rotation, revocation])
