"""Uploads of real files, good and bad. What is refused leaves neither a row nor a file, stored or temporary."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pillow_heif  # pyright: ignore[reportMissingTypeStubs]
import pytest
from PIL import Image
from sqlalchemy import func, select

from fixtures.api import Api, assert_problem, form_file, open_api, pointers
from fixtures.media_files import MediaMaker
from phoenix.jobs.tables import ArtifactRow
from phoenix.settings import Settings


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def leftovers(api: Api, temporary_folder: Path) -> list[object]:
    async with api.services.database.read() as session:
        rows = await session.scalar(select(func.count()).select_from(ArtifactRow))
    return [*api.stored_files(), *inside(temporary_folder), *range(rows or 0)]


async def test_a_sound_is_probed_stored_and_shown(api: Api, mp3_file: Path) -> None:
    response = await api.upload(mp3_file)

    artifact = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/artifacts/{artifact['id']}"
    assert (artifact["kind"], artifact["media_type"], artifact["filename"]) == ("upload", "audio/mpeg", "tone.mp3")
    assert artifact["info"]["duration_s"] == pytest.approx(20, abs=0.1)
    assert (await api.http.get(response.headers["location"])).json() == artifact
    content = await api.http.get(artifact["url"])
    assert content.content == form_file(mp3_file)["file"][1]
    assert content.headers["content-type"] == "audio/mpeg"


async def test_pictures_and_videos_are_taken_too(api: Api, png_file: Path, mp4_file: Path) -> None:
    found = [(await api.upload(path)).json()["info"]["media"] for path in (png_file, mp4_file)]

    assert found == ["image", "video"]


async def test_an_uploaded_sound_can_be_the_soundtrack_of_a_reel(api: Api, wav_file: Path) -> None:
    artifact_id = (await api.upload(wav_file)).json()["id"]

    job = await api.submit(soundtrack={"artifact_id": artifact_id})

    assert job["request"]["soundtrack"]["artifact_id"] == artifact_id


async def test_the_clients_path_is_not_kept(api: Api, png_file: Path) -> None:
    files = form_file(png_file, name="../../etc/evil\u202e.png")

    artifact = (await api.http.post("/v1/uploads", files=files)).json()

    assert artifact["filename"] == "evil.png"


async def refuse(api: Api, path: Path, temporary_folder: Path) -> str:
    """The detail of the field error of a refused upload."""
    problem = assert_problem(await api.upload(path), 422, "INVALID_REQUEST")
    assert pointers(problem) == ["/file"]
    assert await leftovers(api, temporary_folder) == []
    assert str(temporary_folder) not in str(problem)
    detail: str = problem["errors"][0]["detail"]
    assert "Send a whole sound" in detail
    return detail


async def test_an_upload_that_is_not_media_is_refused(api: Api, tmp_path: Path, temporary_folder: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_text("Dear diary, today I renamed a text file.")

    assert "not a sound, picture or video" in await refuse(api, path, temporary_folder)


async def test_a_refusal_names_the_kind_of_the_file_and_the_accepted_formats(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(500))

    response = await api.upload(path)

    assert response.status_code == 422
    assert "it is a WMA sound or a WMV video. Send a whole sound (MP3, WAV, " in response.json()["detail"]


async def test_a_photo_of_a_phone_is_shown_with_its_media_type(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.new("RGB", (64, 48))).save(path)  # pyright: ignore[reportUnknownMemberType]

    artifact = (await api.upload(path)).json()

    assert (artifact["media_type"], artifact["info"]["format"]) == ("image/heic", "heic")


async def test_a_good_file_may_be_sent_again_when_the_machine_is_too_busy_to_read_it(
    api_settings: Settings, png_file: Path, temporary_folder: Path
) -> None:
    hasty = api_settings.media.model_copy(update={"probe_timeout_s": 0.001})
    async with open_api(api_settings.model_copy(update={"media": hasty}), leads=False) as api:
        problem = assert_problem(await api.upload(png_file), 503, "UNAVAILABLE")

        assert "too busy" in problem["detail"]
        assert await leftovers(api, temporary_folder) == []


async def test_an_empty_file_is_refused(api: Api, tmp_path: Path, temporary_folder: Path) -> None:
    path = tmp_path / "song.mp3"
    path.touch()

    assert "it is empty" in await refuse(api, path, temporary_folder)


async def test_a_truncated_mp3_is_refused(api: Api, media: MediaMaker, mp3_file: Path, temporary_folder: Path) -> None:
    assert "incomplete" in await refuse(api, media.beginning_of(mp3_file), temporary_folder)


async def test_a_sound_of_five_hours_is_refused(api: Api, media: MediaMaker, temporary_folder: Path) -> None:
    path = media.sound("long.flac", seconds=5 * 3600, source="anullsrc=r=1000:cl=mono")

    assert "longer than 3600 s" in await refuse(api, path, temporary_folder)


async def test_a_picture_of_too_many_pixels_is_refused(
    api_settings: Settings, png_file: Path, temporary_folder: Path
) -> None:
    limits = api_settings.limits.model_copy(update={"max_upload_pixels": 100})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        assert "at most 100 pixels" in await refuse(api, png_file, temporary_folder)


async def test_a_file_over_the_limit_is_refused(api_settings: Settings, mp3_file: Path, temporary_folder: Path) -> None:
    limits = api_settings.limits.model_copy(update={"max_upload_bytes": 1000})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        problem = assert_problem(await api.upload(mp3_file), 413, "PAYLOAD_TOO_LARGE")

        assert "1000 bytes" in problem["detail"]
        assert await leftovers(api, temporary_folder) == []


async def test_an_endless_upload_is_cut_off_at_the_limit(api_settings: Settings, temporary_folder: Path) -> None:
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        yield b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
        while True:
            sent_bytes += 65_536
            yield b"\0" * 65_536

    limits = api_settings.limits.model_copy(update={"max_upload_bytes": 1_000_000})
    async with open_api(api_settings.model_copy(update={"limits": limits})) as api:
        headers = {"Content-Type": "multipart/form-data; boundary=b0"}
        response = await api.http.post("/v1/uploads", content=endless(), headers=headers)

        assert_problem(response, 413, "PAYLOAD_TOO_LARGE")
        assert response.headers["connection"] == "close"
        assert sent_bytes < 1_300_000
        assert await leftovers(api, temporary_folder) == []


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(api: Api, temporary_folder: Path) -> None:
    class Left(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
        yield b"\0" * 65_536
        raise Left

    headers = {"Content-Type": "multipart/form-data; boundary=b0"}
    response = await api.http.post("/v1/uploads", content=broken(), headers=headers)

    assert_problem(response, 500, "INTERNAL")
    assert await leftovers(api, temporary_folder) == []


async def test_a_form_without_the_file_says_so(api: Api) -> None:
    response = await api.http.post("/v1/uploads", files={"flie": ("a.mp3", b"x")})

    assert pointers(assert_problem(response, 422, "INVALID_REQUEST")) == ["/flie", "/file"]


async def test_json_is_not_an_upload(api: Api) -> None:
    assert_problem(await api.http.post("/v1/uploads", json={}), 415, "UNSUPPORTED_MEDIA")


async def test_a_store_that_refuses_is_reported_and_leaves_no_row(
    api: Api, png_file: Path, temporary_folder: Path
) -> None:
    store = api.services.settings.data_dir / "artifacts"
    store.rmdir()
    store.write_text("in the way")

    response = await api.upload(png_file)

    assert_problem(response, 503, "UNAVAILABLE")
    async with api.services.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(ArtifactRow)) == 0


async def test_a_database_that_is_away_leaves_no_file_behind(api: Api, png_file: Path, temporary_folder: Path) -> None:
    async with api.services.database.write() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql("DROP TABLE artifacts")

    response = await api.upload(png_file)

    assert_problem(response, 503, "UNAVAILABLE")
    assert inside(temporary_folder) == []


@pytest.mark.parametrize("artifact_id", ["art_" + "0" * 26, "nonsense", "art_%00", "..%2f..%2fetc"])
async def test_an_unknown_artifact_is_not_found(api: Api, artifact_id: str) -> None:
    for suffix in ("", "/content"):
        response = await api.http.get(f"/v1/artifacts/{artifact_id}{suffix}")
        assert isinstance(response, httpx.Response)
        assert response.status_code == 404
        assert response.json()["code"] == "NOT_FOUND"
