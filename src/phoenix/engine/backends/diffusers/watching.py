"""Follows one pipeline call from inside: its stages, its steps, and a stop within a step.

The weights, and so the hooks on them, are shared between threads; whose call it is stands in a thread-local.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.member import Member
from phoenix.engine.spec import Watcher
from phoenix.engine.stopping import RenderStopped
from phoenix.errors import Stage

DENOISERS = ("transformer", "unet", "dit")
"""What the components that predict the noise are called; Wan 2.2 has `transformer` and `transformer_2`."""

_this_thread = threading.local()


class Call:
    """A pipeline call and the clips that share it. `stage` is where it is, for the error if it fails.

    `rows` are the clips still in it, in the order of the first dimension of the call's tensors. One that is stopped
    ends for itself; the call is stopped when all of them are.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.rows = list(members)
        self.batch_size = len(members)
        self.stage = Stage.LOAD

    @property
    def model(self) -> ModelSpec:
        return self.rows[0].job.model

    def begin(self) -> None:
        self._tell(lambda watcher: watcher.on_stage(self.stage))

    def enter(self, stage: Stage) -> None:
        if stage is not self.stage:
            self.stage = stage
            self._tell(lambda watcher: watcher.on_stage(stage))

    def end_step(self, step: int, steps: int) -> None:
        self._tell(lambda watcher: watcher.on_step(step, steps))

    def check(self) -> None:
        """Raises `RenderStopped` if nobody wants the call's result any more."""
        reasons = [member.watcher.stop.reason for member in self.rows]
        if reasons[0] is not None and all(reasons):
            raise RenderStopped(reasons[0])

    @contextmanager
    def waiting(self) -> Generator[None]:
        with ExitStack() as stack:
            for member in self.rows:
                stack.enter_context(member.watcher.waiting())
            yield

    def _tell(self, news: Callable[[Watcher], None]) -> None:
        for member in self.rows:
            if not member.is_stopped:
                with suppress(RenderStopped):
                    news(member.watcher)
        self.check()


@contextmanager
def following(call: Call) -> Generator[None]:
    """Makes `call` the one that the hooks report to, in this thread and for the block."""
    _this_thread.call = call
    try:
        yield
    finally:
        _this_thread.call = None


def current_call() -> Call | None:
    return getattr(_this_thread, "call", None)


def watch_modules(components: dict[str, Any]) -> None:
    """Hooks a loaded pipeline's modules, once: each block of a denoiser and each pass of the decoder can end a call.

    At 14B and 720p a step takes seconds and a decode tens of them; a block takes tens of milliseconds.
    """
    for name, component in components.items():
        if name.startswith(DENOISERS) and isinstance(component, torch.nn.Module):
            component.register_forward_pre_hook(_begin_denoising)
            for block in _blocks(component):
                block.register_forward_pre_hook(_check_stop)
        decoder = getattr(component, "decoder", None)
        if name == "vae" and isinstance(decoder, torch.nn.Module):
            decoder.register_forward_pre_hook(_check_stop)


def _blocks(denoiser: torch.nn.Module) -> list[torch.nn.Module]:
    lists = [child for child in denoiser.children() if isinstance(child, torch.nn.ModuleList)]
    return [block for blocks in lists for block in blocks]


def _begin_denoising(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.enter(Stage.DENOISE)


def _check_stop(_module: torch.nn.Module, _inputs: Any) -> None:
    call = current_call()
    if call is not None:
        call.check()
