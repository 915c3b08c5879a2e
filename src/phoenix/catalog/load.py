"""Loads the catalog: the built-in entries, with the operator's own file merged over them."""

import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError

from phoenix.catalog.model import ModelSpec
from phoenix.errors import NotFound, PhoenixError


class CatalogError(PhoenixError):
    """A catalog file cannot be used."""


class Catalog:
    """The models of this deployment, in the order of the files; iterating gives the entries."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self._specs = MappingProxyType({spec.id: spec for spec in specs})

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._specs

    def find(self, model_id: str) -> ModelSpec | None:
        return self._specs.get(model_id)

    def get(self, model_id: str) -> ModelSpec:
        """Raises `NotFound`, naming the models there are."""
        spec = self.find(model_id)
        if spec is None:
            raise NotFound(f"There is no model {model_id!r}; there are: {', '.join(self._specs)}.")
        return spec


def load_catalog(extra_file: Path | None = None) -> Catalog:
    """The built-in models, with `extra_file` merged over them.

    An entry with a known id changes the fields that it names (`source`, say) and keeps the rest; one with a
    new id adds a model. Raises `CatalogError`, naming the file, the entry and the field.
    """
    builtin = files("phoenix.catalog").joinpath("builtin.toml").read_text(encoding="utf-8")
    entries = _parse(builtin, "builtin.toml")
    if extra_file is not None:
        for model_id, fields in _parse(_read(extra_file), str(extra_file)).items():
            entries[model_id] = _merge(entries.get(model_id, {}), fields)
    return Catalog(_check(model_id, fields, extra_file) for model_id, fields in entries.items())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalog file {path}: {error}") from error


def _parse(text: str, name: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"catalog file {name}: {error}") from error
    models = document.pop("models", None)
    if document or not isinstance(models, list):
        raise CatalogError(f"catalog file {name}: write each model as a [[models]] table, and nothing else")
    entries: dict[str, dict[str, Any]] = {}
    for position, fields in enumerate(cast("list[dict[str, Any]]", models)):
        model_id = fields.get("id")
        if not isinstance(model_id, str):
            raise CatalogError(f"catalog file {name}: model number {position + 1} has no id")
        if model_id in entries:
            raise CatalogError(f"catalog file {name}: model {model_id!r} is there twice")
        entries[model_id] = fields
    return entries


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(cast("dict[str, Any]", old), cast("dict[str, Any]", value)) if both_tables else value
    return merged


def _check(model_id: str, fields: dict[str, Any], extra_file: Path | None) -> ModelSpec:
    try:
        return ModelSpec.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}" for item in error.errors())
        where = f"catalog file {extra_file}" if extra_file else "the built-in catalog"
        raise CatalogError(f"{where}: model {model_id!r}: {problems}") from error
