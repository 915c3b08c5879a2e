"""The settings of Content Credentials (C2PA), with which results are signed."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from phoenix.settings.value_types import SettingsGroup, WebUrl


class C2paSettings(SettingsGroup):
    """Sign each result with Content Credentials (C2PA). Media workers read the files. See docs/provenance.md."""

    certificate: Path | None = Field(
        default=None, description="PEM file: the certificate of the signer, then the certificates that issued it."
    )
    key: Path | None = Field(default=None, description="PEM file with the private key, without a password.")
    timestamp_url: WebUrl | None = Field(
        default=None,
        description="Time-stamp authority (RFC 3161); without one, credentials end with the certificate.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("set both of certificate and key, or neither")
        return self
