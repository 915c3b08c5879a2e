"""Finds the files of a model, and checks that they are complete and safe to load. Imports no torch."""

import json
from pathlib import Path
from typing import Any, cast

from phoenix.catalog.model import ModelSpec
from phoenix.errors import FailureCode, Stage, TaskFailed

INDEX = "model_index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HEADER_LENGTH_BYTES = 8
LARGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format. A file that states a larger header has another format."""


def unavailable(model: ModelSpec, reason: str) -> TaskFailed:
    """Returns a failure with MODEL_UNAVAILABLE. Not retriable: an operator has to repair the files."""
    return TaskFailed(FailureCode.MODEL_UNAVAILABLE, f"model {model.id}: {reason}", stage=Stage.LOAD)


def is_on_disk(model: ModelSpec) -> bool:
    """Returns whether the source is a folder. A hub id has one slash, and begins with neither `/`, `.` nor `~`."""
    source = model.source or ""
    return source.startswith(("/", ".", "~")) or source.count("/") != 1 or Path(source).is_dir()


def is_available(model: ModelSpec, *, offline: bool) -> bool:
    """Returns whether a load can begin: there is a folder or a downloaded copy, or downloads are allowed. Cheap."""
    if is_on_disk(model):
        return _disk_folder(model).is_dir()
    return not offline or find_download(model) is not None


def find_download(model: ModelSpec) -> Path | None:
    """Returns the folder of a hub model in the local cache; None if the model was not downloaded."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (takes 300 ms, and animatics do not need it)

    assert model.source is not None
    found = try_to_load_from_cache(model.source, INDEX, revision=model.revision)
    return Path(found).parent if isinstance(found, str) else None


def get_folder(model: ModelSpec) -> Path:
    """Returns the folder of the model. Raises `TaskFailed` (MODEL_UNAVAILABLE) if there is none. Downloads nothing."""
    if is_on_disk(model):
        folder = _disk_folder(model)
        if not folder.is_dir():
            raise unavailable(model, f"there is no folder {folder}")
        return folder
    found = find_download(model)
    if found is None:
        raise unavailable(
            model,
            f"{model.source} has not been downloaded and this worker is offline;"
            f" run `hf download {model.source}` or set PHOENIX_ENGINE__OFFLINE=false",
        )
    return found


def check_folder(model: ModelSpec, folder: Path) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) with the name of a component that is missing, truncated or a pickle."""
    index = _read_json(model, folder / INDEX)
    for name, entry in index.items():
        if name.startswith("_") or not _is_component(entry):
            continue
        part = folder / name
        if not part.is_dir():
            raise unavailable(model, f"the component {name!r} is missing from {folder}")
        if (part / "config.json").is_file():
            _check_weights(model, part)


def _disk_folder(model: ModelSpec) -> Path:
    return Path(model.source or "").expanduser()


def _is_component(entry: object) -> bool:
    """Returns whether an entry is `[library, class]`. `[null, null]` is a component that is left out."""
    if not isinstance(entry, list):
        return False
    parts = cast("list[object]", entry)
    return len(parts) == 2 and all(isinstance(part, str) for part in parts)


def _check_weights(model: ModelSpec, part: Path) -> None:
    weights = sorted(part.glob("*.safetensors"))
    for index in sorted(part.glob("*.safetensors.index.json")):
        shards = set(_read_json(model, index).get("weight_map", {}).values())
        missing = sorted(shard for shard in shards if not (part / shard).is_file())
        if missing:
            raise unavailable(model, f"{part.name} is incomplete: {missing[0]} is missing")
    if not weights:
        pickles = [file.name for pattern in PICKLES for file in part.glob(pattern)]
        if pickles:
            raise unavailable(model, f"{part.name}/{pickles[0]} is a pickle; only safetensors are loaded")
        raise unavailable(model, f"{part.name} has no weights")
    for file in weights:
        _check_whole(model, file)


def _check_whole(model: ModelSpec, file: Path) -> None:
    """Detects partial downloads: the header of a safetensors file states the end of each tensor."""
    size_bytes = file.stat().st_size
    with file.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(HEADER_LENGTH_BYTES), "little")
        if not 0 < header_bytes <= min(size_bytes, LARGEST_HEADER_BYTES):
            raise unavailable(model, f"{file.parent.name}/{file.name} is not a safetensors file")
        try:
            header: dict[str, Any] = json.loads(stream.read(header_bytes))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise unavailable(model, f"{file.parent.name}/{file.name} has a broken header") from error
    expected_bytes = HEADER_LENGTH_BYTES + header_bytes + max(ends, default=0)
    if size_bytes < expected_bytes:
        raise unavailable(model, f"{file.parent.name}/{file.name} is cut short: {size_bytes} of {expected_bytes} bytes")


def _read_json(model: ModelSpec, path: Path) -> dict[str, Any]:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise unavailable(model, f"{path} is missing; is it a diffusers pipeline?") from None
    except (OSError, ValueError) as error:
        raise unavailable(model, f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise unavailable(model, f"{path} is not a JSON object")
    return cast("dict[str, Any]", document)
