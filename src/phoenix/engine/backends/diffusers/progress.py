"""Follows a pipeline call from inside: its stages, its steps, and stops within a step.

Weights, and therefore the hooks on them, are shared between threads; a thread-local says whose call it is.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.cancellation import RenderStopped
from phoenix.engine.spec import RenderObserver, RenderRequest
from phoenix.errors import Stage

DENOISERS = ("transformer", "unet", "dit")
"""Names of the components that predict the noise; Wan 2.2 has `transformer` and `transformer_2`."""

_this_thread = threading.local()


class Call:
    """A pipeline call and the clips that share it. `stage` is reported if it fails.

    `rows` are the clips still in it, in the order of the first dimension of the call's tensors. A stopped clip only
    leaves; the call stops when all of them have.
    """

    def __init__(self, requests: Sequence[RenderRequest]) -> None:
        self.rows = list(requests)
        self.batch_size = len(requests)
        self.stage = Stage.LOAD

    @property
    def model(self) -> ModelSpec:
        return self.rows[0].job.model

    def report_stage(self) -> None:
        self._notify(lambda observer: observer.on_stage(self.stage))

    def enter(self, stage: Stage) -> None:
        if stage is not self.stage:
            self.stage = stage
            self._notify(lambda observer: observer.on_stage(stage))

    def end_step(self, step: int, steps: int) -> None:
        self._notify(lambda observer: observer.on_step(step, steps))

    def check(self) -> None:
        """Raises `RenderStopped` if nobody wants the call's result any more."""
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
def as_current_call(call: Call) -> Generator[None]:
    """Makes `call` the one that the hooks report to, in this thread and during the block."""
    _this_thread.call = call
    try:
        yield
    finally:
        _this_thread.call = None


def current_call() -> Call | None:
    return getattr(_this_thread, "call", None)


def hook_modules(components: dict[str, Any]) -> None:
    """Hooks a loaded pipeline's modules, once: each block of a denoiser and of the VAE's two halves can end a call.

    At 14B and 720p a step takes seconds and a decode tens of them; a block takes tens of milliseconds.
    """
    for name, component in components.items():
        if not isinstance(component, torch.nn.Module):
            continue
        if name.startswith(DENOISERS):
            component.register_forward_pre_hook(_begin_denoising)
            # The outermost only: those are what is compiled, and a hook within would be compiled in, call and all.
            _hook_blocks(component.children())
        if name == "vae":
            # However deep: LTX decodes a whole clip in a single pass, in four blocks.
            _hook_blocks(component.modules())


def _hook_blocks(modules: Iterable[torch.nn.Module]) -> None:
    """In every block of these: what a model runs one after another stands in its module lists."""
    for module in modules:
        if isinstance(module, torch.nn.ModuleList):
            for block in module:
                block.register_forward_pre_hook(_check_stop)


def _begin_denoising(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.enter(Stage.DENOISE)


def _check_stop(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.check()
