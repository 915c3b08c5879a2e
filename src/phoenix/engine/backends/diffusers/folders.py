"""Finds the files of a model, and checks that they are complete and safe to load. Imports no torch."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import GgufFile, Quantization
from phoenix.errors import FailureCode, Stage, TaskFailed

INDEX = "model_index.json"
MODULAR_INDEX = "modular_model_index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
VARIANT = re.compile(r"\.(?:fp16|bf16|fp32|non_ema)(?:-\d+-of-\d+)?\.safetensors")
"""Names of files in another precision, which a load leaves out."""

GGUF_MAGIC = b"GGUF"
HEADER_LENGTH_BYTES = 8
LARGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format. A file that states a larger header has another format."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file: its type, its shape, where it ends in the file, and its name."""

    dtype: str
    shape: tuple[int, ...]
    end: int
    name: str

    @property
    def values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class StoredComponent:
    """A component of a pipeline on disk: its folder, and the library and the name of its class."""

    folder: Path
    library: str
    class_name: str


def unavailable(model: ModelSpec, reason: str) -> TaskFailed:
    """Returns a failure with MODEL_UNAVAILABLE. Not retriable: an operator has to repair the files."""
    return TaskFailed(FailureCode.MODEL_UNAVAILABLE, f"model {model.id}: {reason}", stage=Stage.LOAD)


def is_on_disk(model: ModelSpec) -> bool:
    """Returns whether the source is a folder."""
    return not is_hub_id(model.source or "")


def is_hub_id(source: str) -> bool:
    """Returns whether the source is an id of the hub: one slash, and neither `/`, `.` nor `~` at its beginning."""
    return not source.startswith(("/", ".", "~")) and source.count("/") == 1 and not Path(source).is_dir()


def is_available(model: ModelSpec, *, offline: bool) -> bool:
    """Returns whether a load can begin: there is a folder or a downloaded copy, or downloads are allowed. Cheap."""
    if is_on_disk(model):
        return _disk_folder(model).is_dir()
    return not offline or find_download(model) is not None


def has_adapter_files(adapter: AdapterSpec, *, offline: bool) -> bool:
    """Returns whether a load of the adapter can begin: its files are here, or downloads are allowed. Cheap."""
    if not is_hub_id(adapter.source):
        return all((Path(adapter.source).expanduser() / file.weight_name).is_file() for file in adapter.files)
    if not offline:
        return True
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (as below)

    names = (file.weight_name for file in adapter.files)
    return all(
        isinstance(try_to_load_from_cache(adapter.source, name, revision=adapter.revision), str) for name in names
    )


def find_download(model: ModelSpec) -> Path | None:
    """Returns the folder of a hub model in the local cache; None if the model was not downloaded."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (takes 300 ms, and animatics do not need it)

    assert model.source is not None
    for index in indexes_of(model):
        found = try_to_load_from_cache(model.source, index, revision=model.revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def indexes_of(model: ModelSpec) -> tuple[str, str]:
    """Returns the names of the index of a model, the name for its kind first: a folder may have both, or only one."""
    return (MODULAR_INDEX, INDEX) if is_modular_entry(model) else (INDEX, MODULAR_INDEX)


def is_modular_entry(model: ModelSpec) -> bool:
    """Returns whether the entry names a modular pipeline of diffusers. Without a class, the folder decides."""
    return (model.pipeline or "").endswith("ModularPipeline")


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
            f" run `phoenix models pull {model.id}` or set PHOENIX_ENGINE__OFFLINE=false",
        )
    return found


def read_index(model: ModelSpec, folder: Path) -> dict[str, Any]:
    """Returns the class of the pipeline, as `_class_name`, its components and settings. Raises `TaskFailed`."""
    present = [folder / name for name in indexes_of(model) if (folder / name).is_file()]
    return _read_json(model, present[0] if present else folder / INDEX)


def find_components(model: ModelSpec, folder: Path) -> dict[str, StoredComponent]:
    """Returns the components that the index of the folder names. Raises `TaskFailed` if one is outside of the folder.

    The index of a modular pipeline also names components that only some of its calls need, and components of other
    repositories: those that are not in the folder are left out.
    """
    found: dict[str, StoredComponent] = {}
    for name, entry in read_index(model, folder).items():
        match entry:
            case [str(library), str(class_name)] if not name.startswith("_"):
                found[name] = StoredComponent(folder / name, library, class_name)
            case [_, _, {"type_hint": [str(library), str(class_name)], **place}] if not name.startswith("_"):
                part = folder / str(place.get("subfolder") or name)
                if not part.resolve().is_relative_to(folder.resolve()):
                    raise unavailable(model, f"its component {name!r} is not in its folder, but in {part}")
                if part.is_dir():
                    found[name] = StoredComponent(part, library, class_name)
            case _:
                continue
    return found


def find_class_name(model: ModelSpec, folder: Path, component: str) -> str | None:
    """Returns the name of the component's class; None if the model has no such component. Raises `TaskFailed`."""
    stored = find_components(model, folder).get(component)
    return stored.class_name if stored else None


def find_hub_file(model: ModelSpec, what: str, source: str, name: str, *, revision: str | None, offline: bool) -> Path:
    """Returns a file of a repository of the hub, and downloads it unless `offline`. `what` names it in a failure.

    Raises `TaskFailed` (MODEL_UNAVAILABLE).
    """
    import huggingface_hub  # noqa: PLC0415 (takes 300 ms, and many clips need no such file)

    hub = cast("Any", huggingface_hub)
    try:
        return Path(hub.hf_hub_download(source, name, revision=revision, local_files_only=offline))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise unavailable(model, f"{what} cannot be read: {reason}") from error


def list_gguf_files(model: ModelSpec) -> tuple[GgufFile, ...]:
    """Returns the GGUF files that the entry names; none for another quantisation."""
    return model.quantization.files if isinstance(model.quantization, Quantization) else ()


def find_gguf(model: ModelSpec, file: GgufFile, *, offline: bool = True) -> Path:
    """Returns the path of the file on this machine, and downloads it unless `offline`.

    Raises `TaskFailed` (MODEL_UNAVAILABLE) if it is missing, or no GGUF file: diffusers would open another one as a
    pickle.
    """
    if is_hub_id(file.source):
        if file.weight_name is None:
            raise unavailable(model, f"quantization.files: {file.source} needs a weight_name")
        what = f"quantization.files: {file.weight_name} of {file.source}"
        path = find_hub_file(model, what, file.source, file.weight_name, revision=file.revision, offline=offline)
    else:
        path = Path(file.source).expanduser()
        path = path if file.weight_name is None else path / file.weight_name
    if not path.is_file():
        raise unavailable(model, f"quantization.files: there is no file {path}")
    with path.open("rb") as stream:
        if path.suffix != ".gguf" or stream.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise unavailable(model, f"quantization.files: {path} is no GGUF file; other files are not loaded")
    return path


def check_folder(model: ModelSpec, folder: Path) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) with the name of a component that is missing, truncated or a pickle.

    Components whose weights come from GGUF files need none in the folder.
    """
    without = {file.component for file in list_gguf_files(model)}
    folders = {name: component.folder for name, component in find_components(model, folder).items()}
    if model.second_stage is not None:
        folders[model.second_stage.upsampler] = folder / model.second_stage.upsampler
    for name, part in folders.items():
        if not part.is_dir():
            raise unavailable(model, f"the component {name!r} is missing from {folder}")
        if (part / "config.json").is_file() and name not in without:
            _check_weights(model, part)


def _disk_folder(model: ModelSpec) -> Path:
    return Path(model.source or "").expanduser()


def list_weight_files(model: ModelSpec, part: Path) -> list[Path]:
    """Returns the safetensors files that a load of the component reads. Raises `TaskFailed` if one is missing."""
    files = [file for file in sorted(part.glob("*.safetensors")) if not VARIANT.search(file.name)]
    indexes = [file for file in sorted(part.glob("*.safetensors.index.json")) if not VARIANT.search(file.name)]
    for index in indexes:
        shards = sorted(set(_read_json(model, index).get("weight_map", {}).values()))
        missing = [shard for shard in shards if not (part / shard).is_file()]
        if missing:
            raise unavailable(model, f"{part.name} is incomplete: {missing[0]} is missing")
        return [part / shard for shard in shards]
    return files


def _check_weights(model: ModelSpec, part: Path) -> None:
    weights = list_weight_files(model, part)
    if not weights:
        pickles = [file.name for pattern in PICKLES for file in part.glob(pattern)]
        if pickles:
            raise unavailable(model, f"{part.name}/{pickles[0]} is a pickle; only safetensors are loaded")
        raise unavailable(model, f"{part.name} has no weights")
    for file in weights:
        check_whole(model, file)


def read_stored_tensors(model: ModelSpec, file: Path) -> list[StoredTensor]:
    """Returns the tensors of a safetensors file. Reads only its header. Raises `TaskFailed` if it is broken."""
    with file.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(HEADER_LENGTH_BYTES), "little")
        if not 0 < header_bytes <= min(file.stat().st_size, LARGEST_HEADER_BYTES):
            raise unavailable(model, f"{file.parent.name}/{file.name} is not a safetensors file")
        try:
            header: dict[str, Any] = json.loads(stream.read(header_bytes))
            start = HEADER_LENGTH_BYTES + header_bytes
            return [
                StoredTensor(entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][1], name)
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise unavailable(model, f"{file.parent.name}/{file.name} has a broken header") from error


def check_whole(model: ModelSpec, file: Path) -> None:
    """Raises `TaskFailed` for a file that is cut short, or no safetensors file.

    Detects partial downloads: the header of a safetensors file states the end of each tensor.
    """
    expected_bytes = max((tensor.end for tensor in read_stored_tensors(model, file)), default=0)
    size_bytes = file.stat().st_size
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
