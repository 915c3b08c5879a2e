"""The settings of what a server may have in addition: search by meaning, and Content Credentials."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from phoenix.settings.value_types import SettingsGroup, WebUrl


class SearchSettings(SettingsGroup):
    """Search by meaning, with the sentence model of the extra `search` or with another one. See docs/search.md."""

    meaning: Literal["auto", "off"] = Field(
        default="auto", description="`auto`: if the extra `search` is installed. Only API processes use it."
    )
    model_dir: Path | None = Field(
        default=None,
        description="Folder with another sentence model: model.onnx and tokenizer.json. The same on every replica.",
    )
    min_similarity: float = Field(
        default=0.25, ge=-1, le=1, description="Cosine below which a job is not similar; each model has its own scale."
    )


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
