"""`phoenix models here` and the models in `phoenix doctor`: what a machine with a given memory can serve."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.tiny_pipelines import TinyPipelines, tiny_catalog_toml
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.fit import Fit, MachineMemory
from phoenix.catalog.tuning import Quantization
from phoenix.cli.app import app
from phoenix.cli.doctor import CHECKS, CheckStatus, Finding, examine
from phoenix.engine.backends.diffusers.choosing.choices import Card
from phoenix.engine.host_memory import host_limit_bytes
from phoenix.engine.readiness import Gpu, Readiness, machine_of, survey, too_large
from phoenix.settings import EngineSettings, Settings

CARD = MachineMemory("a card", 24_000_000_000, 21_600_000_000, 32_000_000_000)
AMPERE = Card("a card", CARD.budget_bytes, capability=(8, 6), has_compiler=True)


@pytest.fixture
def catalog_file(tiny_pipelines: TinyPipelines, tmp_path: Path) -> Path:
    """A catalog with a model whose folder is here, and another whose folder lacks a component."""
    whole, half = tiny_pipelines("wan"), tmp_path / "half"
    half.mkdir()
    (half / "model_index.json").write_bytes((whole / "model_index.json").read_bytes())
    file = tmp_path / "catalog.toml"
    file.write_text(tiny_catalog_toml({"wan": whole, "wan22": half}))
    return file


def settings(folder: Path, **engine: object) -> Settings:
    return Settings(data_dir=folder / "data", engine=EngineSettings.model_validate(engine))


def readiness(settings: Settings, model_id: str) -> Readiness:
    model = load_catalog(settings.engine.catalog_file).get(model_id)
    return survey([model], settings, CARD, AMPERE)[0]


def models_finding(settings: Settings) -> Finding:
    [found] = asyncio.run(examine(settings, {"models": CHECKS["models"]}))
    return found


def run_here(*options: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["models", "here", *options], env=environment)


def test_weights_that_are_not_here_are_to_be_pulled(tmp_path):
    found = readiness(settings(tmp_path), "wan-2.1-t2v-1.3b")
    assert (found.obstacle, found.lacks_weights) == ("run `phoenix models pull wan-2.1-t2v-1.3b`", True)


def test_weights_that_are_here_are_served(tmp_path, catalog_file):
    assert readiness(settings(tmp_path, catalog_file=catalog_file), "tiny-wan").obstacle is None


def test_incomplete_weights_name_what_is_missing(tmp_path, catalog_file):
    obstacle = readiness(settings(tmp_path, catalog_file=catalog_file), "tiny-wan22").obstacle
    assert obstacle is not None
    assert "is missing from" in obstacle


OPEN = 'attention = "auto"\ncompile_blocks = "auto"\nquantization = "auto"\n'


@pytest.fixture
def open_file(catalog_file: Path, tmp_path: Path) -> Path:
    """The same catalog, with a model that leaves fields to its device."""
    text = catalog_file.read_text()
    file = tmp_path / "open.toml"
    file.write_text(text.replace('id = "tiny-wan"\n', f'id = "tiny-wan"\n{OPEN}', 1))
    return file


def test_what_an_entry_leaves_to_the_device_is_listed_with_the_reason(tmp_path, open_file):
    found = readiness(settings(tmp_path, catalog_file=open_file), "tiny-wan")
    assert [(choice.field, choice.value) for choice in found.choices] == [
        ("quantization", "none"),
        ("attention", "native"),
        ("compile_blocks", "true"),
    ]
    assert "for weights on a card" in found.choices[0].reason
    assert found.model.is_decided


@pytest.mark.parametrize("command", ["here", "doctor"])
def test_models_here_and_doctor_show_what_was_chosen_and_why(tmp_path, open_file, command):
    if command == "here":
        shown = run_here(PHOENIX_ENGINE__CATALOG_FILE=str(open_file)).stdout
    else:
        shown = models_finding(settings(tmp_path, catalog_file=open_file)).detail
    assert "tiny-wan: compile_blocks false (" in shown
    assert "tiny-wan: quantization none (the CPU is no GPU)" in shown


def test_a_quantised_model_is_listed_with_the_size_of_its_quantised_weights(tmp_path, catalog_file):
    plain, quantised = (
        survey([model], settings(tmp_path), CARD, AMPERE)[0].model.memory_bytes
        for model in (
            load_catalog(catalog_file).get("tiny-wan").model_copy(update={"memory_bytes": 10**12, "quantization": kind})
            for kind in (None, Quantization(kind="int8"))
        )
    )
    assert plain == 10**12
    assert quantised is not None
    assert quantised < 10**6


def test_a_remote_model_without_a_key_names_its_settings(tmp_path):
    assert readiness(settings(tmp_path), "veo-3.1").obstacle == "set PHOENIX_VEO__API_KEY or PHOENIX_VEO__PROJECT"


def test_weights_larger_than_a_card_are_kept_in_its_host_or_fit_nowhere(tmp_path):
    fits = {model: readiness(settings(tmp_path), model) for model in ("wan-2.2-ti2v-5b", "ltx-2", "ltx-video")}
    assert [found.fit for found in fits.values()] == [Fit.OFFLOADED, Fit.TOO_LARGE, Fit.FITS]
    assert "kept in its host" in (too_large(fits["wan-2.2-ti2v-5b"], CARD) or "")
    assert "choose a smaller model" in (too_large(fits["ltx-2"], CARD) or "")
    assert too_large(fits["ltx-video"], CARD) is None


def test_the_first_gpu_counts_with_the_budget_of_the_settings():
    gpus = [Gpu("first", 9, 10), Gpu("second", 5, 5)]
    machine = machine_of(gpus, EngineSettings())
    assert (machine.name, machine.free_bytes, machine.budget_bytes) == ("first", 9, 9)
    assert machine_of(gpus, EngineSettings(memory_budget_bytes=4)).budget_bytes == 4


def test_a_machine_without_a_gpu_has_the_memory_of_its_host():
    machine = machine_of([], EngineSettings())
    assert (machine.name, machine.budget_bytes) == ("the CPU", machine.host_bytes)


@pytest.mark.parametrize("gpus", [[], [Gpu("card", 5, 5)]])
def test_the_host_has_what_its_workers_may_use_of_it(gpus):
    assert machine_of(gpus, EngineSettings(host_memory_bytes=7)).host_bytes == 7
    assert machine_of(gpus, EngineSettings()).host_bytes < host_limit_bytes()


def test_the_list_is_about_a_device_of_the_given_memory():
    result = run_here("--device-memory", "24", COLUMNS="100")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[2:]}
    assert result.stdout.startswith("a device of 24 GB: 21.6 GB for weights")
    assert rows["ltx-video"].split()[1:] == ["14.2", "GB", "1", "-", "yes", "not", "pulled"]
    assert "`phoenix models pull MODEL`" in result.stderr


def test_doctor_names_the_default_model_that_cannot_be_served(tmp_path):
    found = models_finding(settings(tmp_path, default_model="ltx-video"))
    assert (found.status, found.detail) == (CheckStatus.NOTE, "ltx-video is not served here")
    assert "phoenix models pull ltx-video" in found.remedy


def test_doctor_lists_what_can_be_served(tmp_path, catalog_file):
    found = models_finding(settings(tmp_path, catalog_file=catalog_file))
    assert (found.status, "animatic, tiny-wan" in found.detail) == (CheckStatus.OK, True)
