"""Reports the steps of a modular pipeline, which has no callback, to the call that runs it.

A block of Phoenix stands in each loop of the pipeline. The blocks keep nothing of a call, so threads share them; what
belongs to a call hangs on its own copy of the pipeline.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from phoenix.engine.backends.diffusers.step_callbacks import Call

Show = Callable[[torch.Tensor], None]

REPORT = "phoenix_report"
"""The name of the block in a loop, and of what it reports to on a copy of the pipeline."""

LOOP_COUNTS = ("num_segments", "num_latent_chunk")
"""What loops over parts of a clip call the number of parts."""


class StepReport:
    """The steps of one call. If a class makes a clip in parts, the steps of all parts count."""

    def __init__(self, call: Call, steps: int, show: Show) -> None:
        self._call, self._steps, self._show = call, steps, show
        self._done = 0
        self.parts = 1

    def end_step(self, latents: torch.Tensor, total: int | None = None) -> None:
        self._done += 1
        self._call.end_step(self._done, max(self._done, total or self._steps * self.parts))
        self._show(latents)


def report_steps_of(pipeline: Any, call: Call, *, steps: int, show: Show) -> None:
    """Makes a copy of a modular pipeline report each of its steps to `call`, and its latents to `show`.

    A class that makes a clip in parts runs its steps inside of one block: there, its scheduler reports, which is of
    this call alone.
    """
    report = StepReport(call, steps, show)
    setattr(pipeline, REPORT, report)
    if any(_is_of_parts(loop) for loop in loops_of(pipeline)):
        step = pipeline.scheduler.step

        @functools.wraps(step)
        def reported(*args: Any, **kwargs: Any) -> Any:
            result: Any = step(*args, **kwargs)
            report.end_step(result[0])
            return result

        pipeline.scheduler.step = reported


def report_loops(pipeline: Any) -> None:
    """Puts a block into each loop, which reports to the copy that runs, and turns the progress bars off."""
    for loop in loops_of(pipeline):
        # diffusers shares some loops between all pipelines of a class.
        if REPORT in loop.sub_blocks:
            continue
        loop.set_progress_bar_config(disable=True)
        # The bars of loops inside a block have no switch.
        module = sys.modules[type(loop).__module__]
        if (bar := vars(module).get("tqdm")) is not None:
            vars(module)["tqdm"] = functools.partial(bar, disable=True)
        first = _is_of_parts(loop)
        loop.sub_blocks.insert(REPORT, _report_block(), 0 if first else len(loop.sub_blocks))


def loops_of(pipeline: Any) -> Iterator[Any]:
    """Yields the loops of a modular pipeline."""
    modular: Any = importlib.import_module("diffusers.modular_pipelines")
    yield from (
        block for block in _blocks_in(pipeline._blocks) if isinstance(block, modular.LoopSequentialPipelineBlocks)
    )


def _blocks_in(block: Any) -> Iterator[Any]:
    yield block
    for inner in block.sub_blocks.values():
        yield from _blocks_in(inner)


def _is_of_parts(loop: Any) -> bool:
    names = {each.name for each in loop.loop_inputs}
    return not names.isdisjoint(LOOP_COUNTS)


@functools.cache
def _block_class() -> type:
    """The class is made late: diffusers must not be imported by two threads at a time."""
    modular: Any = importlib.import_module("diffusers.modular_pipelines")

    class Report(modular.ModularPipelineBlocks):
        """Reports a step of a loop over steps, or the number of parts in a loop over parts."""

        model_name = "phoenix"
        description = "Reports the steps of a call."
        inputs: tuple[Any, ...] = ()
        intermediate_outputs: tuple[Any, ...] = ()

        def __call__(self, components: Any, block_state: Any, **place: Any) -> Any:
            report: StepReport | None = getattr(components, REPORT, None)
            if report is None:
                return components, block_state
            if "k" in place:
                report.parts = next(getattr(block_state, name) for name in LOOP_COUNTS if hasattr(block_state, name))
            elif "i" in place:
                timesteps = getattr(block_state, "timesteps", None)
                report.end_step(block_state.latents, None if timesteps is None else len(timesteps))
            return components, block_state

    return Report


def _report_block() -> Any:
    return _block_class()()
