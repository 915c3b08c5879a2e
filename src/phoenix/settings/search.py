"""The settings of the search by meaning."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from phoenix.settings.value_types import SettingsGroup


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
