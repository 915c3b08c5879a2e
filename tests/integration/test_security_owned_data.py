"""What a key makes is bounded, ends with the key, and can be deleted as a whole."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select, text, update
from sqlmodel import col
from typer.testing import CliRunner

from fixtures.api import Api, assert_problem
from fixtures.callers import GuardedApi, id_of, open_guarded_api
from phoenix.access.keys import change_key
from phoenix.access.tables import ApiKeyRow
from phoenix.api.background.statistics import StatisticsService
from phoenix.cli.app import app as command_line
from phoenix.clock import utc_now
from phoenix.contract.steering import KeyShareRequest
from phoenix.db import metadata
from phoenix.jobs.scheduling.shares import set_share
from phoenix.jobs.tables import ArtifactRow, JobEmbeddingRow
from phoenix.services import Services
from phoenix.settings import LimitSettings, Settings, load_settings
from phoenix.storage.keys import OutputName
from phoenix.storage.store import StoredObject

I2V = "wan-2.1-i2v-14b-480p"


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "PNG")
    return file.getvalue()


async def change(guarded: GuardedApi, key: str, **changes: Any) -> None:
    async with guarded.api.services.database.write() as uow:
        await change_key(uow, id_of(key), **changes)


def size_of(path: Path) -> int:
    return path.stat().st_size


async def expire(guarded: GuardedApi, key: str) -> None:
    ended = utc_now() - timedelta(seconds=1)
    async with guarded.api.services.database.write() as uow:
        await uow.session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == id_of(key)).values(expires_at=ended))


async def count_artifacts(services: Services) -> int:
    async with services.database.read() as session:
        return (await session.execute(select(func.count()).select_from(ArtifactRow))).scalar_one()


async def send_picture(api: Api, png: bytes, **fields: str) -> Any:
    form = {name: (None, value) for name, value in {"prompt": "a", "model": I2V, **fields}.items()}
    return await api.http.post("/v1/videos", files={**form, "input_reference": ("p.png", png)})


async def test_an_expired_key_is_refused_by_name(guarded: GuardedApi, key: str, owner: Api) -> None:
    await expire(guarded, key)

    problem = assert_problem(await owner.http.get("/v1/jobs"), 401, "KEY_EXPIRED")

    assert "expired at" in problem["detail"]
    wrong = guarded.client(key[:-1] + ("a" if key[-1] != "a" else "b"))
    assert_problem(await wrong.http.get("/v1/jobs"), 401, "UNAUTHENTICATED")


async def test_a_stream_token_ends_with_its_key(guarded: GuardedApi, key: str, owner: Api) -> None:
    ends_at = utc_now().replace(microsecond=0) + timedelta(minutes=5)
    await change(guarded, key, expires_at=ends_at)
    job = await owner.submit()

    token = (await owner.http.post(f"/v1/jobs/{job['id']}/stream-tokens")).json()
    assert datetime.fromisoformat(token["expires_at"]) == ends_at
    await expire(guarded, key)

    assert_problem(await guarded.api.http.get(token["url"]), 401, "UNAUTHENTICATED")


async def test_a_key_shows_its_end_and_what_it_stores(
    guarded: GuardedApi, key: str, owner: Api, png_file: Path
) -> None:
    await change(guarded, key, max_stored_bytes=10**6)
    await owner.upload(png_file)

    shown = (await owner.http.get("/v1/key")).json()

    assert shown == {
        "id": id_of(key),
        "scopes": ["read", "write"],
        "expires_at": None,
        "stored_bytes": size_of(png_file),
        "max_stored_bytes": 10**6,
    }


async def test_a_full_key_may_delete_and_go_on(guarded: GuardedApi, key: str, owner: Api, png_file: Path) -> None:
    size_bytes = size_of(png_file)
    await change(guarded, key, max_stored_bytes=size_bytes)
    first = (await owner.upload(png_file)).json()

    for refused in (
        await owner.upload(png_file),
        await owner.http.post("/v1/reels", json={"clips": [{"prompt": "a"}]}),
    ):
        problem = assert_problem(refused, 403, "STORAGE_QUOTA_EXCEEDED")
        assert (f"stores {size_bytes} bytes" in problem["detail"], problem["violated-policies"]) == (
            True,
            ["stored-bytes"],
        )
    assert len(owner.stored_files()) == 1

    await owner.http.delete(f"/v1/artifacts/{first['id']}")
    assert (await owner.upload(png_file)).status_code == 201


async def test_the_files_of_a_job_count_and_are_kept_beyond_the_quota(
    guarded: GuardedApi, key: str, owner: Api
) -> None:
    await change(guarded, key, max_stored_bytes=5)
    job = await owner.submit()
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.finish_next("media", OutputName.OUTPUT, b"a long video")

    assert (await owner.http.get(f"/v1/jobs/{job['id']}/content")).content == b"a long video"
    assert (await owner.http.get("/v1/key")).json()["stored_bytes"] == 16
    assert_problem(await owner.http.post("/v1/reels", json={"clips": [{"prompt": "a"}]}), 403, "STORAGE_QUOTA_EXCEEDED")
    assert (await owner.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert await owner.submit()


async def test_of_uploads_that_fit_only_one_by_one_one_is_stored(
    guarded: GuardedApi, key: str, owner: Api, png_file: Path
) -> None:
    await change(guarded, key, max_stored_bytes=size_of(png_file))

    answers = await asyncio.gather(*(owner.upload(png_file) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403]
    assert len(owner.stored_files()) == await count_artifacts(owner.services) == 1


async def test_a_limit_of_the_settings_holds_for_every_key_without_its_own(api_settings: Settings, png: bytes) -> None:
    limits = LimitSettings(stored_bytes_per_key=10)
    async with open_guarded_api(api_settings.model_copy(update={"limits": limits})) as guarded:
        owner = await guarded.caller()
        assert_problem(
            await owner.http.post("/v1/uploads", files={"file": ("p.png", png)}), 403, "STORAGE_QUOTA_EXCEEDED"
        )


async def test_a_body_that_cannot_fit_is_refused_before_it_is_read(guarded: GuardedApi, key: str, owner: Api) -> None:
    await change(guarded, key, max_stored_bytes=1000)

    async def never() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        raise AssertionError("the body was read")

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "200000"}
    refused = await owner.http.post("/v1/uploads", content=never(), headers=headers)

    assert_problem(refused, 403, "STORAGE_QUOTA_EXCEEDED")


@pytest.mark.parametrize(
    "fields", [{"model": "none"}, {"model": "wan-2.1-t2v-1.3b"}, {"size": "1x1"}, {"seconds": "900"}]
)
async def test_a_video_that_is_refused_stores_no_picture(
    owner: Api, png: bytes, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]
) -> None:
    puts = watch_puts(owner, monkeypatch)

    assert (await send_picture(owner, png, **fields)).status_code == 400

    assert (puts, owner.stored_files(), await count_artifacts(owner.services)) == ([], [], 0)


def watch_puts(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys under which bytes are stored from now on."""
    put_file, keys = api.services.store.put_file, list[str]()

    async def record(key: str, path: Path) -> StoredObject:
        keys.append(key)
        return await put_file(key, path)

    monkeypatch.setattr(api.services.store, "put_file", record)
    return keys


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"queued_jobs_per_key": 1}, "rate_limited"),
        ({"max_queued_jobs": 1}, "queue_full"),
        ({"upload_bytes_per_day": 10}, "rate_limited"),
    ],
)
async def test_a_video_over_a_limit_stores_no_picture(
    api_settings: Settings, png: bytes, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], code: str
) -> None:
    settings = api_settings.model_copy(update={"limits": LimitSettings.model_validate(limits)})
    async with open_guarded_api(settings) as guarded:
        owner = await guarded.caller()
        await owner.submit()
        puts = watch_puts(owner, monkeypatch)

        assert (await send_picture(owner, png)).json()["error"]["code"] == code

        assert (puts, owner.stored_files(), await count_artifacts(owner.services)) == ([], [], 0)


async def test_a_video_that_is_refused_at_the_commit_keeps_no_picture(
    guarded: GuardedApi, key: str, png: bytes
) -> None:
    """The key is revoked while the bytes are stored, after every other check."""
    owner = guarded.client(key)
    put_file = owner.services.store.put_file

    async def revoke_meanwhile(object_key: str, path: Path) -> StoredObject:
        stored = await put_file(object_key, path)
        await guarded.revoke(key)
        return stored

    owner.services.store.put_file = revoke_meanwhile  # pyright: ignore[reportAttributeAccessIssue]

    assert (await send_picture(owner, png)).status_code == 401

    assert (owner.stored_files(), await count_artifacts(owner.services)) == ([], 0)


async def test_the_same_video_at_the_same_time_keeps_one_picture(owner: Api, png: bytes) -> None:
    owner.http.headers["Idempotency-Key"] = "once"

    answers = await asyncio.gather(*(send_picture(owner, png) for _ in range(3)))

    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(owner.stored_files()) == await count_artifacts(owner.services) == 1


async def make_belongings(owner: Api, png_file: Path) -> None:
    """Something in every table that knows owners."""
    upload = (await owner.upload(png_file)).json()
    await owner.http.post("/v1/storyboards", json={"idea": "a boat"})
    await owner.submit(webhook={"url": "https://good.example/"})
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.finish_next("media", OutputName.OUTPUT, b"video")
    await StatisticsService(owner.services.database).step()
    deleted = await owner.submit()
    await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.http.post(f"/v1/jobs/{deleted['id']}/cancel")
    await owner.http.delete(f"/v1/jobs/{deleted['id']}")
    await owner.http.post("/v1/reels", json={"clips": [{"prompt": "a"}]}, headers={"Idempotency-Key": "once"})
    await owner.http.get("/v1/webhooks/secret")
    running = {
        "clips": [{"prompt": "x", "conditions": [{"role": "first_frame", "source": {"artifact_id": upload["id"]}}]}],
        "model": I2V,
    }
    assert (await owner.http.post("/v1/reels", json=running)).status_code == 202


async def find_tables_that_name(services: Services, owner_id: str) -> set[str]:
    found = set[str]()
    async with services.database.read() as session:
        for table in metadata.sorted_tables:
            for row in await session.execute(select(table)):
                if owner_id in str(row):
                    found.add(table.name)
    return found


@pytest.fixture
def purge(guarded: GuardedApi, monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO) -> Callable[..., Any]:
    settings = guarded.api.services.settings
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(settings.data_dir))
    assert settings.redis.url
    monkeypatch.setenv("PHOENIX_REDIS__URL", settings.redis.url)
    assert load_settings().database == settings.database

    async def run(key: str, *options: str, answer: str | None = None) -> Any:
        arguments = ["keys", "purge", id_of(key), *options]
        return await asyncio.to_thread(CliRunner().invoke, command_line, arguments, input=answer)

    return run


async def test_a_purge_leaves_nothing_of_the_key(
    guarded: GuardedApi, key: str, owner: Api, png_file: Path, purge: Callable[..., Any]
) -> None:
    other = await guarded.caller()
    kept = (await other.upload(png_file)).json()
    await make_belongings(owner, png_file)
    owned = {table.name for table in metadata.sorted_tables if "owner_id" in table.columns} - {
        "webhook_refusals",
        "key_shares",
    }
    async with owner.services.database.write() as uow:
        await uow.session.execute(
            text("INSERT INTO webhook_refusals VALUES (:id, 'https://x.example/', '2026-01-01 00:00:00')"),
            {"id": id_of(key)},
        )
        await set_share(uow, id_of(key), KeyShareRequest(weight=2))
        job_id = (
            await uow.session.scalars(select(col(ArtifactRow.job_id)).where(col(ArtifactRow.job_id).is_not(None)))
        ).first()
        vectors = {"owner_id": id_of(key), "model": "m", "size": 0, "vectors": b""}
        uow.session.add(JobEmbeddingRow(job_id=job_id or "", **vectors))
    assert owned < await find_tables_that_name(owner.services, id_of(key))

    done = await purge(key, "--yes")

    assert done.exit_code == 0, done.output
    assert "3 jobs (2 unfinished), 3 files" in done.stdout
    assert await find_tables_that_name(owner.services, id_of(key)) == {"api_keys", "audit_log"}
    assert [path.name for path in owner.stored_files()] == [kept["id"]]
    assert_problem(await owner.http.get("/v1/jobs"), 401, "UNAUTHENTICATED")
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if "a key was purged" in line]
    assert (line["key_id"], line["jobs"]) == (id_of(key), 3)
    assert (await purge(key, "--yes")).exit_code == 0


async def test_a_purge_leaves_no_prompt_in_the_files_of_a_sqlite_database(
    key: str, owner: Api, purge: Callable[..., Any]
) -> None:
    prompt = b"a heron that nobody may find again"
    await owner.submit(prompt.decode())
    folder = owner.services.settings.data_dir
    files = sorted(folder.glob("phoenix.db*"))
    assert any(prompt in path.read_bytes() for path in files)

    assert (await purge(key, "--yes")).exit_code == 0

    assert [path.name for path in files if prompt in path.read_bytes()] == []


async def test_a_purge_asks_and_changes_nothing_without_a_yes(
    key: str, owner: Api, png_file: Path, purge: Callable[..., Any]
) -> None:
    await owner.upload(png_file)

    asked = await purge(key, answer="n\n")

    assert (asked.exit_code, "It cannot be undone" in asked.stderr) == (1, True)
    assert (len(owner.stored_files()), (await owner.http.get("/v1/key")).status_code) == (1, 200)


async def test_a_purge_that_was_killed_is_repeated(
    key: str, owner: Api, png_file: Path, purge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await owner.submit()
        await owner.finish_next("gpu", OutputName.CLIP, b"clip")
    await owner.upload(png_file)
    monkeypatch.setattr("phoenix.jobs.purge.delete_in_any_state", kill)

    killed = await purge(key, "--yes")

    assert killed.exit_code != 0
    assert_problem(await owner.http.get("/v1/jobs"), 401, "UNAUTHENTICATED")
    monkeypatch.undo()
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(owner.services.settings.data_dir))
    assert (await purge(key, "--yes")).exit_code == 0
    assert await find_tables_that_name(owner.services, id_of(key)) == {"api_keys", "audit_log"}
    assert owner.stored_files() == []


async def kill(*_arguments: object) -> None:
    raise SystemExit(9)


async def test_purging_an_unknown_key_says_so(purge: Callable[..., Any]) -> None:
    refused = await purge("phx_000000000000_", "--yes")

    assert (refused.exit_code, "There is no key" in refused.stderr) == (1, True)
