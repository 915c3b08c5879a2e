"""Which engine renders a clip, and the error of a worker without it."""

import sys
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.renders import Recorder, make_clip
from phoenix.catalog.adapters import AdapterFile, AdapterSpec
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.tuning import Parallelism
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.stop_token import RenderStopped, StopReason
from phoenix.settings import AnimaticSettings, EngineSettings

CATALOG = load_catalog()


def open_engines(**settings) -> EngineRegistry:
    return EngineRegistry(engine=EngineSettings(**settings), animatic=AnimaticSettings(), device="cpu")


def test_an_engine_is_opened_for_its_first_clip():
    engines = open_engines()
    assert engines.loaded_models() == ()
    engines.render(ClipInputs(make_clip(), CATALOG.get("animatic")), NullObserver())
    assert engines.loaded_models() == ("animatic",)
    engines.close()
    assert engines.loaded_models() == ()


def test_a_clip_that_was_stopped_already_opens_nothing():
    engines, recorder = open_engines(), Recorder()
    recorder.stop.stop(StopReason.CANCEL)
    with pytest.raises(RenderStopped):
        engines.render(ClipInputs(make_clip(), CATALOG.get("animatic")), recorder)
    assert engines.loaded_models() == ()


def test_the_draft_model_can_always_be_served():
    assert open_engines().can_serve(CATALOG.get("animatic"))


def test_a_model_in_a_folder_can_be_served_when_the_folder_exists(tmp_path: Path):
    folder = tmp_path / "ltx"
    model = CATALOG.get("ltx-video").model_copy(update={"source": str(folder)})
    assert not open_engines().can_serve(model)
    folder.mkdir()
    assert open_engines().can_serve(model)


def test_a_model_on_two_devices_can_be_served_by_a_worker_that_has_two(tmp_path: Path):
    changes = {"source": str(tmp_path), "parallelism": Parallelism(context=2)}
    model = CATALOG.get("wan-2.1-t2v-1.3b").model_copy(update=changes)
    assert "it needs 2 devices of one worker, and this one has one device" in str(open_engines().find_obstacle(model))
    with_two = EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings(), device="cpu", other_devices=["cpu"])
    assert with_two.can_serve(model)


def test_a_hub_model_can_be_served_offline_only_when_it_was_downloaded():
    model = CATALOG.get("ltx-video").model_copy(update={"source": "nobody/has-this-model"})
    assert not open_engines(offline=True).can_serve(model)
    assert open_engines(offline=False).can_serve(model)


def adapter_in(source: str) -> AdapterSpec:
    files = (
        AdapterFile(weight_name="a.safetensors"),
        AdapterFile(weight_name="b.safetensors", component="transformer_2"),
    )
    return AdapterSpec(id="distilled", title="", source=source, files=files, models=("wan",))


def test_a_model_whose_adapter_lacks_a_file_is_not_served(tmp_path: Path):
    model = CATALOG.get("ltx-video").model_copy(update={"source": str(tmp_path)})
    adapter = adapter_in(str(tmp_path))
    (tmp_path / "a.safetensors").touch()
    obstacle = open_engines().find_obstacle(model, [adapter])
    assert obstacle == "its adapter distilled is missing: run `phoenix models pull ltx-video`"
    (tmp_path / "b.safetensors").touch()
    assert open_engines().can_serve(model, [adapter])


def test_an_adapter_of_the_hub_is_needed_on_disk_only_without_downloads(tmp_path: Path):
    model = CATALOG.get("ltx-video").model_copy(update={"source": str(tmp_path)})
    adapter = adapter_in("nobody/has-this-adapter")
    assert not open_engines(offline=True).can_serve(model, [adapter])
    assert open_engines(offline=False).can_serve(model, [adapter])


IMPORTS = """
import sys
sys.modules["torch"] = None  # importing it raises ImportError, as where it is not installed
from fixtures.renders import make_clip
from phoenix.catalog.catalog import load_catalog
from phoenix.engine.device import device_memory, pick_device
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.slot_queue import DeviceSlots
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import TaskFailed
from phoenix.settings import AnimaticSettings, EngineSettings

engines, catalog = EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings()), load_catalog()
assert len(list(engines.render(ClipInputs(make_clip(), catalog.get("animatic")), NullObserver()).frames)) == 9
try:
    engines.render(ClipInputs(make_clip(), catalog.get("ltx-video")), NullObserver())
except TaskFailed as failed:
    print(failed.code, failed.stage, failed.detail)
"""


def test_a_worker_without_torch_draws_animatics_and_names_the_missing_extra():
    paths = [str(Path(__file__).parents[2]), *sys.path]
    script = f"import sys; sys.path[:] = {paths!r}\n{IMPORTS}"
    done = child_processes.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MODEL_UNAVAILABLE load this worker lacks what the diffusers engine needs")
