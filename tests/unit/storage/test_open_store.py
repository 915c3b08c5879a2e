"""Opens a store from the settings."""

from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import SecretStr

from phoenix.ids import new_artifact_id
from phoenix.settings import StorageSettings
from phoenix.storage.keys import upload_key
from phoenix.storage.store import open_store


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_the_default_is_a_folder_that_is_created(tmp_path: Path) -> None:
    store = open_store(StorageSettings(), default_folder=tmp_path / "a" / "b")
    key = upload_key(new_artifact_id())
    await store.put_stream(key, chunks(b"x"), None)
    assert (tmp_path / "a" / "b" / key).read_bytes() == b"x"


async def test_a_file_url_may_have_escaped_characters(tmp_path: Path) -> None:
    store = open_store(StorageSettings(url=(tmp_path / "my files").as_uri()), default_folder=tmp_path / "unused")
    key = upload_key(new_artifact_id())
    await store.put_stream(key, chunks(b"x"), None)
    assert (tmp_path / "my files" / key).is_file()
    assert not (tmp_path / "unused").exists()


async def test_a_bucket_signs_urls_without_a_request_to_its_endpoint(tmp_path: Path) -> None:
    settings = StorageSettings(
        url="s3://bucket/some/prefix",
        s3_endpoint="http://127.0.0.1:9",
        s3_access_key_id="id",
        s3_secret_access_key=SecretStr("secret"),
    )
    key = upload_key(new_artifact_id())
    url = await open_store(settings, default_folder=tmp_path).signed_url(key, 60)
    assert url is not None
    assert url.startswith(f"http://127.0.0.1:9/bucket/some/prefix/{key}?")
    assert "X-Amz-Expires=60" in url
