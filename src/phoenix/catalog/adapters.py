"""The schema of an adapter: LoRA weights that a clip switches on by id, without another copy of the model."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from phoenix.catalog.rules import EntryPart, FloatRange


class AdapterFile(EntryPart):
    """One file of an adapter. Other formats than safetensors can run code when they are read, so they are refused."""

    weight_name: Annotated[
        str, Field(pattern=r"\.safetensors$", description="The safetensors file in the folder or the repository.")
    ]
    component: Literal["transformer", "transformer_2"] = Field(
        default="transformer", description="The expert that the file changes."
    )


class AdapterSpec(EntryPart):
    """One adapter of the catalog. A pair for two experts is one adapter of two files."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    description: str = ""
    source: str = Field(description="Folder or hub id of its files.")
    revision: str | None = None
    files: Annotated[tuple[AdapterFile, ...], Field(min_length=1)]
    models: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Ids of the models that it was made for. `*` stands for any text: `wan-2.2-*`."
    )
    scale: FloatRange = FloatRange(minimum=0, maximum=2, default=1)
    trigger_words: tuple[str, ...] = ()

    def fits(self, model_id: str) -> bool:
        """Whether the adapter was made for the model."""
        return any(fnmatchcase(model_id, pattern) for pattern in self.models)

    @model_validator(mode="after")
    def _has_one_file_per_component(self) -> Self:
        components = [file.component for file in self.files]
        if len(set(components)) < len(components):
            raise ValueError("two files change the same component: make two adapters of them")
        return self


@dataclass(frozen=True)
class AdapterUse:
    """An adapter, and how strongly it acts in a clip."""

    adapter: AdapterSpec
    scale: float
