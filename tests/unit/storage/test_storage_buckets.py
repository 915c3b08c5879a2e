"""How a bucket is opened: where its links lead, and which keys are refused when it is opened."""

from pathlib import Path
from typing import Any

import pytest

from phoenix.settings import StorageSettings
from phoenix.storage.errors import StoreFailed
from phoenix.storage.store import find_link_origin, open_store

AZURE = {"url": "az://container", "azure_account": "films"}
GOOGLE = {"url": "gs://bucket"}


def storage(**values: Any) -> StorageSettings:
    return StorageSettings.model_validate(values)


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        (storage(**GOOGLE), "https://storage.googleapis.com"),
        (storage(**GOOGLE, gcs_endpoint="http://127.0.0.1:4443"), "http://127.0.0.1:4443"),
        (storage(**AZURE), "https://films.blob.core.windows.net"),
        (storage(**AZURE, azure_endpoint="http://127.0.0.1:10000/films"), "http://127.0.0.1:10000"),
        (storage(**AZURE, redirect_downloads=False), None),
    ],
    ids=["google", "google elsewhere", "azure", "azure elsewhere", "not redirected"],
)
def test_links_lead_to_the_server_of_the_bucket(settings: StorageSettings, origin: str | None) -> None:
    assert find_link_origin(settings) == origin


@pytest.mark.parametrize("content", [None, "{}", "no key"], ids=["missing", "empty", "odd"])
def test_a_key_file_that_cannot_be_read_is_reported_with_the_url(tmp_path: Path, content: str | None) -> None:
    key_file = tmp_path / "key.json"
    if content is not None:
        key_file.write_text(content)

    with pytest.raises(StoreFailed, match="gs://bucket cannot be opened"):
        open_store(storage(**GOOGLE, gcs_key_file=key_file), default_folder=tmp_path)
