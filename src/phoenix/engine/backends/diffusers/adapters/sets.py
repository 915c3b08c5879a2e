"""The denoisers of one model with adapters. Each set of adapters has modules of its own over the same weights.

peft keeps the active adapters and their scales on the modules: calls with different adapters in two threads would get
the adapters of each other. Copies of the module tree share every weight, so that the calls need no lock, and a call
without adapters uses the original modules. docs/decisions/0017-each-set-of-adapters-has-a-module-tree.md says why.
"""

import copy
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.engine.backends.diffusers.adapters.files import AdapterPart, activate, load_part
from phoenix.engine.backends.diffusers.shared_weights import twin

MAX_SETS = 8
"""Sets per model that stay in memory. A set costs the weights of its adapters, which sets share, and its modules."""

DENOISERS = ("transformer", "transformer_2")

_Modules = dict[str, torch.nn.Module]
_Key = tuple[str, tuple[tuple[str, str, float], ...]]
Tune = Callable[[Any], None]
"""Applies the settings of an entry to the denoisers of a pipeline."""


class AdapterSets:
    """The sets of one model in memory, the most recently used last. Thread-safe, except `_make`.

    `_library` has every adapter of the sets, and is never called: the sets are copies of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sets: OrderedDict[_Key, _Modules] = OrderedDict()
        self._library: Any = None
        self.memory_bytes = 0
        """Bytes of the adapters in memory."""

    def find(self, pipeline: Any, parts: Sequence[AdapterPart], *, tuning: str) -> Any:
        """Returns the pipeline with these adapters; None if `make` has to load them.

        `tuning` names the settings of the denoisers: entries with other settings have sets of their own.
        """
        key = _key_of(parts, tuning)
        with self._lock:
            modules = self._sets.get(key)
            if modules is None:
                return None
            self._sets.move_to_end(key)
        return _with_modules(pipeline, modules)

    def make(
        self, pipeline: Any, base: Any, model: ModelSpec, parts: Sequence[AdapterPart], *, tuning: str, tune: Tune
    ) -> Any:
        """Returns the pipeline with these adapters, and loads missing adapters. Call it with LOAD_LOCK.

        `base` is the pipeline whose denoisers are copied, and `tune` applies the settings that `tuning` names.
        Raises `TaskFailed` (MODEL_UNAVAILABLE).
        """
        if self._library is None:
            self._library = _with_modules(base, _twins(base))
        try:
            for part in parts:
                if part.name not in _loaded_names(self._library, part.component):
                    load_part(self._library, model, part)
            made = _with_modules(pipeline, _twins(self._library))
            _delete(made, _loaded_names(made, *DENOISERS) - {part.name for part in parts})
            activate(made, parts)
            tune(made)
            with self._lock:
                self._sets[_key_of(parts, tuning)] = _modules_of(made)
                while len(self._sets) > MAX_SETS:
                    self._sets.popitem(last=False)
        finally:
            self._drop_unused(base)
        return made

    def _drop_unused(self, base: Any) -> None:
        with self._lock:
            used = {name for _, names in self._sets for name, _, _ in names}
        _delete(self._library, _loaded_names(self._library, *DENOISERS) - used)
        known = {id(tensor) for module in _modules_of(base).values() for tensor in module.parameters()}
        self.memory_bytes = sum(
            tensor.nbytes
            for module in _modules_of(self._library).values()
            for tensor in module.parameters()
            if id(tensor) not in known
        )


def _key_of(parts: Sequence[AdapterPart], tuning: str) -> _Key:
    return tuning, tuple((part.name, part.component, part.scale) for part in parts)


def _modules_of(pipeline: Any) -> _Modules:
    found = {name: getattr(pipeline, name, None) for name in DENOISERS}
    return {name: module for name, module in found.items() if module is not None}


def _twins(pipeline: Any) -> _Modules:
    return {name: twin(module) for name, module in _modules_of(pipeline).items()}


def _with_modules(pipeline: Any, modules: _Modules) -> Any:
    changed = copy.copy(pipeline)
    for name, module in modules.items():
        setattr(changed, name, module)
    return changed


def _loaded_names(pipeline: Any, *components: str) -> set[str]:
    """Returns the names of the adapters in these components."""
    modules = _modules_of(pipeline)
    return {name for component in components for name in getattr(modules.get(component), "peft_config", ())}


def _delete(pipeline: Any, names: set[str]) -> None:
    """Deletes adapters from the denoisers that have them: a denoiser refuses a name that it does not have."""
    for module in _modules_of(pipeline).values():
        known = getattr(module, "peft_config", {})
        with warnings.catch_warnings():
            # peft warns that it makes another adapter the active one. `activate` decides that.
            warnings.simplefilter("ignore")
            for name in sorted(names.intersection(known)):
                module.delete_adapters(name)  # pyright: ignore[reportCallIssue]
