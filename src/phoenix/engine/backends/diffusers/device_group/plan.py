"""Decides whether the devices of a worker can share the clips of a model, and how. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.engine.backends.diffusers.folders import find_components, get_folder, read_index, unavailable
from phoenix.engine.backends.diffusers.weight_sizes import DENOISERS
from phoenix.errors import TaskFailed

PLANNED = frozenset(
    {
        "ChronoEditTransformer3DModel",
        "WanTransformer3DModel",
    }
)
"""Denoisers that diffusers can divide along the sequence, and whose clips were compared with clips of one device.

LTX and LTX-2 have a plan, too, and fail in it: their mask of the text has all heads of attention, and a device a part.
"""

GUIDED_BY_CALLS = frozenset(
    {
        "ChronoEditPipeline",
        "LucyEditPipeline",
        "WanAnimatePipeline",
        "SkyReelsV2ImageToVideoPipeline",
        "SkyReelsV2Pipeline",
        "WanImageToVideoPipeline",
        "WanPipeline",
        "WanVACEPipeline",
        "WanVideoToVideoPipeline",
    }
)
"""Pipelines that call their denoiser for each branch of guidance, with arguments that can be foreseen."""


@dataclass(frozen=True)
class DenoiserFacts:
    """A denoiser as the folder of its model describes it."""

    class_name: str
    heads: int | None


@dataclass(frozen=True)
class ModelFacts:
    """What decides how a model can be divided."""

    pipeline: str
    denoisers: Mapping[str, DenoiserFacts] = field(default_factory=dict[str, DenoiserFacts])


def read_facts(model: ModelSpec) -> ModelFacts:
    """Reads the index of the model, and the settings of its denoisers. Raises `TaskFailed` (MODEL_UNAVAILABLE)."""
    folder = get_folder(model)
    denoisers: dict[str, DenoiserFacts] = {}
    for name, part in find_components(model, folder).items():
        if name in DENOISERS:
            try:
                heads = json.loads((part.folder / "config.json").read_text()).get("num_attention_heads")
            except (OSError, ValueError):
                heads = None
            denoisers[name] = DenoiserFacts(part.class_name, heads if isinstance(heads, int) else None)
    pipeline = model.pipeline or read_index(model, folder).get("_class_name")
    return ModelFacts(str(pipeline), denoisers)


def find_refusal(parallelism: Parallelism, facts: ModelFacts) -> str | None:
    """Returns why the devices could not act together; None if they can."""
    if facts.pipeline.endswith("ModularPipeline"):
        return f"parallelism cannot be used: the blocks of {facts.pipeline} run on one device"
    if parallelism.guidance and facts.pipeline not in GUIDED_BY_CALLS:
        return f"parallelism.guidance cannot be used: {facts.pipeline} has no call of its own for each branch"
    if parallelism.context == 1:
        return None
    for name, denoiser in facts.denoisers.items():
        if denoiser.class_name not in PLANNED:
            return f"parallelism.context cannot be used: its {name} is a {denoiser.class_name}, which cannot be divided"
        heads = parallelism.context if denoiser.heads is None else denoiser.heads
        if parallelism.method == "ulysses" and heads % parallelism.context:
            return (
                f"parallelism.context {parallelism.context} cannot be used: its {name} has {heads} heads of attention,"
                " which are not divisible by that number"
            )
    return None


def check_devices(model: ModelSpec, devices: int) -> None:
    """Raises `TaskFailed` (MODEL_UNAVAILABLE) if so many devices cannot render the entry."""
    if not isinstance(model.parallelism, Parallelism):
        return
    refusal = find_shortage(model, devices) or find_refusal(model.parallelism, read_facts(model))
    if refusal is not None:
        raise unavailable(model, refusal)


def find_shortage(model: ModelSpec, devices: int) -> str | None:
    """Returns what to do about a worker with fewer devices than the entry needs; None if it has enough."""
    if model.devices <= devices:
        return None
    names = "+".join(f"cuda:{number}" for number in range(model.devices))
    has = "one device" if devices == 1 else f"{devices} devices"
    return f"it needs {model.devices} devices of one worker, and this one has {has}: start it with `--device {names}`"


def choose_parallelism(model: ModelSpec, devices: int) -> tuple[Parallelism | None, str]:
    """Returns how to use the most of the devices, and why. The branches of guidance come first: they exchange least."""
    if devices == 1:
        return None, "the worker has one device"
    try:
        facts = read_facts(model)
    except TaskFailed:
        return None, "its files are not here"
    refusals: list[str] = []
    is_guided = model.guidance_scale.default > 1
    for count in range(devices, 1, -1):
        for parallelism in _ways(count, is_guided=is_guided):
            refusal = find_refusal(parallelism, facts) or _find_conflict(model, parallelism)
            if refusal is None:
                return parallelism, f"the worker has {devices} devices"
            refusals.append(refusal)
    return None, refusals[-1]


def _ways(devices: int, *, is_guided: bool) -> list[Parallelism]:
    by_branches = [Parallelism(context=devices // 2, guidance=True)] if is_guided and devices % 2 == 0 else []
    return [*by_branches, Parallelism(context=devices)]


def _find_conflict(model: ModelSpec, parallelism: Parallelism) -> str | None:
    try:
        model.model_copy(update={"parallelism": parallelism}).check_parallelism()
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Roles:
    """The part of each rank. Rank 0 is the worker. Ranks below `context` make the first branch of guidance."""

    parallelism: Parallelism

    @property
    def size(self) -> int:
        return self.parallelism.devices

    @property
    def helpers(self) -> tuple[int, ...]:
        """The ranks that divide the sequence with rank 0."""
        return tuple(range(1, self.parallelism.context))

    @property
    def second_branch(self) -> tuple[int, ...]:
        """The ranks of the second branch, first the rank that answers; none without guidance."""
        return tuple(range(self.parallelism.context, self.size))
