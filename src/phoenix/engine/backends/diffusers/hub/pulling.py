"""Downloads the weights of a model from the hub, and verifies them. Imports no torch.

Workers read the same cache, and serve a model once its index is there. So it is stored last, after all
other files were verified: no worker sees half of a model.
"""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.model import ModelSpec
from phoenix.disk_space import is_full_disk, read_free_bytes
from phoenix.engine.backends.diffusers.folders import (
    INDEX,
    check_folder,
    check_whole,
    find_gguf,
    indexes_of,
    is_hub_id,
    is_on_disk,
    list_gguf_files,
)
from phoenix.engine.backends.diffusers.hub.needed_files import find_needed
from phoenix.errors import PhoenixError

_client: Any = huggingface_hub

ABANDONED_AFTER_S = 3600
"""A partial file that nobody has written to for so long is of a process that was killed. The hub's client keeps it."""

Notify = Callable[[str], None]
"""Gets a line about what happens next."""


class PullFailed(PhoenixError):
    """The weights cannot be downloaded. Says what to do."""


@dataclass(frozen=True)
class Pulled:
    """The weights of a model in the cache of the hub's client."""

    folder: Path
    commit: str
    size_bytes: int
    revision: str
    """What was asked for: a branch, a tag or the commit."""


@dataclass(frozen=True)
class HubAddress:
    """Where weights come from, and where they go. Without values: what HF_ENDPOINT and HF_HOME say."""

    endpoint: str | None = None
    cache_dir: Path | None = None

    @property
    def cache(self) -> Path:
        return self.cache_dir or Path(constants.HF_HUB_CACHE)


def pull(
    model: ModelSpec, *, revision: str | None = None, hub: HubAddress | None = None, notify: Notify = print
) -> Pulled:
    """Downloads what is missing, verifies every file, and makes the model available to workers. Raises `PullFailed`.

    A lost connection is resumed within a file. After a failure, the next call keeps the files that are complete.
    """
    source = _source_of(model)
    wanted = revision or model.revision or constants.DEFAULT_REVISION
    hub = hub or HubAddress()
    with _explained(model, source, wanted, hub):
        commit, files = _list_files(source, wanted, hub)
        present = {file.path for file in files}
        index = next((name for name in indexes_of(model) if name in present), None)
        if index is None:
            raise PullFailed(
                f"{source} has no {INDEX}: it is no diffusers pipeline. Repositories of such often end in -Diffusers"
            )
        content = _read_index(source, index, commit, hub)
        if model.second_stage is not None:
            # The index of the pipeline does not have it: it is a component of another pipeline.
            content = {**content, model.second_stage.upsampler: ["diffusers", "LTX2LatentUpsamplerModel"]}
        replaced = {file.component for file in list_gguf_files(model)}
        needed = set(find_needed(content, [file.path for file in files], without_weights_of=replaced))
        chosen = [file for file in files if file.path in needed]
        _remove_abandoned(source, hub)
        folder = _download(model, source, commit, chosen, hub, notify)
        _client.hf_hub_download(source, index, revision=commit, endpoint=hub.endpoint, cache_dir=hub.cache)
        check_folder(model, folder)
        _download_gguf_files(model, hub, notify)
    if wanted != commit:
        _name_commit(folder, wanted, commit)
    return Pulled(folder, commit, sum(file.size for file in chosen), wanted)


def pull_adapters(
    model: ModelSpec, adapters: Iterable[AdapterSpec], *, hub: HubAddress | None = None, notify: Notify = print
) -> None:
    """Downloads what is missing of the adapters of a model that are on the hub. Raises `PullFailed`."""
    hub = hub or HubAddress()
    for adapter in adapters:
        if not is_hub_id(adapter.source):
            continue
        revision = adapter.revision or constants.DEFAULT_REVISION
        with _explained(model, adapter.source, revision, hub):
            commit = HfApi(endpoint=hub.endpoint).model_info(adapter.source, revision=revision).sha or revision
            for file in adapter.files:
                notify(f"{adapter.source}: {file.weight_name} for the adapter {adapter.id}")
                path: str = _client.hf_hub_download(
                    adapter.source, file.weight_name, revision=commit, endpoint=hub.endpoint, cache_dir=hub.cache
                )
                check_whole(model, Path(path))
        if revision != commit:
            _name_commit(_repository_folder(adapter.source, hub) / "snapshots" / commit, revision, commit)


def _download_gguf_files(model: ModelSpec, hub: HubAddress, notify: Notify) -> None:
    for file in list_gguf_files(model):
        if is_hub_id(file.source) and file.weight_name is not None:
            notify(f"{file.weight_name} of {file.source}")
            _client.hf_hub_download(
                file.source, file.weight_name, revision=file.revision, endpoint=hub.endpoint, cache_dir=hub.cache
            )
        find_gguf(model, file)


def _source_of(model: ModelSpec) -> str:
    if model.is_remote:
        raise PullFailed(f"{model.id} is rendered by a service over the network: it has no weights to download")
    if model.source is None:
        raise PullFailed(f"{model.id} is drawn without weights: there is nothing to download")
    if is_on_disk(model):
        raise PullFailed(f"{model.id} reads its weights from the folder {model.source}: there is nothing to download")
    return model.source


def _list_files(source: str, revision: str, hub: HubAddress) -> tuple[str, list[RepoFile]]:
    """The commit of the revision, and all of its files."""
    api = HfApi(endpoint=hub.endpoint)
    commit = api.model_info(source, revision=revision).sha or revision
    tree = api.list_repo_tree(source, recursive=True, revision=commit)
    return commit, [entry for entry in tree if isinstance(entry, RepoFile)]


def _read_index(source: str, index: str, commit: str, hub: HubAddress) -> dict[str, object]:
    with TemporaryDirectory() as folder:
        file = _client.hf_hub_download(source, index, revision=commit, endpoint=hub.endpoint, local_dir=folder)
        return json.loads(Path(file).read_text(encoding="utf-8"))


def _download(
    model: ModelSpec, source: str, commit: str, files: list[RepoFile], hub: HubAddress, notify: Notify
) -> Path:
    """Returns the folder of the commit, with `files` in it. Each has the size and the hash that the hub states."""
    folder = _repository_folder(source, hub) / "snapshots" / commit
    absent = [file for file in files if not (folder / file.path).is_file()]
    absent_bytes = sum(file.size for file in absent)
    total = f"{_gigabytes(sum(file.size for file in files))} in {len(files)} files"
    notify(f"{source} at {commit[:12]}: {total}, of which {_gigabytes(absent_bytes)} are missing")
    _check_space(hub.cache, absent_bytes)
    if absent:
        _client.snapshot_download(
            source,
            revision=commit,
            endpoint=hub.endpoint,
            cache_dir=hub.cache,
            allow_patterns=[_as_pattern(file.path) for file in files],
        )
    notify(f"verifies {total}")
    for file in files:
        _verify(model, folder / file.path, file)
    return folder


def _verify(model: ModelSpec, path: Path, file: RepoFile) -> None:
    """Compares a file with the hash of the hub, SHA-256 or for a small file the hash of git. Removes a wrong file."""
    if file.lfs is not None:
        digest, expected = hashlib.sha256(), file.lfs.sha256
    else:
        digest, expected = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False), file.blob_id
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 24):
            digest.update(chunk)
    if digest.hexdigest() == expected:
        return
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    raise PullFailed(
        f"{file.path} is not what the hub has, and was removed: run `phoenix models pull {model.id}` again"
    )


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = read_free_bytes(folder)
    if needed_bytes > free_bytes:
        raise PullFailed(
            f"{folder} has {_gigabytes(free_bytes)} free, and {_gigabytes(needed_bytes)} are missing: make room,"
            " or set HF_HOME to a larger disk, for this command and for the workers"
        )


def _remove_abandoned(source: str, hub: HubAddress) -> None:
    oldest = time.time() - ABANDONED_AFTER_S
    for file in (_repository_folder(source, hub) / "blobs").glob("*.incomplete"):
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)


def _name_commit(folder: Path, revision: str, commit: str) -> None:
    """Notes which commit a branch or a tag is, as the hub's client does. Loads find the folder by it."""
    name = folder.parent.parent / "refs" / revision
    name.parent.mkdir(parents=True, exist_ok=True)
    name.write_text(commit)


def _repository_folder(source: str, hub: HubAddress) -> Path:
    return hub.cache / f"models--{source.replace('/', '--')}"


def _as_pattern(path: str) -> str:
    return path.replace("[", "[[]")


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


@contextmanager
def _explained(model: ModelSpec, source: str, revision: str, hub: HubAddress) -> Generator[None]:
    """Turns the errors of the hub's client into `PullFailed` with a remedy."""
    address = hub.endpoint or constants.ENDPOINT
    again = f"`phoenix models pull {model.id}` continues where it stopped"
    try:
        yield
    except PhoenixError:
        raise
    except GatedRepoError as error:
        raise PullFailed(
            f"{source} is gated: accept its license at {address}/{source}, then set HF_TOKEN to a token of that account"
        ) from error
    except RevisionNotFoundError as error:
        raise PullFailed(f"{source} has no revision {revision!r}: name a branch, a tag or a whole commit") from error
    except RepositoryNotFoundError as error:
        raise PullFailed(
            f"{address} has no repository {source}, or it is private: correct `source` in the catalog, or set HF_TOKEN"
        ) from error
    except HfHubHTTPError as error:
        raise PullFailed(f"{address} answered {error.response.status_code}: try later; {again}") from error
    except OfflineModeIsEnabled as error:
        raise PullFailed("HF_HUB_OFFLINE forbids downloads: unset it for this command") from error
    except Exception as error:
        if is_full_disk(error):
            raise PullFailed(f"the disk of {hub.cache} is full: make room, or set HF_HOME; then {again}") from error
        # The client passes the errors of its HTTP library on, which differs between its versions.
        raise PullFailed(
            f"the download from {address} failed ({_reason(error)}): check the network; {again}"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
