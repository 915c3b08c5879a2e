"""What the settings of an entry cost and gain on this device: each beside the plain entry, in turns with it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from turns import Budget, Figure, Run, measure

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Quantization, StepCache
from phoenix.contract import ResolvedClip
from phoenix.engine.backends.diffusers.engine import DiffusersEngine
from phoenix.engine.backends.diffusers.weight_sizes import find_weight_sizes
from phoenix.engine.device import open_meter, release_memory
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import TaskFailed
from phoenix.settings import EngineSettings

OPTIONS: dict[str, dict[str, Any]] = {
    "attention _native_cudnn": {"attention": "_native_cudnn"},
    "step_cache first_block": {"step_cache": StepCache(kind="first_block")},
    "layerwise_casting": {"layerwise_casting": "float8_e4m3fn"},
    "quantization int8": {"quantization": Quantization(kind="int8")},
    "quantization int8, text encoders too": {
        "quantization": Quantization(kind="int8", components=("denoisers", "text_encoders"))
    },
    "quantization float8": {"quantization": Quantization(kind="float8")},
    "quantization float8_dynamic": {"quantization": Quantization(kind="float8_dynamic")},
    "compile_blocks": {"compile_blocks": True},
    "quantization int8, compile_blocks": {"quantization": Quantization(kind="int8"), "compile_blocks": True},
    "quantization float8_dynamic, compile_blocks": {
        "quantization": Quantization(kind="float8_dynamic"),
        "compile_blocks": True,
    },
}
"""Those that compile come last, since a budget may be spent before. A refusal is printed with its reason."""

Compare = Callable[[str, Run, Run], Iterator[Figure]]


def measure_options(
    spec: ModelSpec, clip: ResolvedClip, device: str, *, budget: Budget, compare: Compare
) -> Iterator[Figure]:
    """Yields, for each option: the time of its first clip, its gain, its weights, and how far its clips are off."""
    engine = DiffusersEngine(device=device, settings=EngineSettings(preview_interval_s=0))
    plain = spec.model_copy(update={"concurrency": 1})
    expected = _pixels(engine, plain, clip)
    yield Figure("weights of the plain entry", _held_bytes(device, plain) / 2**30, "GiB")
    for name, fields in OPTIONS.items():
        if budget.is_spent:
            print(f"{name} was left out: the budget is spent", flush=True)
        else:
            changed = plain.model_copy(update={"id": "optioned", **fields})
            yield from _measure(engine, name, (plain, changed), clip, expected, device, compare)
    engine.close()


def _measure(
    engine: DiffusersEngine,
    name: str,
    entries: tuple[ModelSpec, ModelSpec],
    clip: ResolvedClip,
    expected: np.ndarray,
    device: str,
    compare: Compare,
) -> Iterator[Figure]:
    plain, changed = entries
    # Nothing else is in memory then, so that the weights can be told from those of the plain entry.
    engine.close()
    release_memory()
    made: list[np.ndarray] = []
    try:
        first_s = measure(lambda: made.append(_pixels(engine, changed, clip))).wall_s
    except TaskFailed as failed:
        print(f"{name} was left out: {failed.detail}", flush=True)
        return
    yield Figure(f"{name}: first clip, its load and compilation included", first_s, "s")
    yield Figure(f"{name}: weights", _held_bytes(device, changed) / 2**30, "GiB")
    yield Figure(f"{name}: mean distance from the plain clip", float(np.abs(made[0] - expected).mean()), "of 255")
    _pixels(engine, plain, clip)
    yield from compare(f"gain of {name}", lambda: _pixels(engine, plain, clip), lambda: _pixels(engine, changed, clip))


def _pixels(engine: DiffusersEngine, model: ModelSpec, clip: ResolvedClip) -> np.ndarray:
    rendered = engine.render(ClipInputs(clip, model), NullObserver())
    return np.frombuffer(b"".join(rendered.frames), np.uint8).astype(np.int16)


def _held_bytes(device: str, model: ModelSpec) -> int:
    """By the allocator of the device. By the files on a CPU, which has no such allocator."""
    meter, sizes = open_meter(device), find_weight_sizes(model)
    if meter is None:
        return 0 if sizes is None else sizes.total_bytes
    return meter.allocated_bytes()
