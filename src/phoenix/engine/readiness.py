"""What this machine can serve: for each model, whether its weights are here and fit, and what to do if not."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from phoenix.catalog.adapters import AdapterSpec
from phoenix.catalog.fit import WEIGHTS_SHARE, Fit, MachineMemory, judge_fit
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.postprocessors import InterpolatorSpec, UpscalerSpec
from phoenix.child_processes import output_of
from phoenix.engine.backends.diffusers.choosing.choices import Card, Choice
from phoenix.engine.backends.diffusers.choosing.chooser import choose, has_compiler
from phoenix.engine.backends.diffusers.folders import check_folder, get_folder
from phoenix.engine.device import may_have_accelerator
from phoenix.engine.host_memory import host_budget_bytes
from phoenix.engine.registry import EngineRegistry, pull_remedy
from phoenix.errors import TaskFailed, install_extra
from phoenix.settings import EngineSettings, Settings

# Runs in a separate process: torch takes a second and 200 MB, and a broken driver may crash the process.
LIST_GPUS = """
import torch
for n in range(torch.cuda.device_count()):
    capability = (0, 0) if torch.version.hip else torch.cuda.get_device_capability(n)
    print(torch.cuda.get_device_name(n), *torch.cuda.mem_get_info(n), *capability, sep="\\t")
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch can use."""

    name: str
    free_bytes: int
    total_bytes: int
    capability: tuple[int, int] | None = None
    """None for a card of another maker than NVIDIA."""


@dataclass(frozen=True)
class Readiness:
    """Whether this machine can serve a model. `obstacle` says what to do; None if nothing is in the way.

    `model` is the entry as this machine renders it.
    """

    model: ModelSpec
    fit: Fit
    obstacle: str | None
    choices: tuple[Choice, ...] = ()
    """What the entry leaves to the device, and what is chosen on this one."""

    @property
    def lacks_weights(self) -> bool:
        return self.obstacle == pull_remedy(self.model)


def survey(
    models: Iterable[ModelSpec],
    settings: Settings,
    machine: MachineMemory,
    card: Card,
    *,
    needed_adapters: Callable[[ModelSpec], Iterable[AdapterSpec]] = lambda _: (),
) -> list[Readiness]:
    """Looks for the weights of each model, and reads the heads of those that are here. Loads nothing.

    `card` is the device of `machine`. `needed_adapters` returns those without which a model cannot be rendered.
    """
    others = [f"cuda:{number}" for number in range(1, card.devices)]
    registry = EngineRegistry(
        engine=settings.engine, animatic=settings.animatic, veo=settings.veo, other_devices=others
    )
    return [
        Readiness(
            model,
            judge_fit(model, machine),
            registry.find_obstacle(model, needed_adapters(model)) or _find_damage(model),
            choices,
        )
        for model, choices in (choose(model, card) for model in models)
    ]


def too_large(readiness: Readiness, machine: MachineMemory) -> str | None:
    """What is wrong with weights that do not fit the device. None if they do, or if their size is unknown."""
    if readiness.fit is Fit.OFFLOADED:
        return f"its weights are larger than {machine.name} has for weights, and are kept in its host, which is slower"
    if readiness.fit is Fit.TOO_LARGE:
        return f"its weights fit neither {machine.name} nor its host: choose a smaller model"
    return None


def _find_damage(model: ModelSpec) -> str | None:
    """Why the weights on disk cannot be loaded. None if they can, and if a worker would download them first."""
    if model.engine != "diffusers":
        return None
    try:
        folder = get_folder(model)
    except TaskFailed:
        return None
    try:
        check_folder(model, folder)
    except TaskFailed as failed:
        return failed.detail.removeprefix(f"model {model.id}: ")
    return None


def machine_of(gpus: list[Gpu], settings: EngineSettings) -> MachineMemory:
    """The first GPU, or the host if there is none, with the memory that a worker of this machine gives to weights."""
    host_bytes = host_budget_bytes(
        settings.host_memory_bytes, device_share=settings.device_share, devices=max(1, len(gpus))
    )
    if not gpus:
        # Offloading would move weights from the memory of the host to the memory of the host.
        free_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        return MachineMemory("the CPU", free_bytes, host_bytes, host_bytes)
    gpu = gpus[0]
    budget_bytes = settings.memory_budget_bytes or int(gpu.total_bytes * WEIGHTS_SHARE)
    return MachineMemory(gpu.name, gpu.free_bytes, budget_bytes, host_bytes)


def card_of_machine(gpus: list[Gpu], machine: MachineMemory) -> Card:
    """What is known of the device on which a worker of this machine would render, without torch.

    A worker may have all devices of the machine.
    """
    capability = gpus[0].capability if gpus else None
    return Card(
        machine.name,
        machine.budget_bytes,
        is_gpu=bool(gpus),
        capability=capability,
        has_compiler=has_compiler(),
        devices=max(1, len(gpus)),
    )


async def list_gpus() -> list[Gpu]:
    """The GPUs that torch can use; none if torch is missing or its driver is broken."""
    if not may_have_accelerator() or find_spec("torch") is None:
        return []
    lines = (await output_of(sys.executable, "-c", LIST_GPUS)).splitlines()
    rows = [line.split("\t") for line in lines]
    return [_read_gpu(row) for row in rows if len(row) == 5]


def _read_gpu(row: list[str]) -> Gpu:
    free_bytes, total_bytes, major, minor = map(int, row[1:])
    return Gpu(row[0], free_bytes, total_bytes, (major, minor) if major else None)


def find_postprocessing_fault(spec: UpscalerSpec | InterpolatorSpec) -> str | None:
    """Why a worker of this machine would refuse an upscaler or an interpolator. Opens its file; takes seconds."""
    if spec.source is None:
        return None
    if find_spec("numpy") is None:
        return install_extra("postprocess")
    from phoenix.engine.postprocessing.chain import open_model  # noqa: PLC0415

    try:
        open_model(spec, device="cpu")
    except TaskFailed as failure:
        return failure.detail
    return None
