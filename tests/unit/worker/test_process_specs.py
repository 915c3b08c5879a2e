"""The processes that a supervisor starts, and the share of the device that each process gets."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from phoenix.settings import EngineSettings, Settings, VeoSettings
from phoenix.worker.context import open_slots
from phoenix.worker.main import compiled_dir_of, queues_of
from phoenix.worker.supervisor import ProcessSpec, plan_processes, settings_for


def test_every_device_gets_as_many_processes_which_share_its_memory() -> None:
    specs = plan_processes("gpu", ["cuda:0", "cuda:1"], 2)
    assert specs == [ProcessSpec("gpu", "cuda:0", 2)] * 2 + [ProcessSpec("gpu", "cuda:1", 2)] * 2


def test_one_entry_may_name_several_devices() -> None:
    assert plan_processes("gpu", ["cuda:0, cuda:1"]) == [ProcessSpec("gpu", "cuda:0"), ProcessSpec("gpu", "cuda:1")]


def test_devices_that_a_worker_has_together_are_one_process_of_their_own() -> None:
    assert plan_processes("gpu", ["cuda:0+cuda:1", "cuda:2"]) == [
        ProcessSpec("gpu", "cuda:0+cuda:1"),
        ProcessSpec("gpu", "cuda:2"),
    ]


@pytest.mark.parametrize("queue", ["media", "remote"])
def test_a_queue_that_needs_no_device_has_one_process(queue: str) -> None:
    assert plan_processes(queue, ["cuda:0", "cuda:1"], 4) == [ProcessSpec(queue, "cpu")]


@pytest.mark.parametrize(
    ("veo", "served"),
    [(VeoSettings(), ("gpu", "media")), (VeoSettings(api_key=SecretStr("key")), ("gpu", "remote", "media"))],
    ids=["no service", "a service"],
)
def test_all_queues_include_the_remote_one_where_a_service_is_configured(
    veo: VeoSettings, served: tuple[str, ...]
) -> None:
    assert queues_of("all", Settings(veo=veo)) == served


def test_compiled_code_is_in_the_data_folder_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert compiled_dir_of(Settings(data_dir=tmp_path)) == tmp_path / "compiled"
    named = EngineSettings(compiled_dir=tmp_path / "other")
    assert compiled_dir_of(Settings(data_dir=tmp_path, engine=named)) == tmp_path / "other"


def test_processes_that_share_a_device_have_equal_parts_of_it_and_take_turns(tmp_path: Path) -> None:
    spec_settings = settings_for(ProcessSpec("gpu", "cuda:0", 2), Settings(), tmp_path)
    assert (spec_settings.engine.device_share, spec_settings.worker.slots_dir) == (0.5, tmp_path)


def test_a_process_that_has_its_device_to_itself_is_left_as_it_is(tmp_path: Path) -> None:
    assert settings_for(ProcessSpec("gpu", "cuda:0"), Settings(), tmp_path) == Settings()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_processes_on_one_device_share_its_slots(device: str, tmp_path: Path) -> None:
    worker = settings_for(ProcessSpec("gpu", device, 2), Settings(), tmp_path).worker
    assert open_slots(worker, device).is_shared


def test_processes_for_each_mention_of_a_device_do_not_share_slots(tmp_path: Path) -> None:
    specs = plan_processes("gpu", ["cpu", "cpu"])
    assert [settings_for(spec, Settings(), tmp_path).worker.slots_dir for spec in specs] == [None, None]
