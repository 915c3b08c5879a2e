"""The denoisers of a model that several devices share: each of their calls is divided between the ranks."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.engine.backends.diffusers.device_group.messages import on_device
from phoenix.engine.backends.diffusers.device_group.plan import Roles
from phoenix.engine.backends.diffusers.device_group.ranks import Rank
from phoenix.engine.backends.diffusers.step_callbacks import current_call, without_stops
from phoenix.errors import FailureCode, Stage, TaskFailed

LATENTS = "hidden_states"
"""The argument of every denoiser that is equal for both branches of a step, and new in each step."""

Arguments = Mapping[str, Any]


class Branches:
    """Foresees the arguments of the second branch of guidance, so that another device computes it with the first.

    Pipelines call the denoiser for one branch after the other. The first step shows what the second call changes.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drops what was seen: another call of the pipeline begins."""
        self._last: tuple[str, Arguments] | None = None
        self._of_first: Arguments = {}
        self._of_second: Arguments = {}

    def observe(self, denoiser: str, arguments: Arguments) -> None:
        """Takes note of a call that was computed here. Two calls over the same latents are the branches of a step."""
        if self._last is not None:
            name, before = self._last
            changed = {key for key in arguments if not is_same(arguments[key], before.get(key))}
            if name == denoiser and before.keys() == arguments.keys() and changed and LATENTS not in changed:
                self._of_first = {key: before[key] for key in changed}
                self._of_second = {key: arguments[key] for key in changed}
        self._last = (denoiser, arguments)

    def foresee(self, arguments: Arguments) -> Arguments | None:
        """Returns the arguments of the second branch, if this is a call of the first; None if that is unknown."""
        # The outputs of a class of its own could not be sent.
        if not self._of_second or arguments.get("return_dict", True):
            return None
        is_first = all(is_same(arguments.get(key), value) for key, value in self._of_first.items())
        return {**arguments, **self._of_second} if is_first else None


def is_same(one: Any, other: Any) -> bool:
    """Returns whether two arguments of calls are equal in all their values."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        left = cast("dict[Any, Any]", one)
        return left.keys() == other.keys() and all(is_same(left[name], other[name]) for name in left)
    if isinstance(one, (list, tuple)):
        parts = cast("Sequence[Any]", one)
        return len(parts) == len(other) and all(map(is_same, parts, other))
    return bool(one == other)


class Group(Protocol):
    """The ranks of the worker, as the calls of a model use them."""

    device: str

    def rank(self, number: int) -> Rank: ...

    def end_after(self, error: Exception) -> Exception:
        """Ends the ranks, which wait for each other after an error. Returns what to raise."""
        ...


class SharedModel:
    """The denoisers of one loaded model. The pipeline that calls them keeps it in memory.

    `generation` counts the process groups: the denoisers were divided in the one with that number.
    """

    def __init__(self, key: str, model: ModelSpec, denoisers: Mapping[str, Any], group: Group) -> None:
        assert isinstance(model.parallelism, Parallelism)
        self.key, self.model, self.roles = key, model, Roles(model.parallelism)
        self.denoisers = denoisers
        self.generation: int | None = None
        self.foreseen_calls = 0
        """Calls whose result another device had computed ahead."""
        self._group = group
        self._branches = Branches()
        self._ahead: tuple[str, Arguments, dict[int, int]] | None = None

    def take_calls(self) -> None:
        """From now on, the denoisers compute their calls together with the ranks."""
        for name, denoiser in self.denoisers.items():
            denoiser.forward = SharedForward(self, name, denoiser.forward)

    def forget(self) -> None:
        """A call of the pipeline begins, or has ended."""
        self._branches.forget()
        self._ahead = None

    def compute(self, name: str, forward: Callable[..., Any], arguments: Arguments) -> Any:
        """Computes one call. Raises `TaskFailed` for a rank that failed, and `RenderStopped` when asked to stop."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == name and is_same(dict(ahead[1]), dict(arguments)):
            self.foreseen_calls += 1
            return self._receive(ahead[2])
        if self.roles.second_branch and (foreseen := self._branches.foresee(arguments)) is not None:
            self._ahead = (name, foreseen, self._send(self.roles.second_branch, name, foreseen))
        output = self._divided(name, forward, arguments) if self.roles.helpers else forward(**arguments)
        if self.roles.second_branch:
            self._branches.observe(name, arguments)
        return output

    def _divided(self, name: str, forward: Callable[..., Any], arguments: Arguments) -> Any:
        numbers = self._send(self.roles.helpers, name, arguments)
        try:
            # A stop inside the call would leave the other devices waiting for this one.
            with without_stops(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*_functional_collectives", category=FutureWarning)
                output = forward(**arguments)
        except AssertionError as error:
            # diffusers raises it on every device, before any of them waits for another.
            for number, command in numbers.items():
                self._drop_answer(number, command)
            raise TaskFailed(FailureCode.ENGINE_FAILED, self._explain(error), stage=Stage.DENOISE) from None
        except Exception as error:  # noqa: BLE001 (a rank that ended shows as an error of torch)
            raise self._group.end_after(error) from None
        for number, command in numbers.items():
            self._group.rank(number).wait_for(command, _no_check)
        return output

    def _drop_answer(self, number: int, command: int) -> None:
        try:
            self._group.rank(number).wait_for(command, _no_check)
        except TaskFailed:
            return

    def _explain(self, error: AssertionError) -> str:
        return (
            f"a clip of this size and length cannot be divided between {self.roles.parallelism.context} devices:"
            f" choose another one, or another parallelism.context in the entry ({error})"
        )

    def _send(self, ranks: Sequence[int], name: str, arguments: Arguments) -> dict[int, int]:
        first = ranks[0] if ranks == self.roles.second_branch else None
        values = {"key": self.key, "denoiser": name, "arguments": dict(arguments)}
        return {rank: self._group.rank(rank).send("compute", **values, is_wanted=rank == first) for rank in ranks}

    def _receive(self, commands: Mapping[int, int]) -> Any:
        call = current_call()
        check = _no_check if call is None else call.check
        answers = [self._group.rank(rank).wait_for(number, check) for rank, number in commands.items()]
        return on_device(answers[0]["output"], self._group.device)


def _no_check() -> None:
    return None


class SharedForward:
    """The `forward` of a denoiser that several devices share."""

    def __init__(self, shared: SharedModel, name: str, forward: Callable[..., Any]) -> None:
        functools.update_wrapper(self, forward)
        self.shared, self._name, self._forward = shared, name, forward
        self._signature = inspect.signature(forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._signature.bind(*args, **kwargs).arguments
        return self.shared.compute(self._name, self._forward, arguments)


def find_shared(denoisers: Mapping[str, Any]) -> SharedModel | None:
    """Returns the model that several devices share, if these denoisers are of one."""
    forwards = [denoiser.forward for denoiser in denoisers.values()]
    return next((forward.shared for forward in forwards if isinstance(forward, SharedForward)), None)
