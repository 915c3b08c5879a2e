"""When a worker notices that it serves other models than before."""

from pathlib import Path

import pytest

from fixtures.claims import ManualClock
from phoenix.catalog.catalog import Catalog, load_catalog
from phoenix.contract import QueueName
from phoenix.engine.registry import EngineRegistry
from phoenix.settings import AnimaticSettings, EngineSettings
from phoenix.worker.main import SERVED_FOR_S, ServedModels

CATALOG = load_catalog()


def served(folder: Path, clock: ManualClock, *queues: QueueName) -> ServedModels:
    """By a worker of these queues, with a catalog of the animatic, a model in `folder`, and Veo, which has no key."""
    model = CATALOG.get("ltx-video").model_copy(update={"source": str(folder), "tiers": {}})
    catalog = Catalog([CATALOG.get("animatic"), model, CATALOG.get("veo-3.1")])
    engines = EngineRegistry(engine=EngineSettings(), animatic=AnimaticSettings(), device="cpu")
    return ServedModels(catalog, engines, queues, clock_s=clock)


def test_weights_that_were_downloaded_are_noticed_within_seconds(tmp_path: Path) -> None:
    clock, folder = ManualClock(), tmp_path / "ltx"
    models = served(folder, clock, "gpu", "media")
    before = models.list_ids()
    folder.mkdir()
    clock.now_s += SERVED_FOR_S

    assert (before, models.list_ids()) == (("animatic",), ("animatic", "ltx-video"))


def test_the_folders_are_not_looked_at_for_each_heartbeat(tmp_path: Path) -> None:
    clock, folder = ManualClock(), tmp_path / "ltx"
    models = served(folder, clock, "gpu")
    models.list_ids()
    folder.mkdir()
    clock.now_s += SERVED_FOR_S / 2

    assert models.list_ids() == ("animatic",)


@pytest.mark.parametrize("queue", ["media", "remote"])
def test_a_worker_without_the_queue_gpu_serves_no_local_model(tmp_path: Path, queue: QueueName) -> None:
    assert served(tmp_path, ManualClock(), queue).list_ids() == ()
