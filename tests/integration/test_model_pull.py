"""Weights from the hub, by its own client against a stand-in on loopback: a real tiny pipeline, and what goes wrong."""

import json
import os
import sys
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.hub_server import COMMIT, NAME, HubServer
from fixtures.tiny_pipelines import TinyPipelines, tiny_catalog_toml, tiny_spec
from phoenix.catalog.adapters import AdapterFile, AdapterSpec, AdapterUse
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import GgufFile, Quantization, SecondStage
from phoenix.engine.backends.diffusers.adapters.files import find_parts
from phoenix.engine.backends.diffusers.folders import check_folder, find_download, find_gguf, is_available
from phoenix.engine.backends.diffusers.hub.pulling import ABANDONED_AFTER_S, HubAddress, PullFailed, pull, pull_adapters

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client. Other tests forbid this process all downloads."""
    from huggingface_hub import constants  # noqa: PLC0415 (takes 0.3 s)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # The client resumes after the last whole chunk, which has 10 MB otherwise.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
    return tmp_path / "cache"


@pytest.fixture
def hub(hub_server: HubServer, tiny_pipelines: TinyPipelines, cache: Path) -> HubServer:
    """A repository with a tiny Wan, and with what many repositories have besides."""
    hub_server.add_folder(tiny_pipelines("wan"))
    hub_server.files |= {
        "README.md": b"Tiny",
        "tiny.safetensors": bytes(50),
        "transformer/diffusion_pytorch_model.bin": b"a pickle",
        "transformer/diffusion_pytorch_model.fp16.safetensors": bytes(50),
    }
    return hub_server


@pytest.fixture
def model(hub: HubServer, tiny_pipelines: TinyPipelines, tmp_path: Path) -> ModelSpec:
    return tiny_spec("wan", tiny_pipelines("wan"), tmp_path).model_copy(update={"source": NAME})


def pulled_from(hub: HubServer, model: ModelSpec, **options: str) -> Path:
    return pull(model, hub=HubAddress(hub.url), notify=lambda _line: None, **options).folder


def complaint(hub: HubServer, model: ModelSpec, **options: str) -> str:
    with pytest.raises(PullFailed) as failed:
        pulled_from(hub, model, **options)
    return str(failed.value)


def test_a_worker_that_is_offline_can_load_what_was_pulled(hub, model):
    assert not is_available(model, offline=True)
    folder = pulled_from(hub, model)
    assert (is_available(model, offline=True), find_download(model)) == (True, folder)
    check_folder(model, folder)


def test_only_the_files_of_the_pipeline_are_downloaded(hub, model, tiny_pipelines):
    folder = pulled_from(hub, model)
    own = tiny_pipelines("wan")
    wanted = {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == wanted


def test_the_files_of_adapters_and_of_a_second_stage_are_downloaded_too(hub, model, tiny_pipelines):
    stored = (tiny_pipelines("wan") / WEIGHTS).read_bytes()
    hub.files |= {"lora.safetensors": stored, "up/config.json": b"{}", "up/diffusion_pytorch_model.safetensors": stored}
    file = AdapterFile(weight_name="lora.safetensors")
    adapter = AdapterSpec(id="fast", title="Fast", source=NAME, files=(file,), models=(model.id,))
    staged = model.model_copy(update={"second_stage": SecondStage(upsampler="up", sigmas=(0.9,))})
    folder = pulled_from(hub, staged)
    assert (folder / "up" / "diffusion_pytorch_model.safetensors").is_file()
    check_folder(staged, folder)
    pull_adapters(model, [adapter], hub=HubAddress(hub.url), notify=lambda _line: None)
    (part,) = find_parts(model, [AdapterUse(adapter, 1.0)], offline=True)
    assert part.path.read_bytes() == stored


def test_a_second_pull_downloads_nothing(hub, model):
    pulled_from(hub, model)
    hub.asked.clear()
    pulled_from(hub, model)
    assert hub.downloads() == []


def test_a_lost_connection_is_resumed_within_the_file(hub, model):
    hub.cuts = [1000]
    folder = pulled_from(hub, model)
    assert [each.range_start for each in hub.asked if each.range_start] == [1000]
    assert all((folder / path).read_bytes() == hub.files[path] for path in hub.downloads())


def test_an_interrupted_pull_keeps_the_complete_files_and_serves_no_half(hub, model):
    hub.tampered = {WEIGHTS: bytes(len(hub.files[WEIGHTS]))}
    assert "is not what the hub has" in complaint(hub, model)
    assert not is_available(model, offline=True)
    hub.tampered.clear()
    hub.asked.clear()
    pulled_from(hub, model)
    assert sorted(set(hub.downloads())) == ["model_index.json", WEIGHTS]


def test_a_commit_is_downloaded_for_an_entry_that_names_it(hub, model):
    pinned = model.model_copy(update={"revision": COMMIT})
    pulled_from(hub, pinned)
    assert (is_available(pinned, offline=True), is_available(model, offline=True)) == (True, False)


def test_what_a_killed_download_left_is_removed(hub, model, cache):
    blobs = cache / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    left, under_way = blobs / "a.1.incomplete", blobs / "b.2.incomplete"
    for file in (left, under_way):
        file.write_bytes(b"half")
    os.utime(left, (0, left.stat().st_mtime - ABANDONED_AFTER_S - 1))
    pulled_from(hub, model)
    assert (left.exists(), under_way.exists()) == (False, True)


def test_a_gated_repository_says_where_its_license_is_accepted(hub, model):
    hub.refusal = (403, "GatedRepo")
    text = complaint(hub, model)
    assert f"accept its license at {hub.url}/{NAME}" in text
    assert "HF_TOKEN" in text


def test_a_repository_that_is_not_there_is_named(hub, model):
    assert "has no repository acme/other" in complaint(hub, model.model_copy(update={"source": "acme/other"}))


def test_a_revision_that_is_not_there_is_named(hub, model):
    assert "no revision 'v9'" in complaint(hub, model, revision="v9")


def test_a_hub_that_cannot_be_reached_is_named(hub, model):
    with pytest.raises(PullFailed, match="check the network"):
        pull(model, hub=HubAddress("http://127.0.0.1:9"), notify=lambda _line: None)


def test_a_disk_without_room_is_found_before_the_download(hub, model):
    sizes = hub.tree
    hub.tree = lambda: [{**entry, "size": 10**18} if entry["path"] == WEIGHTS else entry for entry in sizes()]
    assert "are missing: make room" in complaint(hub, model)
    assert hub.downloads() == ["model_index.json"]


def test_a_repository_without_an_index_is_no_pipeline(hub, model):
    del hub.files["model_index.json"]
    assert "is no diffusers pipeline" in complaint(hub, model)


@pytest.mark.parametrize(
    ("model_id", "reason"), [("veo-3.1", "service over the network"), ("animatic", "drawn without weights")]
)
def test_a_model_without_weights_here_has_nothing_to_download(model_id, reason, hub):
    assert reason in complaint(hub, load_catalog().get(model_id))


def test_the_command_prints_the_folder_and_how_to_pin_the_commit(hub, tiny_pipelines, tmp_path):
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(tiny_catalog_toml({"wan": tiny_pipelines("wan")}).replace(str(tiny_pipelines("wan")), NAME))
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    environment |= {"PHOENIX_ENGINE__CATALOG_FILE": str(catalog), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "phoenix", "models", "pull", "tiny-wan"]
    done = child_processes.run(command, check=False, env=environment, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.strip()) == (
        0,
        str(tmp_path / "home" / "hub" / "models--acme--tiny" / "snapshots" / COMMIT),
    ), done.stderr
    assert f'revision = "{COMMIT}"' in done.stderr


def test_a_gguf_file_is_pulled_instead_of_the_weights_that_it_replaces(hub, model):
    hub.files["wan-Q8_0.gguf"] = b"GGUF" + bytes(60)
    files = (GgufFile(source=NAME, weight_name="wan-Q8_0.gguf", revision=COMMIT),)
    quantised = model.model_copy(update={"quantization": Quantization(kind="gguf", files=files)})
    folder = pulled_from(hub, quantised)
    assert not (folder / WEIGHTS).exists()
    assert (folder / "transformer" / "config.json").exists()
    check_folder(quantised, folder)
    assert find_gguf(quantised, files[0]).read_bytes()[:4] == b"GGUF"


def test_a_modular_pipeline_is_pulled_by_its_own_index_and_then_served_offline(hub, model):
    plain = json.loads(hub.files.pop("model_index.json"))
    index: dict[str, object] = {"_class_name": "WanModularPipeline", "_blocks_class_name": "WanBlocks"}
    for name, entry in plain.items():
        match entry:
            case [str(library), str(class_name)]:
                index[name] = [None, None, {"type_hint": [library, class_name], "subfolder": name}]
            case _:
                continue
    hub.files["modular_model_index.json"] = json.dumps(index).encode()
    modular = model.model_copy(update={"pipeline": "WanModularPipeline"})
    folder = pulled_from(hub, modular)
    assert (is_available(modular, offline=True), find_download(modular)) == (True, folder)
    assert (folder / WEIGHTS).is_file()
    check_folder(modular, folder)
