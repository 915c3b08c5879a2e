"""Which models are in memory: each loaded once however many ask, kept by least-recent use within a budget of bytes.

Knows nothing of torch: what loading, measuring and letting go mean is passed in.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backend import renewed
from phoenix.engine.stopping import StopToken, wait_until, woken_by

_Loaded = TypeVar("_Loaded")


@dataclass
class _Resident(Generic[_Loaded]):
    loaded: _Loaded
    memory_bytes: int
    users: int = 0
    idle_since_s: float = 0.0


@dataclass(eq=False)
class _Load:
    """A load under way, in a thread of its own: whoever waits for it may leave, and it goes on for the others."""

    model: ModelSpec
    expected_bytes: int
    stop: StopToken = field(default_factory=StopToken)
    waiting: int = 0
    is_over: bool = False
    error: BaseException | None = None


class Residency(Generic[_Loaded]):
    """The models held by one process. Thread-safe.

    `load` runs outside the lock, at most once at a time per model; its token stops once nobody waits for it. `release`
    is called after models were dropped, to give their memory back. A budget of None keeps everything.
    """

    def __init__(
        self,
        *,
        load: Callable[[ModelSpec, StopToken], _Loaded],
        measure: Callable[[_Loaded], int],
        release: Callable[[], None],
        budget_bytes: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._measure, self._release = load, measure, release
        self._budget_bytes = budget_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._residents: OrderedDict[str, _Resident[_Loaded]] = OrderedDict()
        self._loads: dict[str, _Load] = {}

    def names(self) -> tuple[str, ...]:
        """Ids of the models in memory, the least recently used first."""
        with self._changed:
            return tuple(self._residents)

    def memory_bytes(self) -> int:
        """Of all models in memory, as measured."""
        with self._changed:
            return sum(resident.memory_bytes for resident in self._residents.values())

    @contextmanager
    def hold(self, model: ModelSpec, stop: StopToken) -> Generator[_Loaded]:
        """The model, loaded if need be, and not evicted during the block.

        Raises what `load` raises, or `RenderStopped` as soon as it is asked to stop, whoever else the load is for.
        """
        resident = self._take(model, stop)
        try:
            yield resident.loaded
        finally:
            with self._changed:
                resident.users -= 1
                resident.idle_since_s = self._clock()

    def evict_idle(self, *, keep: str | None = None, for_s: float = 0) -> int:
        """Drops every model but `keep` that nobody has used for `for_s` seconds. Returns how many."""
        since_s = self._clock() - for_s
        return self._evict(lambda name, resident: name != keep and resident.idle_since_s <= since_s)

    def make_room(self, *, keep: str | None = None) -> int:
        """Drops idle models, the least recently used first, until what is held and expected fits the budget."""
        budget_bytes = self._budget_bytes
        if budget_bytes is None:
            return 0
        return self._evict(lambda name, _: name != keep and self._held_bytes() > budget_bytes)

    def _take(self, model: ModelSpec, stop: StopToken) -> _Resident[_Loaded]:
        stop.check()
        with woken_by(stop, self._changed):
            while True:
                if model.id in self._residents:
                    return self._use(model.id)
                load = self._loads.get(model.id) or self._start(model)
                self._await(load, stop)
                # A load that was stopped failed nobody who is still here: they came after the last of its waiters left.
                if load.error is not None and load.stop.reason is None:
                    raise renewed(load.error)

    def _start(self, model: ModelSpec) -> _Load:
        load = self._loads[model.id] = _Load(model, expected_bytes=model.memory_bytes or 0)
        run = copy_context().run
        threading.Thread(target=run, args=(self._bring_in, load), name=f"load {model.id}", daemon=True).start()
        return load

    def _await(self, load: _Load, stop: StopToken) -> None:
        load.waiting += 1
        try:
            wait_until(self._changed, lambda: load.is_over, stop)
        finally:
            load.waiting -= 1
            if not load.waiting and not load.is_over and stop.reason is not None:
                load.stop.stop(stop.reason)

    def _bring_in(self, load: _Load) -> None:
        model_id = load.model.id
        try:
            self.make_room()
            loaded = self._load(load.model, load.stop)
            resident = _Resident(loaded, self._measure(loaded), idle_since_s=self._clock())
            with self._changed:
                self._residents[model_id] = resident
        except BaseException as error:  # noqa: BLE001 - whoever waits for it, in another thread, raises it
            load.error = renewed(error)
        with self._changed:
            del self._loads[model_id]
            load.is_over = True
            self._changed.notify_all()
        # The entry's number was a guess; the measured one may leave less room for the others.
        self.make_room(keep=model_id)

    def _use(self, model_id: str) -> _Resident[_Loaded]:
        resident = self._residents[model_id]
        resident.users += 1
        self._residents.move_to_end(model_id)
        return resident

    def _evict(self, may_go: Callable[[str, _Resident[_Loaded]], bool]) -> int:
        """Drops what nobody uses and `may_go`, asked under the lock, the least recently used first."""
        with self._changed:
            dropped = self._drop(may_go)
        if dropped:
            # Here no variable holds a model any more; in `_drop` one did.
            self._release()
        return dropped

    def _drop(self, may_go: Callable[[str, _Resident[_Loaded]], bool]) -> int:
        dropped = 0
        for name, resident in list(self._residents.items()):
            if not resident.users and may_go(name, resident):
                del self._residents[name]
                dropped += 1
        return dropped

    def _held_bytes(self) -> int:
        held = sum(resident.memory_bytes for resident in self._residents.values())
        return held + sum(load.expected_bytes for load in self._loads.values())
