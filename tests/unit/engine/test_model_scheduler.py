"""The scheduler of a catalog entry. A setting that the class would ignore is refused."""

from types import SimpleNamespace
from typing import Any

import diffusers
import pytest

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.tuning import Scheduler
from phoenix.engine.backends.diffusers.tuning import apply_scheduler
from phoenix.errors import TaskFailed

EULER = "FlowMatchEulerDiscreteScheduler"


def scheduler_of(before: Any, *, options: dict[str, Any] | None = None, **rule: Any) -> Any:
    model = (
        load_catalog()
        .get("ltx-video")
        .model_copy(update={"options": options or {}, "scheduler": Scheduler(**rule) if rule else None})
    )
    pipeline = SimpleNamespace(scheduler=before)
    apply_scheduler(diffusers, pipeline, model)
    return pipeline.scheduler


def test_an_entry_without_wishes_keeps_the_scheduler():
    before = diffusers.UniPCMultistepScheduler()
    assert scheduler_of(before) is before


def test_a_flow_shift_and_a_setting_change_the_scheduler_of_the_folder():
    after = scheduler_of(
        diffusers.UniPCMultistepScheduler(solver_order=1),
        options={"flow_shift": 8.0},
        settings={"use_flow_sigmas": True},
    )
    assert (after.config.flow_shift, after.config.use_flow_sigmas, after.config.solver_order) == (8.0, True, 1)


def test_another_class_takes_the_place_of_the_one_of_the_folder():
    after = scheduler_of(diffusers.UniPCMultistepScheduler(), kind=EULER, settings={"shift": 5.0})
    assert (type(after).__name__, after.config.shift) == (EULER, 5.0)


@pytest.mark.parametrize(
    ("before", "wishes", "complaint"),
    [
        (EULER, {"options": {"flow_shift": 3.0}}, "has no 'flow_shift', which would change nothing; set `shift`"),
        (EULER, {"settings": {"shfit": 3.0}}, "has no 'shfit', which would change nothing"),
        (EULER, {"kind": "NoSuchScheduler"}, "diffusers has no scheduler 'NoSuchScheduler'"),
        (EULER, {"kind": "WanPipeline"}, "diffusers has no scheduler 'WanPipeline'"),
        ("DDIMScheduler", {"options": {"sigmas": [1.0, 0.5]}}, "its DDIMScheduler takes no sigmas"),
    ],
)
def test_a_wish_that_would_have_no_effect_is_refused(before, wishes, complaint):
    with pytest.raises(TaskFailed, match=complaint):
        scheduler_of(getattr(diffusers, before)(), **wishes)
