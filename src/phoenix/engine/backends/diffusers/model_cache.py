"""Caches models in memory. Concurrent requests share one load; eviction drops the least recently used model first.

Independent of torch: callers pass the functions that load, measure and release.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from phoenix.catalog.model import ModelSpec
from phoenix.engine.interface import without_traceback
from phoenix.engine.stop_token import StopToken, lock_and_wake_on_stop, wait_until

_Loaded = TypeVar("_Loaded")


@dataclass
class _CacheEntry(Generic[_Loaded]):
    loaded: _Loaded
    offload_mode: str
    """The offload mode of the loaded weights. A call with another mode cannot use them."""
    memory_bytes: int
    host_bytes: int
    names: dict[str, None] = field(default_factory=dict[str, None])
    """The ids of the models that were made from it, in the order of their first use."""
    users: int = 0
    idle_since_s: float = 0.0


@dataclass(eq=False)
class _Load:
    """A load in progress. It has its own thread, so that it continues for other waiters when one of them is stopped."""

    model: ModelSpec
    is_preload: bool
    """Whether the calls that need the model still wait for a slot. A preload evicts no model that is needed."""
    is_replacing: bool
    """Whether the same model with another offload mode was dropped for this load."""
    expected_bytes: int | None = None
    """None if the size is unknown, or if the load has not begun to read."""
    host_bytes: int = 0
    """Expected memory of the machine, from when the load may begin to read."""
    stop: StopToken = field(default_factory=StopToken)
    waiting: int = 0
    is_over: bool = False
    error: BaseException | None = None


@dataclass(frozen=True)
class HostBudget(Generic[_Loaded]):
    """The memory of the machine for models.

    `expect` returns the bytes that a model will use, `measure` the bytes of a loaded model. `refusal` makes the failure
    of a model that is larger than the budget.
    """

    budget_bytes: int
    expect: Callable[[ModelSpec], int]
    measure: Callable[[_Loaded], int]
    refusal: Callable[[ModelSpec, int], Exception]


class ModelCache(Generic[_Loaded]):
    """The models of one process. Thread-safe.

    `fetch` and then `load` run outside the lock, at most once at a time per model. The token of `load` stops when no
    caller waits for the load any more. `can_load` returns whether the models that are loading fit in memory together
    with the running calls. `release` returns memory to the device after models were dropped. With a budget of None,
    no model is evicted for memory. Models with an equal `key` share one place in memory.

    `host` has the same for the memory of the machine, which offloaded weights use.
    """

    def __init__(
        self,
        *,
        load: Callable[[ModelSpec, StopToken], _Loaded],
        measure: Callable[[_Loaded], int],
        release: Callable[[], None],
        budget_bytes: int | None,
        host: HostBudget[_Loaded] | None = None,
        fetch: Callable[[ModelSpec], object] = lambda _: None,
        can_load: Callable[[], bool] = lambda: True,
        key: Callable[[ModelSpec], str] = lambda model: model.id,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._load, self._measure, self._release = fetch, load, measure, release
        self._can_load, self._key = can_load, key
        self._budget_bytes = budget_bytes
        self._host = host
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: OrderedDict[str, _CacheEntry[_Loaded]] = OrderedDict()
        self._loads: dict[str, _Load] = {}
        self._soft_pins = Counter[str]()
        self._measured_bytes: dict[tuple[str, str], int] = {}
        self._changes, self.evictions = 0, 0

    def names(self) -> tuple[str, ...]:
        """Returns the ids of the models in memory, the least recently used first."""
        with self._changed:
            return tuple(name for entry in self._entries.values() for name in entry.names)

    def keys_in_memory(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(self._entries)

    def memory_bytes(self) -> int:
        """Returns the measured bytes of all models in memory."""
        with self._changed:
            return sum(entry.memory_bytes for entry in self._entries.values())

    def expected_bytes(self) -> int:
        """Returns the expected bytes of the models that are loading, from an earlier load or from the catalog."""
        with self._changed:
            return sum(load.expected_bytes or 0 for load in self._loads.values())

    def measure_again(self, key: str) -> None:
        """Counts what was added to a loaded model, and evicts other models if the budget is exceeded."""
        with self._changed:
            entry = self._entries.get(key)
            if entry is not None:
                entry.memory_bytes = self._measure(entry.loaded)
                self._changes += 1
        self.evict_to_budget(keep=key)

    @property
    def host_budget_bytes(self) -> int:
        """Memory of the machine for models; 0 if it is not counted."""
        return self._host.budget_bytes if self._host else 0

    def host_bytes(self) -> int:
        """Returns the memory of the machine that the models use, and that the current loads will use."""
        with self._changed:
            return self._committed_host_bytes()

    def epoch(self) -> int | None:
        """Returns a number that changes whenever a model is loaded or dropped; None while a load is in progress."""
        with self._changed:
            return None if self._loads else self._changes

    def waiting(self, key: str) -> int:
        """Returns how many callers wait for the current load of this model."""
        with self._changed:
            load = self._loads.get(key)
            return load.waiting if load else 0

    @contextmanager
    def acquire(self, model: ModelSpec, stop: StopToken) -> Generator[_Loaded]:
        """Yields the model, and loads it first if necessary. Does not evict it during the block.

        If the model in memory has another offload mode, waits until it is unused, and loads it again. Raises the errors
        of `load`, or `RenderStopped` as soon as a stop is requested; the load continues if others wait for it.
        """
        entry = self._acquire(model, stop)
        try:
            yield entry.loaded
        finally:
            with self._changed:
                entry.users -= 1
                entry.idle_since_s = self._clock()
                self._changed.notify_all()
            # Models that were in use at the same time may exceed the budget. This model stays: a stack frame of the
            # caller still refers to it.
            self.evict_to_budget(keep=self._key(model))

    @contextmanager
    def soft_pin(self, key: str) -> Generator[None]:
        """Protects the model during the block from eviction after idle time, and from eviction for a preload."""
        with self._changed:
            self._soft_pins[key] += 1
        try:
            yield
        finally:
            with self._changed:
                self._soft_pins[key] -= 1
                if key in self._entries:
                    self._entries[key].idle_since_s = self._clock()

    def preload(self, model: ModelSpec, stop: StopToken) -> None:
        """Fetches the model, and loads it if it fits in memory with all models in use or pinned.

        If it does not fit, `acquire` loads it later. Raises the errors of `fetch` and `load`, or `RenderStopped` as
        soon as a stop is requested.
        """
        stop.check()
        with lock_and_wake_on_stop(stop, self._changed):
            if self._is_loaded_as(model) or self._is_used(self._key(model)):
                return
            load = self._loads.get(self._key(model)) or self._start_load(model, is_preload=True)
            self._wait_for_load(load, stop)
        if load.error is not None and load.stop.reason is None and load.model.id == model.id:
            raise without_traceback(load.error)

    def evict_idle(self, *, keep: str | None = None, only: str | None = None) -> int:
        """Drops every unused model except the key `keep`, or `only` that model id. Returns how many were dropped."""
        return self._evict(lambda name, entry: name != keep and (only is None or only in entry.names))

    def evict_expired(self, limit_s: float) -> float | None:
        """Drops the models that were neither used nor pinned for `limit_s`.

        Returns the seconds until the next model expires; None if all models are in use or pinned.
        """
        since_s = self._clock() - limit_s
        self._evict(lambda name, entry: not self._soft_pins[name] and entry.idle_since_s <= since_s)
        with self._changed:
            left = [entry.idle_since_s for name, entry in self._entries.items() if not self._is_needed(name)]
        return max(0.0, min(left) - since_s) if left else None

    def evict_to_budget(self, *, keep: str | None = None) -> int:
        """Drops unused models, the least recently used first, until models and loads fit the budget.

        Does not drop `keep`. Returns how many were dropped.
        """
        return self._evict(lambda name, entry: name != keep and self._is_over_budget(entry))

    def _is_over_budget(self, entry: _CacheEntry[_Loaded]) -> bool:
        """Returns whether a budget is exceeded, and the entry has a part in it."""
        is_device_full = self._budget_bytes is not None and self._committed_bytes() > self._budget_bytes
        is_host_full = self._host is not None and self._committed_host_bytes() > self._host.budget_bytes
        return (is_device_full and entry.memory_bytes > 0) or (is_host_full and entry.host_bytes > 0)

    def _acquire(self, model: ModelSpec, stop: StopToken) -> _CacheEntry[_Loaded]:
        stop.check()
        with lock_and_wake_on_stop(stop, self._changed):
            while True:
                if self._is_loaded_as(model):
                    return self._mark_used(model)
                if self._is_used(self._key(model)):
                    wait_until(self._changed, lambda: not self._is_used(self._key(model)), stop)
                    continue
                load = self._loads.get(self._key(model)) or self._start_load(model, is_preload=False)
                self._wait_for_load(load, stop)
                # A load is stopped when its last waiter is stopped: this caller came later, and loads again. So it does
                # after the failed load of another model over the same weights, whose reason may be of its entry.
                if load.error is not None and load.stop.reason is None and load.model.id == model.id:
                    raise without_traceback(load.error)

    def _start_load(self, model: ModelSpec, *, is_preload: bool) -> _Load:
        is_replacing = self._entries.pop(self._key(model), None) is not None
        load = self._loads[self._key(model)] = _Load(model, is_preload, is_replacing)
        self._changes += 1
        run = copy_context().run
        threading.Thread(target=run, args=(self._run_load, load), name=f"load {model.id}", daemon=True).start()
        return load

    def _wait_for_load(self, load: _Load, stop: StopToken) -> None:
        load.waiting += 1
        try:
            wait_until(self._changed, lambda: load.is_over, stop)
        finally:
            load.waiting -= 1
            if not load.waiting and not load.is_over and stop.reason is not None:
                load.stop.stop(stop.reason)

    def _run_load(self, load: _Load) -> None:
        key = self._key(load.model)
        try:
            if load.is_replacing:
                self._release()
            self._fetch(load.model)
            if self._reserve_budget(load):
                self._load_entry(load)
        except BaseException as error:  # noqa: BLE001 - the waiters raise it in their threads
            load.error = without_traceback(error)
        with self._changed:
            del self._loads[key]
            load.is_over = True
            self._changed.notify_all()
        # The measured size may be larger than the size in the catalog, and exceed the budget.
        self.evict_to_budget(keep=key)

    def _reserve_budget(self, load: _Load) -> bool:
        """Evicts models until the load fits the budgets.

        Returns whether it may go on; a preload may not evict needed models, nor wait for them.
        """
        with self._changed:
            load.expected_bytes = self._expected_bytes(load.model)
            if load.is_preload and not self._fits_budget(load):
                return False
        self.evict_to_budget()
        if load.is_preload and not self._can_load():
            return False
        return self._host is None or self._reserve_host(load, self._host)

    def _reserve_host(self, load: _Load, host: HostBudget[_Loaded]) -> bool:
        """Reserves memory of the machine for the load. Waits for models in use, and evicts the others.

        Returns False for a preload that would have to wait. Raises `TaskFailed` if there will never be room.
        """
        needed_bytes = host.expect(load.model)
        if needed_bytes > host.budget_bytes:
            raise host.refusal(load.model, needed_bytes)

        def fits() -> bool:
            return self._committed_host_bytes() + needed_bytes <= host.budget_bytes

        while True:
            self._evict(
                lambda name, entry: (
                    entry.host_bytes > 0 and not fits() and not (load.is_preload and self._soft_pins[name] > 0)
                )
            )
            with lock_and_wake_on_stop(load.stop, self._changed):
                if fits():
                    load.host_bytes = needed_bytes
                    return True
                if load.is_preload:
                    return False
                wait_until(self._changed, lambda: fits() or self._has_idle_entry(), load.stop)

    def _has_idle_entry(self) -> bool:
        return any(entry.host_bytes > 0 and not entry.users for entry in self._entries.values())

    def _load_entry(self, load: _Load) -> None:
        loaded = self._load(load.model, load.stop)
        entry = _CacheEntry(
            loaded,
            _offload_mode(load.model),
            self._measure(loaded),
            self._host.measure(loaded) if self._host else 0,
            idle_since_s=self._clock(),
        )
        entry.names[load.model.id] = None
        with self._changed:
            self._entries[self._key(load.model)] = entry
            self._measured_bytes[self._key(load.model), entry.offload_mode] = entry.memory_bytes

    def _fits_budget(self, load: _Load) -> bool:
        """Returns whether the load fits the budget together with the models in use or pinned, and the other loads."""
        others = [entry.memory_bytes for name, entry in self._entries.items() if self._is_needed(name)]
        others += [other.expected_bytes or 0 for other in self._loads.values() if other is not load]
        if not others or self._budget_bytes is None:
            return True
        return load.expected_bytes is not None and sum(others) + load.expected_bytes <= self._budget_bytes

    def _expected_bytes(self, model: ModelSpec) -> int | None:
        offload_mode = _offload_mode(model)
        return self._measured_bytes.get(
            (self._key(model), offload_mode), model.memory_bytes if offload_mode == "never" else 0
        )

    def _is_needed(self, key: str) -> bool:
        return self._is_used(key) or self._soft_pins[key] > 0

    def _is_loaded_as(self, model: ModelSpec) -> bool:
        entry = self._entries.get(self._key(model))
        return entry is not None and entry.offload_mode == _offload_mode(model)

    def _is_used(self, key: str) -> bool:
        return key in self._entries and self._entries[key].users > 0

    def _mark_used(self, model: ModelSpec) -> _CacheEntry[_Loaded]:
        key = self._key(model)
        entry = self._entries[key]
        entry.names[model.id] = None
        entry.users += 1
        self._entries.move_to_end(key)
        return entry

    def _evict(self, can_evict: Callable[[str, _CacheEntry[_Loaded]], bool]) -> int:
        """Drops unused entries if `can_evict` is true: the least recently used first, pinned entries last.

        `can_evict` is called with the lock. Returns how many entries were dropped.
        """
        with self._changed:
            dropped = self._drop(can_evict)
        if dropped:
            # Not in `_drop`, whose variables still refer to a model.
            self._release()
        return dropped

    def _drop(self, can_evict: Callable[[str, _CacheEntry[_Loaded]], bool]) -> int:
        dropped = 0
        for name, entry in sorted(self._entries.items(), key=lambda item: self._soft_pins[item[0]] > 0):
            if not entry.users and can_evict(name, entry):
                del self._entries[name]
                dropped += 1
        self._changes += dropped
        self.evictions += dropped
        return dropped

    def _committed_bytes(self) -> int:
        loaded_bytes = sum(entry.memory_bytes for entry in self._entries.values())
        return loaded_bytes + sum(load.expected_bytes or 0 for load in self._loads.values())

    def _committed_host_bytes(self) -> int:
        loaded_bytes = sum(entry.host_bytes for entry in self._entries.values())
        return loaded_bytes + sum(load.host_bytes for load in self._loads.values())


def _offload_mode(model: ModelSpec) -> str:
    """Returns `never` for `auto`: weights are on the device until a clip shows that they do not fit."""
    return "never" if model.offload == "auto" else model.offload
