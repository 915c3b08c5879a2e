"""The devices of a worker that make clips together: starts a rank for each further device, and loads models there."""

import tempfile
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.denoising.denoisers import denoisers_of
from phoenix.engine.backends.diffusers.device_group.dividing import (
    abort_process_group,
    divide,
    join_process_group,
    leave_process_group,
)
from phoenix.engine.backends.diffusers.device_group.plan import check_devices
from phoenix.engine.backends.diffusers.device_group.ranks import POLL_S, Rank, RankLost
from phoenix.engine.backends.diffusers.device_group.shared_calls import SharedModel, find_shared
from phoenix.engine.backends.diffusers.loading import LoadedPipeline
from phoenix.engine.backends.diffusers.step_callbacks import Call
from phoenix.engine.stop_token import StopToken
from phoenix.errors import TaskFailed
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

LIMIT_S = 600.0
"""How long one device waits for another: for a load of weights, or for the slower half of a step."""


class DeviceGroup:
    """The ranks of one worker. Rank 0 is the worker itself, on the first of `devices`. Thread-safe.

    One pipeline call, or one load, uses the ranks at a time. They are started for the first model that needs them, and
    end when no model does.
    """

    def __init__(self, devices: Sequence[str], *, limit_s: float = LIMIT_S) -> None:
        self.devices = tuple(devices)
        self.device = self.devices[0]
        self._limit_s = limit_s
        self._lock = threading.RLock()
        self._ranks: dict[int, Rank] = {}
        self._models: weakref.WeakValueDictionary[str, SharedModel] = weakref.WeakValueDictionary()
        self._keys = count()
        self._joined, self._generation = 0, 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def rank(self, number: int) -> Rank:
        return self._ranks[number]

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the ranks that run."""
        return tuple(rank.pid for rank in self._ranks.values() if rank.is_alive and rank.pid is not None)

    def load(self, model: ModelSpec, stop: StopToken, load: Callable[[], LoadedPipeline]) -> LoadedPipeline:
        """Loads the model here, and its denoisers on the other devices of its entry. Raises `TaskFailed`."""
        if model.parallelism is None:
            return load()
        check_devices(model, len(self.devices))
        loaded = load()
        with self._used_alone(stop.check):
            self._drop_unused()
            key = f"{model.id} {next(self._keys)}"
            shared = self._models[key] = SharedModel(key, loaded.model, denoisers_of(loaded.pipeline), self)
            sizes = self._make_ready(shared, stop.check)
            shared.take_calls()
        host_bytes = loaded.host_bytes + sum(size["host_bytes"] for size in sizes)
        # Each device needs its own: the largest counts against the budget, which is of one device.
        device_bytes = max(loaded.memory_bytes, *(size["device_bytes"] for size in sizes))
        return replace(loaded, host_bytes=host_bytes, memory_bytes=device_bytes)

    @contextmanager
    def sharing(self, pipeline: Any, call: Call) -> Generator[None]:
        """Covers a call of the pipeline. Starts ranks that have ended since the last call."""
        shared = find_shared(denoisers_of(pipeline))
        if shared is None:
            yield
            return
        with self._used_alone(call.check):
            with call.waiting():
                self._make_ready(shared, call.check)
            shared.forget()
            try:
                yield
            except RankLost:
                self._end_ranks()
                raise
            finally:
                shared.forget()

    def release(self) -> None:
        """Drops models that are no longer in memory here from the ranks; ends ranks without a model."""
        # A call or a load in progress does the same before the next load.
        if self._ranks and self._lock.acquire(blocking=False):
            try:
                self._drop_unused()
            finally:
                self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._end_ranks()

    def end_after(self, error: Exception) -> Exception:
        """Ends the ranks after a failed computation, in which they wait for each other. Returns what to raise."""
        failures = [failure for rank in self._ranks.values() if (failure := rank.find_failure()) is not None]
        self._end_ranks()
        stated = [failure for failure in failures if not isinstance(failure, RankLost)]
        return next(iter([*stated, *failures]), error)

    @contextmanager
    def _used_alone(self, check: Callable[[], None]) -> Generator[None]:
        while not self._lock.acquire(timeout=POLL_S):
            check()
        try:
            yield
        finally:
            self._lock.release()

    def _make_ready(self, shared: SharedModel, check: Callable[[], None]) -> list[Any]:
        """Brings the model onto the ranks of its entry. Returns the sizes of what was loaded for that."""
        try:
            wanted = range(1, shared.roles.size)
            if any(number in self._ranks and not self._ranks[number].is_alive for number in wanted):
                self._end_ranks()
            for number in wanted:
                if number not in self._ranks:
                    self._ranks[number] = self._start(self.devices[number])
            loading = [self._ranks[number] for number in wanted if shared.key not in self._ranks[number].loaded]
            model = shared.model.model_dump_json()
            commands = [(rank, rank.send("load", key=shared.key, model=model)) for rank in loading]
            sizes = [rank.wait_for(command, check) for rank, command in commands]
            for rank in loading:
                rank.loaded.add(shared.key)
            if shared.roles.helpers:
                self._divide(shared)
        except RankLost:
            self._end_ranks()
            raise
        return sizes

    def _start(self, device: str) -> Rank:
        rank = Rank(device, on_end=abort_process_group, limit_s=self._limit_s)
        _logger.info("rank started", device=device, pid=rank.pid)
        rank.send("begin", device=device, threads=torch.get_num_threads())
        return rank

    def _divide(self, shared: SharedModel) -> None:
        size = shared.roles.size
        members = [self._ranks[number] for number in range(1, size)]
        if self._joined != size:
            self._join(members, size)
        if shared.generation != self._generation:
            commands = [rank.send("divide", key=shared.key) for rank in members]
            self._together(lambda: divide(shared.denoisers, shared.roles, device=self.device))
            self._wait_for_all(members, commands)
            shared.generation = self._generation

    def _join(self, members: Sequence[Rank], size: int) -> None:
        # A process group uses its store as long as it lives, for each part of it that gets a mesh.
        self._remove_folder()
        self._folder = tempfile.TemporaryDirectory(prefix="phoenix-ranks-")
        store = str(Path(self._folder.name) / "store")
        place: dict[str, Any] = {"size": size, "store": store, "limit_s": self._limit_s}
        commands = [rank.send("join", rank=number, **place) for number, rank in enumerate(members, start=1)]
        self._together(lambda: join_process_group(0, device=self.device, **place))
        self._wait_for_all(members, commands)
        self._joined = size
        self._generation += 1

    def _together(self, act: Callable[[], None]) -> None:
        """Does what every rank does at the same time."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 (a rank that ended shows as an error of torch)
            raise self.end_after(error) from None

    def _wait_for_all(self, ranks: Sequence[Rank], commands: Sequence[int]) -> None:
        for rank, command in zip(ranks, commands, strict=True):
            rank.wait_for(command, lambda: None)

    def _drop_unused(self) -> None:
        if not self._models:
            self._end_ranks()
        for rank in self._ranks.values():
            unused = rank.loaded - set(self._models.keys())
            if unused:
                try:
                    rank.send("drop", keys=sorted(unused))
                except TaskFailed:
                    # It has ended. The next call starts it again.
                    continue
                rank.loaded -= unused

    def _end_ranks(self) -> None:
        ranks, self._ranks = self._ranks, {}
        for rank in ranks.values():
            rank.stop()
        if self._joined:
            leave_process_group()
            self._joined = 0
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
