"""What happens between two steps of a call: count, preview, and take out clips that were stopped."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from phoenix.engine.backends.diffusers.progress import Call

SLICEABLE = frozenset({"WanPipeline"})
"""Pipelines whose tensors a callback can all reach. In others, masks or guidance of the first batch size live on in
local variables: there, a stopped clip is computed along to the end, but not decoded."""

REACHABLE = ["latents", "prompt_embeds", "negative_prompt_embeds"]

Show = Callable[[torch.Tensor], None]
"""Called with the latents after each step: one row per clip of the call."""


def report_steps(pipeline: Any, call: Call, *, steps: int, has_callback: bool, show: Show) -> dict[str, Any]:
    """Arguments that make the pipeline report each step to `call`, and its latents to `show`.

    A pipeline without the callback (HunyuanVideo 1.5) is followed through its scheduler, of which each call has one.
    """
    if not has_callback:
        pipeline.scheduler.step = _counting(pipeline.scheduler.step, call, steps, show)
        return {}
    is_sliceable = pipeline.__class__.__name__ in SLICEABLE
    return {
        "callback_on_step_end": _step_callback(call, steps, show),
        "callback_on_step_end_tensor_inputs": REACHABLE if is_sliceable else REACHABLE[:1],
    }


def _step_callback(call: Call, steps: int, show: Show) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def callback(pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        # A second-order scheduler takes more steps than requested; the pipeline knows how many.
        call.end_step(index + 1, getattr(pipeline, "num_timesteps", None) or steps)
        show(tensors["latents"])
        if len(tensors) == len(REACHABLE):
            return _drop_stopped(call, pipeline.scheduler, tensors)
        return tensors

    return callback


def _counting(step: Callable[..., Any], call: Call, steps: int, show: Show) -> Callable[..., Any]:
    done = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal done
        result: Any = step(*args, **kwargs)
        done += 1
        call.end_step(done, max(done, steps))
        show(result[0])
        return result

    return counted


def _drop_stopped(call: Call, scheduler: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors without the rows of stopped clips, whose requests are finished."""
    live_rows = [row for row, request in enumerate(call.rows) if not request.is_stopped]
    count = len(call.rows)
    if len(live_rows) == count:
        return tensors
    attributes = cast("dict[str, Any]", vars(scheduler))
    attributes.update({name: _rows_of(value, live_rows, count) for name, value in attributes.items()})
    for request in call.rows:
        if request.is_stopped:
            request.finish_stopped()
    call.rows = [call.rows[row] for row in live_rows]
    return {name: _rows_of(value, live_rows, count) for name, value in tensors.items()}


def _rows_of(value: Any, live_rows: Sequence[int], count: int) -> Any:
    """The rows `live_rows` of a tensor, or of a list of them as multistep schedulers have; anything else is left alone.

    There may be as many timesteps and sigmas as clips, but those have one dimension.
    """
    if isinstance(value, torch.Tensor):
        return value[list(live_rows)] if value.dim() >= 3 and value.shape[0] == count else value
    if isinstance(value, list):
        return [_rows_of(item, live_rows, count) for item in cast("list[Any]", value)]
    return value
