"""The settings of what a server may have in addition: others' protocols, search by meaning, lip-sync, credentials."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from phoenix.settings.value_types import SettingsGroup, WebUrl

PixelSize = Annotated[str, Field(pattern=r"^[0-9]{2,5}x[0-9]{2,5}$")]


class VideosSettings(SettingsGroup):
    """`/v1/videos`, for tools that speak the protocol of OpenAI or OpenRouter. See docs/other-protocols.md."""

    enabled: bool = Field(default=True, description="Whether there are routes under /v1/videos.")
    models: dict[str, str] = Field(
        default={},
        description='Names that tools have for models, as JSON: {"sora-2": "wan-2.2-ti2v-5b"}.',
    )
    sizes: dict[PixelSize, PixelSize] = Field(
        default={},
        description='Sizes that tools ask for, and what is made instead, as JSON: {"1792x1024": "1280x720"}.',
    )
    edit_model: str | None = Field(
        default=None, description="Model of an edit whose video was made by a model that takes no videos."
    )
    max_json_bytes: int = Field(
        default=32_000_000, ge=1, description="Largest JSON body of a video, with its pictures in base64."
    )


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


class LipsyncSettings(SettingsGroup):
    """Lip-sync: see docs/lip-sync.md. GPU workers read the file; the API looks only whether it is named."""

    default_model: str = "drawn-mouth"
    face_detector: str | None = Field(
        default=None, description="ONNX file in the form of CenterFace; a request must give the box if unset."
    )
    part_s: float = Field(
        default=60, ge=1, description="A longer lip-sync is made in parts of about so many seconds, by several workers."
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
