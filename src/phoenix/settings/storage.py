"""The settings of the object store: a folder, or a bucket of S3, Google Cloud Storage or Azure Blob Storage."""

import base64
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from phoenix.settings.value_types import SettingsGroup, StorageUrl, WebUrl


class StorageSettings(SettingsGroup):
    url: StorageUrl | None = Field(
        default=None,
        description="file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; "
        "a folder in data_dir if unset.",
    )
    reserve_bytes: int = Field(
        default=512 * 2**20,
        ge=0,
        description="Free bytes on the disks of a folder and of SQLite below which jobs and uploads are refused; "
        "no reserve if 0.",
    )
    s3_endpoint: WebUrl | None = None
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    gcs_key_file: Path | None = Field(
        default=None, description="JSON key of a Google service account; the identity of the machine if unset."
    )
    gcs_endpoint: WebUrl | None = None
    azure_account: str | None = Field(default=None, description="Storage account of the container of an az:// URL.")
    azure_key: SecretStr | None = Field(
        default=None, description="Access key of the storage account; the identity of the machine if unset."
    )
    azure_endpoint: WebUrl | None = None
    request_timeout_s: float = Field(
        default=30, gt=0, description="Time limit of one request to a bucket, of a few MB at most."
    )
    max_retries: int = Field(default=3, ge=0, description="Retries of one request to a bucket.")
    redirect_downloads: bool = Field(
        default=True,
        description="Redirect downloads to URLs that the bucket signs; turn off if clients cannot reach the bucket.",
    )
    signed_url_s: float = Field(default=900, ge=1, le=604_800, description="How long a signed URL stays valid.")

    @field_validator("azure_key")
    @classmethod
    def _check_azure_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            try:
                base64.b64decode(key.get_secret_value(), validate=True)
            except ValueError:
                raise ValueError("write an access key of the storage account, as Azure shows it: in base64") from None
        return key

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("set both of s3_access_key_id and s3_secret_access_key, or neither")
        if self.scheme == "az" and self.azure_account is None:
            raise ValueError("set azure_account to the storage account that has the container")
        return self

    @property
    def scheme(self) -> str:
        """`file`, `s3`, `gs` or `az`."""
        return urlsplit(self.url or "file:").scheme

    @property
    def link_s(self) -> float | None:
        """Validity of signed download URLs in seconds; None if downloads are not redirected."""
        return self.signed_url_s if self.redirect_downloads else None
