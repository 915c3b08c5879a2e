"""Which files of a hub repository a pipeline needs. Pure.

A repository of a video model often has more: the same weights as one file for other programs, in other dtypes, and as
pickles.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, cast

WEIGHTS = ".safetensors"
INDEX_OF_SHARDS = ".safetensors.index.json"
TEXTS = (".json", ".txt", ".model", ".jinja", ".spm", ".vocab", ".merges", ".tiktoken")
"""Endings of configurations and tokenizers. Code is never loaded, so a `.py` is not needed."""

_VARIANT = re.compile(r"\.(fp16|bf16|fp32|fp8|int8|ema|non_ema)(?=[.-])")
"""In the name of weights that `from_pretrained` reads only if it is asked for this variant."""

_STEMS = {"transformers": "model", "diffusers": "diffusion_pytorch_model"}
"""With what the names of the weights of a library begin."""


def find_components(index: Mapping[str, object]) -> dict[str, str]:
    """The folders of the components that an index names, with their library. `[null, null]` is left out.

    A modular index says where each component is. One of another repository has no folder here.
    """
    found: dict[str, str] = {}
    for name, entry in cast("Mapping[str, Any]", index).items():
        match entry:
            case [str(library), str()] if not name.startswith("_"):
                found[name] = library
            case [_, _, {"type_hint": [str(library), str()], **place}] if not name.startswith("_"):
                found[str(place.get("subfolder") or name).strip("/")] = library
            case _:
                continue
    return found


def find_needed(
    index: Mapping[str, object], paths: Iterable[str], *, without_weights_of: Collection[str] = ()
) -> list[str]:
    """The paths that a load from the repository reads, in order, the index itself left out.

    `index`: the content of its index, of either kind. `paths`: all files of the repository. Components
    `without_weights_of` have their weights from elsewhere.
    """
    components = find_components(index)
    in_folders: dict[str, list[PurePosixPath]] = {name: [] for name in components}
    for path in map(PurePosixPath, paths):
        if len(path.parts) == 2 and path.parts[0] in in_folders:
            in_folders[path.parts[0]].append(path)
    needed = [
        path
        for name, found in in_folders.items()
        for path in _of_component(components[name], found)
        if name not in without_weights_of or not path.name.endswith((WEIGHTS, INDEX_OF_SHARDS))
    ]
    return sorted(str(path) for path in needed)


def _of_component(library: str, paths: list[PurePosixPath]) -> list[PurePosixPath]:
    weights = [path for path in paths if path.name.endswith((WEIGHTS, INDEX_OF_SHARDS))]
    plain = [path for path in weights if not _VARIANT.search(path.name)]
    # A folder may have the weights under the names of both libraries.
    stem = _STEMS.get(library, _STEMS["diffusers"])
    own = [path for path in plain if path.name.startswith(stem)] or plain
    texts = [path for path in paths if path.suffix in TEXTS and path not in weights]
    return [*_of_one_kind(own), *texts]


def _of_one_kind(weights: list[PurePosixPath]) -> list[PurePosixPath]:
    """The shards and their index, or the one file. A folder with both has every weight twice."""
    indexes = [path for path in weights if path.name.endswith(INDEX_OF_SHARDS)]
    shards = [path for path in weights if re.search(r"-\d{5}-of-\d{5}\.", path.name)]
    return [*indexes, *shards] if indexes and shards else weights
