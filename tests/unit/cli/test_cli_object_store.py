"""Which settings of a bucket the doctor misses, and which variables take their place."""

from typing import Any

import pytest

from phoenix.cli.diagnosis.object_store import unset_credentials
from phoenix.settings import StorageSettings

AZURE = {"url": "az://container", "azure_account": "films"}
GOOGLE = {"url": "gs://bucket"}


def storage(**values: Any) -> StorageSettings:
    return StorageSettings.model_validate(values)


@pytest.mark.parametrize(
    ("settings", "variable", "setting"),
    [
        (storage(**GOOGLE), "GOOGLE_APPLICATION_CREDENTIALS", "PHOENIX_STORAGE__GCS_KEY_FILE"),
        (storage(**AZURE), "AZURE_STORAGE_SAS_TOKEN", "PHOENIX_STORAGE__AZURE_KEY"),
    ],
    ids=["google", "azure"],
)
def test_a_key_may_come_from_the_variables_of_its_provider(
    settings: StorageSettings, variable: str, setting: str
) -> None:
    assert unset_credentials(settings, {}) == [setting]
    assert unset_credentials(settings, {variable: "given"}) == []


def test_a_bucket_with_a_key_in_the_settings_lacks_nothing() -> None:
    assert unset_credentials(storage(**GOOGLE, gcs_key_file="/run/secrets/key.json"), {}) == []
    assert unset_credentials(storage(**AZURE, azure_key="a2V5"), {}) == []
