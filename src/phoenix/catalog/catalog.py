"""The catalog: the built-in entries, with the entries of the operator merged over them."""

import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.postprocessors import InterpolatorSpec, LipModelSpec, UpscalerSpec
from phoenix.errors import NotFound, PhoenixError

BUILTIN = (
    "animatic",
    "wan",
    "wan-conditions",
    "wan-distilled",
    "lucy",
    "ltx",
    "hunyuan",
    "cogvideox",
    "skyreels",
    "mochi",
    "kandinsky",
    "sana",
    "veo",
    "omni",
    "motion",
    "drawn-mouth",
)
"""The files of the built-in entries, in the order in which clients see them."""


class CatalogError(PhoenixError):
    """A catalog file cannot be used."""


_Entry = TypeVar("_Entry", ModelSpec, AdapterSpec, UpscalerSpec, InterpolatorSpec, LipModelSpec)
_Fields = dict[str, Any]
_Entries = dict[str, dict[str, _Fields]]
"""The fields of entries, by kind and id."""
_KINDS = ("models", "adapters", "upscalers", "interpolators", "lip_models")


class Catalog:
    """The models of this deployment. Iterating gives the entries in the order of the files.

    `adapters` are the adapters that its models take; `upscalers` and `interpolators` are for the clips of all models,
    and `lip_models` for videos. Raises `CatalogError` if a model or a tier is named that is none.
    """

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        adapters: Iterable[AdapterSpec] = (),
        *,
        upscalers: Iterable[UpscalerSpec] = (),
        interpolators: Iterable[InterpolatorSpec] = (),
        lip_models: Iterable[LipModelSpec] = (),
    ) -> None:
        self._specs = MappingProxyType({spec.id: spec for spec in specs})
        self.adapters = tuple(adapters)
        self.upscalers = MappingProxyType({spec.id: spec for spec in upscalers})
        self.interpolators = MappingProxyType({spec.id: spec for spec in interpolators})
        self.lip_models = MappingProxyType({spec.id: spec for spec in lip_models})
        self._check_references()

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._specs

    def find(self, model_id: str) -> ModelSpec | None:
        return self._specs.get(model_id)

    def get(self, model_id: str) -> ModelSpec:
        """The entry of the model. Raises `NotFound`, which lists the known models."""
        spec = self.find(model_id)
        if spec is None:
            raise NotFound(f"There is no model {model_id!r}; there are: {', '.join(self._specs)}.")
        return spec

    def adapters_of(self, model: ModelSpec) -> dict[str, AdapterSpec]:
        """The adapters that a model takes, by id."""
        if model.engine != "diffusers":
            return {}
        return {adapter.id: adapter for adapter in self.adapters if adapter.fits(model.id)}

    def tier_adapters(self, model: ModelSpec) -> list[AdapterSpec]:
        """The adapters that the tiers of a model add, each once."""
        taken = self.adapters_of(model)
        return [taken[name] for name in dict.fromkeys(use.id for tier in model.tiers.values() for use in tier.adapters)]

    def needed_adapters(self, model: ModelSpec) -> list[AdapterSpec]:
        """The adapters without which no tier of a model can be rendered."""
        tiers = [model.tiers.get(quality) for quality in model.qualities]
        used = [{use.id for use in tier.adapters if use.scale != 0} if tier else set[str]() for tier in tiers]
        return [each for name, each in self.adapters_of(model).items() if all(name in names for names in used)]

    @property
    def postprocessors(self) -> tuple[UpscalerSpec | InterpolatorSpec, ...]:
        return (*self.upscalers.values(), *self.interpolators.values())

    @property
    def frame_changers(self) -> tuple[UpscalerSpec | InterpolatorSpec | LipModelSpec, ...]:
        """Everything that can change the frames of a clip after its model."""
        return (*self.postprocessors, *self.lip_models.values())

    def _check_references(self) -> None:
        for shared in self.upscalers.keys() & self.interpolators.keys():
            raise CatalogError(f"upscaler {shared!r}: an interpolator has the same id")
        for shared in self.lip_models.keys() & {spec.id for spec in self.postprocessors}:
            raise CatalogError(f"lip model {shared!r}: an upscaler or interpolator has the same id")
        taken = {model.id: self.adapters_of(model) for model in self}
        for adapter in self.adapters:
            for pattern in adapter.models:
                if not any(adapter.id in taken[model] and fnmatchcase(model, pattern) for model in self._specs):
                    raise CatalogError(f"adapter {adapter.id!r}: models: no diffusers model has the id {pattern!r}")
        for model in self:
            for quality, tier in model.tiers.items():
                for use in tier.adapters:
                    if use.id not in taken[model.id]:
                        raise CatalogError(
                            f"model {model.id!r}: tiers.{quality}.adapters: it takes no adapter {use.id!r}"
                        )


def load_catalog(extra_file: Path | None = None) -> Catalog:
    """The built-in entries, with `extra_file` merged over them.

    An entry with a known id changes the fields that it names and keeps the other fields; an entry with a new id is
    added. Raises `CatalogError`, which names the file, the entry and the field.
    """
    if extra_file is None:
        return _load_builtin()
    builtin = _read_builtin()
    added = {
        kind: {entry_id: _merge(builtin[kind].get(entry_id, {}), fields) for entry_id, fields in entries.items()}
        for kind, entries in _parse(_read(extra_file), str(extra_file)).items()
    }
    return _lay_over(_load_builtin(), added, f"catalog file {extra_file}")


@cache
def _load_builtin() -> Catalog:
    return _lay_over(Catalog(()), _read_builtin(), "the built-in catalog")


@cache
def _read_builtin() -> _Entries:
    entries: _Entries = {kind: {} for kind in _KINDS}
    for family in BUILTIN:
        builtin = files("phoenix.catalog").joinpath("builtin", f"{family}.toml")
        for kind, added in _parse(builtin.read_text(encoding="utf-8"), builtin.name).items():
            entries[kind] |= added
    return entries


def _lay_over(below: Catalog, added: _Entries, where: str) -> Catalog:
    """A catalog in which `added` replaces the entries with the same ids, and follows all others."""
    return Catalog(
        _replace(ModelSpec, below, f"{where}: model", added["models"]),
        _replace(AdapterSpec, below.adapters, f"{where}: adapter", added["adapters"]),
        upscalers=_replace(UpscalerSpec, below.upscalers.values(), f"{where}: upscaler", added["upscalers"]),
        interpolators=_replace(
            InterpolatorSpec, below.interpolators.values(), f"{where}: interpolator", added["interpolators"]
        ),
        lip_models=_replace(LipModelSpec, below.lip_models.values(), f"{where}: lip model", added["lip_models"]),
    )


def _replace(kind: type[_Entry], below: Iterable[_Entry], name: str, added: dict[str, _Fields]) -> Iterable[_Entry]:
    checked = {entry_id: _check(kind, name, entry_id, fields) for entry_id, fields in added.items()}
    return ({entry.id: entry for entry in below} | checked).values()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalog file {path}: {error}") from error


def _parse(text: str, name: str) -> _Entries:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"catalog file {name}: {error}") from error
    tables = {kind: document.pop(kind) for kind in _KINDS if kind in document}
    if document or not tables or not all(isinstance(table, list) for table in tables.values()):
        raise CatalogError(
            f"catalog file {name}: write each entry as a table [[models]], [[adapters]], [[upscalers]],"
            " [[interpolators]] or [[lip_models]], and nothing else"
        )
    where = f"catalog file {name}"
    return {
        kind: _by_id(tables.get(kind, []), f"{where}: {kind.removesuffix('s').replace('_', ' ')}") for kind in _KINDS
    }


def _by_id(tables: list[_Fields], name: str) -> dict[str, _Fields]:
    entries: dict[str, _Fields] = {}
    for position, fields in enumerate(tables):
        entry_id = fields.get("id")
        if not isinstance(entry_id, str):
            raise CatalogError(f"{name} number {position + 1} has no id")
        if entry_id in entries:
            raise CatalogError(f"{name} {entry_id!r} is there twice")
        entries[entry_id] = fields
    return entries


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(cast("dict[str, Any]", old), cast("dict[str, Any]", value)) if both_tables else value
    return merged


def _check(kind: type[_Entry], name: str, entry_id: str, fields: _Fields) -> _Entry:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}" for item in error.errors())
        raise CatalogError(f"{name} {entry_id!r}: {problems}") from error
