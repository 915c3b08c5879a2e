"""Reports the stages and steps of a pipeline call, stops it within a step, and drops stopped clips between steps.

Threads share the weights and the hooks on them. A thread-local variable has the call of the current thread.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.contract import ClipWarning
from phoenix.engine.interface import RenderObserver, RenderRequest
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import Stage

DENOISERS = ("transformer", "unet", "dit")
"""Prefixes of the components that predict noise. Wan 2.2 has `transformer` and `transformer_2`."""

DECODERS = ("vae", "diffusion_decoder")
"""Components that make frames of latents."""

Take = Callable[[RenderRequest, Iterable[torch.Tensor]], None]
"""Takes the frames of one clip: tensors `[frames, 3, height, width]` with values from 0 to 1, in order."""

_this_thread = threading.local()


def _read_nothing() -> int | None:
    return None


class Call:
    """A pipeline call and the clips that share it. A failure is reported with its `stage`.

    `rows` are the clips that are still part of the call, in the order of the first dimension of its tensors. A stopped
    clip is dropped; the call stops when all of its clips are stopped.
    """

    def __init__(self, requests: Sequence[RenderRequest]) -> None:
        self.rows = list(requests)
        self.batch_size = len(requests)
        self.stage = Stage.LOAD
        self.take: Take | None = None
        """Takes the frames of each clip during its decode; None if the output of the pipeline has them."""
        self.read_peak: Callable[[], int | None] = _read_nothing
        """Returns the most device memory since the call began, in bytes; None on a CPU."""
        self._warnings: dict[RenderRequest, list[ClipWarning]] = {}

    @property
    def model(self) -> ModelSpec:
        return self.rows[0].inputs.model

    def report_stage(self) -> None:
        """Reports the current stage to the observers."""
        self._notify(lambda observer: observer.on_stage(self.stage))

    def enter(self, stage: Stage) -> None:
        """Begins `stage`, and reports it, unless it is the current stage."""
        if stage is not self.stage:
            self.stage = stage
            self._notify(lambda observer: observer.on_stage(stage))

    def end_step(self, step: int, steps: int) -> None:
        self._notify(lambda observer: observer.on_step(step, steps))

    def warn(self, request: RenderRequest, warning: ClipWarning) -> None:
        """Adds a warning to a clip of the call."""
        self._warnings.setdefault(request, []).append(warning)

    def warnings_of(self, request: RenderRequest) -> tuple[ClipWarning, ...]:
        return tuple(self._warnings.get(request, ()))

    def check(self) -> None:
        """Raises `RenderStopped` if all clips of the call were stopped."""
        reasons = [request.observer.stop.reason for request in self.rows]
        if reasons[0] is not None and all(reasons):
            raise RenderStopped(reasons[0])

    @contextmanager
    def waiting(self) -> Generator[None]:
        with ExitStack() as stack:
            for request in self.rows:
                stack.enter_context(request.observer.waiting())
            yield

    def _notify(self, report: Callable[[RenderObserver], None]) -> None:
        for request in self.rows:
            if not request.is_stopped:
                with suppress(RenderStopped):
                    report(request.observer)
        self.check()


@contextmanager
def as_current_call(call: Call, *, take: Take | None) -> Generator[None]:
    """Makes `call` the call of this thread during the block: the hooks report to it, and give the frames to `take`."""
    _this_thread.call, call.take = call, take
    try:
        yield
    finally:
        # Without `take`, the call refers to itself no more, and its tensors go at once.
        _this_thread.call = call.take = None


def current_call() -> Call | None:
    return getattr(_this_thread, "call", None)


@contextmanager
def without_stops() -> Generator[None]:
    """No block stops the call of this thread during the block."""
    call = current_call()
    _this_thread.call = None
    try:
        yield
    finally:
        _this_thread.call = call


def hook_modules(components: dict[str, Any]) -> None:
    """Hooks the blocks of the denoisers and of the VAE, so that each block can stop a call. Call it once after loading.

    With 14 billion weights at 720p, a step takes seconds, a decode tens of seconds, and a block tens of milliseconds.
    """
    for name, component in components.items():
        if not isinstance(component, torch.nn.Module):
            continue
        if name.startswith(DENOISERS):
            component.register_forward_pre_hook(_begin_denoising)
            # Only the outermost blocks, which are compiled as a whole: a hook inside would be compiled with its call.
            _hook_blocks(component.children())
        if name in DECODERS:
            # At every depth: LTX decodes a whole clip in one pass of four blocks.
            _hook_blocks(component.modules(), _check_stop if name == "vae" else _continue_decoding)


def _hook_blocks(modules: Iterable[torch.nn.Module], hook: Callable[[Any, Any], None] | None = None) -> None:
    """Hooks every block: the blocks that a model runs one after another are in its module lists."""
    for module in modules:
        if isinstance(module, torch.nn.ModuleList):
            # Mochi and Cosmos have None in these lists, where a block has no attention.
            for block in module:
                if cast("Any", block) is not None:
                    block.register_forward_pre_hook(hook or _check_stop)


def _begin_denoising(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.enter(Stage.DENOISE)


def _continue_decoding(module: torch.nn.Module, inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.enter(Stage.DECODE)
        _check_stop(module, inputs)


def _check_stop(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.check()


SLICEABLE = frozenset({"WanPipeline"})
"""Pipelines in which a callback can change every tensor. Others have masks or guidance of the first batch size in local
variables: there, a stopped clip is computed until the last step, but not decoded."""

REACHABLE = ["latents", "prompt_embeds", "negative_prompt_embeds"]

Show = Callable[[torch.Tensor], None]
"""Gets the latents after each step: one row per clip of the call."""


def report_steps(pipeline: Any, call: Call, *, steps: int, has_callback: bool, show: Show) -> dict[str, Any]:
    """Returns arguments that make the pipeline report each step to `call`, and its latents to `show`.

    A pipeline without a callback (HunyuanVideo 1.5) reports through its scheduler, which is a copy for this call.
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
        # A second-order scheduler takes more steps than requested; the pipeline has the number.
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
    """Finishes the requests of stopped clips. Returns the tensors without their rows."""
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
    """Returns the rows `live_rows` of a tensor, or of the tensors in a list, as in multistep schedulers.

    Returns any other value unchanged, such as timesteps and sigmas, which have one dimension.
    """
    if isinstance(value, torch.Tensor):
        return value[list(live_rows)] if value.dim() >= 3 and value.shape[0] == count else value
    if isinstance(value, list):
        return [_rows_of(item, live_rows, count) for item in cast("list[Any]", value)]
    return value
