"""What `phoenix doctor` finds on machines in different states."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from fixtures.tiny_onnx import write_upscaler
from phoenix.api.background.leader_loop import LeaderLease
from phoenix.cli.app import app
from phoenix.cli.doctor import (
    CHECKS,
    REMEDIES,
    CheckStatus,
    Finding,
    check_database,
    check_ffmpeg,
    check_redis,
    check_space,
    check_storage,
    check_voice,
    examine,
)
from phoenix.db.engine import database_url
from phoenix.db.migrate import upgrade
from phoenix.media.ffmpeg import MediaTools
from phoenix.services import open_database
from phoenix.settings import (
    ApiSettings,
    DatabaseSettings,
    EngineSettings,
    LipsyncSettings,
    MediaSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    TtsSettings,
)


def settings(folder: Path, **groups: object) -> Settings:
    return Settings(data_dir=folder / "data", **groups)


async def finding(name: str, settings: Settings) -> Finding:
    [found] = await examine(settings, {name: CHECKS[name]})
    return found


def test_an_empty_machine_with_every_extra_lacks_nothing_and_is_left_empty(tmp_path: Path):
    findings = asyncio.run(examine(settings(tmp_path)))
    assert [finding for finding in findings if finding.status is CheckStatus.MISSING] == []
    assert list(tmp_path.iterdir()) == []


async def test_an_ffmpeg_that_is_not_there_is_missing(tmp_path: Path):
    found = await finding("ffmpeg", settings(tmp_path, media=MediaSettings(ffmpeg="/nonexistent/ffmpeg")))
    assert found.status is CheckStatus.MISSING
    assert found.remedy


async def test_an_ffmpeg_that_cannot_encode_is_missing(tmp_path: Path):
    found = await check_ffmpeg(settings(tmp_path, media=MediaSettings(ffmpeg="/bin/true")))
    assert (found.status, "libx264" in found.detail) == (CheckStatus.MISSING, True)


async def test_an_encoder_that_does_not_work_here_is_missing_with_its_own_remedy(tmp_path: Path):
    found = await finding("ffmpeg", settings(tmp_path, media=MediaSettings(encoder="nvenc")))
    assert (found.status, "NVENC does not work here" in found.detail) == (CheckStatus.MISSING, True)
    assert "PHOENIX_MEDIA__ENCODER" in found.remedy


async def test_the_encoder_is_shown_with_the_reason(tmp_path: Path):
    found = await finding("ffmpeg", settings(tmp_path, media=MediaSettings(encoder="auto")))
    assert (found.status, "by libx264: NVENC does not work here" in found.detail) == (CheckStatus.OK, True)


async def test_an_ffmpeg_that_cannot_crossfade_is_missing(tmp_path: Path, media_tools: MediaTools):
    program = tmp_path / "old-ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$*" in *xfade*) exit 1; esac\nexec \'{media_tools.ffmpeg}\' "$@"\n')
    program.chmod(0o755)
    found = await finding("ffmpeg", settings(tmp_path, media=MediaSettings(ffmpeg=str(program))))
    assert (found.status, "cannot crossfade clips" in found.detail) == (CheckStatus.MISSING, True)
    assert found.remedy


async def test_a_redis_that_answers_is_well(tmp_path: Path, redis_url: str):
    assert (await check_redis(settings(tmp_path, redis=RedisSettings(url=redis_url)))).status is CheckStatus.OK


async def test_a_redis_that_is_away_is_missing(tmp_path: Path):
    found = await finding("redis", settings(tmp_path, redis=RedisSettings(url="redis://127.0.0.1:9")))
    assert (found.status, "REDIS_URL" in found.remedy) == (CheckStatus.MISSING, True)


async def test_a_database_at_the_newest_schema_is_well(tmp_path: Path, any_database_url: URL):
    url = any_database_url.render_as_string(hide_password=False)
    found = await check_database(settings(tmp_path, database=DatabaseSettings(url=url)))
    assert found.status is CheckStatus.OK, found


def test_an_old_schema_is_reported(tmp_path: Path):
    old = settings(tmp_path)
    upgrade(database_url(old.database, old.data_dir), "base")
    found = asyncio.run(check_database(old))
    assert (found.status, "db upgrade" in found.remedy) == (CheckStatus.NOTE, True)


async def test_without_a_process_for_background_services_jobs_would_wait(tmp_path: Path, any_database_url: URL):
    url = any_database_url.render_as_string(hide_password=False)
    apart = settings(tmp_path, database=DatabaseSettings(url=url), api=ApiSettings(background=False))
    before = await finding("background", apart)
    database = open_database(apart)
    lease = LeaderLease(database, "dispatcher")
    assert await lease.try_acquire_or_renew()
    during = await finding("background", apart)
    await lease.release()
    await database.close()

    assert [before.status, during.status] == [CheckStatus.MISSING, CheckStatus.OK]
    assert "phoenix background" in before.remedy


async def test_a_password_is_not_shown(tmp_path: Path):
    url = "postgresql://me:secret@127.0.0.1:9/phoenix"
    found = await finding("database", settings(tmp_path, database=DatabaseSettings(url=url)))
    assert found.status is CheckStatus.MISSING
    assert "secret" not in found.detail


async def test_a_store_is_tried_and_left_as_it_was(tmp_path: Path):
    store = tmp_path / "store"
    found = await check_storage(settings(tmp_path, storage=StorageSettings(url=store.as_uri())))
    assert found.status is CheckStatus.OK
    assert [path for path in store.rglob("*") if path.is_file()] == []


async def test_a_disk_below_the_reserve_is_missing_space_and_the_remedy_deletes_jobs(tmp_path: Path):
    found = await check_space(settings(tmp_path, storage=StorageSettings(reserve_bytes=2**62)))
    assert found.status is CheckStatus.MISSING
    assert "phoenix jobs delete" in found.remedy


async def test_a_data_folder_that_takes_no_write_is_missing_with_the_reason():
    found = await check_storage(Settings(data_dir=Path("/proc")))
    assert found.status is CheckStatus.MISSING
    assert found.detail.startswith("/proc cannot be written: ")


async def test_a_bucket_without_a_key_is_missing_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    storage = StorageSettings(url="s3://bucket/reels", max_retries=0, request_timeout_s=5)
    found = await finding("storage", settings(tmp_path, storage=storage))
    names = ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT"]
    assert found.status is CheckStatus.MISSING
    assert all(f"PHOENIX_STORAGE__{name}" in found.detail for name in names)
    assert "127.0.0.1" not in found.detail


async def test_a_bucket_that_refuses_a_key_is_reported_with_its_reason(tmp_path: Path):
    storage = StorageSettings(
        url="s3://bucket/reels",
        s3_endpoint="http://127.0.0.1:9",
        s3_access_key_id="a",
        s3_secret_access_key=SecretStr("b"),
        max_retries=0,
        request_timeout_s=5,
    )
    found = await finding("storage", settings(tmp_path, storage=storage))
    assert (found.status, "127.0.0.1:9" in found.detail) == (CheckStatus.MISSING, True)


async def test_free_space_is_reported_before_the_folder_exists(tmp_path: Path):
    assert "GiB free" in (await check_space(settings(tmp_path))).detail


def with_upscaler(folder: Path, source: Path, factor: int) -> Settings:
    file = folder / "catalog.toml"
    file.write_text(f'[[upscalers]]\nid = "x2"\ntitle = "Two"\nsource = "{source.as_posix()}"\nfactor = {factor}\n')
    return settings(folder, engine=EngineSettings(catalog_file=file))


async def test_an_upscaler_that_can_be_used_is_named(tmp_path: Path):
    found = await finding("upscalers", with_upscaler(tmp_path, write_upscaler(tmp_path / "x2.onnx"), 2))
    assert (found.status, found.detail) == (CheckStatus.OK, "can be used: x2")


async def test_an_upscaler_with_another_factor_than_its_entry_says_is_a_finding(tmp_path: Path):
    found = await finding("upscalers", with_upscaler(tmp_path, write_upscaler(tmp_path / "x2.onnx"), 4))
    assert found.status is CheckStatus.NOTE
    assert found.detail.endswith("and its entry says factor 4; set factor to 2")
    assert found.remedy


async def test_the_lip_models_that_can_be_used_are_named(tmp_path: Path):
    found = await finding("lip-sync", settings(tmp_path))
    assert (found.status, found.detail) == (
        CheckStatus.OK,
        "can be used: drawn-mouth; requests give the box of the face",
    )


async def test_a_face_detector_that_is_missing_is_a_finding(tmp_path: Path):
    lipsync = LipsyncSettings(face_detector=str(tmp_path / "faces.onnx"))
    found = await finding("lip-sync", settings(tmp_path, lipsync=lipsync))
    assert found.status is CheckStatus.NOTE
    assert "face-detector cannot be used: this worker cannot read" in found.detail


async def test_the_voice_is_named_and_its_absence_is_a_note(tmp_path: Path):
    speaks = await check_voice(settings(tmp_path, tts=TtsSettings(engine="espeak")))
    silent = await check_voice(settings(tmp_path, tts=TtsSettings(engine="off")))

    assert (speaks.status, speaks.detail) == (CheckStatus.OK, "espeak speaks as en")
    assert (silent.status, "PHOENIX_TTS__BASE_URL" in silent.remedy) == (CheckStatus.NOTE, True)


def test_a_checklist_for_scripts_has_the_remedy_of_each_finding_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PHOENIX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PHOENIX_MEDIA__FFMPEG", "/nonexistent/ffmpeg")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(result.stdout)
    found = {each["name"]: each for each in report["findings"]}
    unremedied = [each for each in report["findings"] if each["status"] != "ok" and not each["remedy"]]

    assert (result.exit_code, report["healthy"], found["ffmpeg"]["status"]) == (1, False, "missing")
    assert list(found) == list(CHECKS)
    assert unremedied == []


def test_a_check_that_fails_or_hangs_has_a_remedy():
    assert REMEDIES.keys() == CHECKS.keys()
