"""What a second device gains for one clip: by the branches of guidance, and by context parallelism."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from turns import Budget, Figure, Run, measure

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import TaskFailed
from phoenix.settings import EngineSettings

WAYS: dict[str, dict[str, object]] = {
    "guidance": {"parallelism": Parallelism(guidance=True)},
    "context by ulysses": {"parallelism": Parallelism(context=2)},
    "context by ring": {"parallelism": Parallelism(context=2, method="ring"), "attention": "_native_cudnn"},
}
FOUR_WAYS: dict[str, dict[str, object]] = {
    "context by ulysses, and guidance": {"parallelism": Parallelism(context=2, guidance=True)},
    "context by ulysses, 4 devices": {"parallelism": Parallelism(context=4)},
}

Compare = Callable[[str, Run, Run], Iterator[Figure]]


def measure_devices(
    spec: ModelSpec, clip: ResolvedClip, device: str, *, budget: Budget, compare: Compare
) -> Iterator[Figure]:
    """Yields, for each way: its first clip, its gain, and how far its clips are off.

    Processes of a CPU share its cores, so that there is no gain.
    """
    count = 2 if device == "cpu" else torch.cuda.device_count()
    if count < 2:
        print("devices was left out: this machine has one GPU", flush=True)
        return
    names = ["cpu", "cpu"] if device == "cpu" else [f"cuda:{number}" for number in range(min(count, 4))]
    engine = DiffusersEngine(device="+".join(names), settings=EngineSettings(preview_interval_s=0))
    expected = _pixels(engine, spec, clip)
    for name, fields in (WAYS | (FOUR_WAYS if len(names) == 4 else {})).items():
        if budget.is_spent:
            print(f"{name} was left out: the budget is spent", flush=True)
            continue
        shared = spec.model_copy(update={"id": "shared", **fields})
        made: list[np.ndarray] = []
        try:
            first_s = measure(lambda made=made, shared=shared: made.append(_pixels(engine, shared, clip))).wall_s
        except TaskFailed as failed:
            print(f"{name} was left out: {failed.detail}", flush=True)
            continue
        yield Figure(f"{name}: first clip, its loads included", first_s, "s")
        yield Figure(
            f"{name}: furthest value from the clip of one device", float(np.abs(made[0] - expected).max()), "of 255"
        )
        yield from compare(
            f"gain of {name}",
            lambda: _pixels(engine, spec, clip),
            lambda shared=shared: _pixels(engine, shared, clip),
        )
    engine.close()


def _pixels(engine: DiffusersEngine, spec: ModelSpec, clip: ResolvedClip) -> np.ndarray:
    frames = engine.render(ClipInputs(clip, spec), NullObserver()).frames
    return np.frombuffer(b"".join(frames), np.uint8).astype(np.int16)
