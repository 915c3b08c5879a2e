"""The arguments of a pipeline class, for both kinds of classes that diffusers has.

A plain class has the signature of its `__call__`. A modular class is a tree of blocks, each of which declares inputs;
its `__call__` takes any argument, and only warns of arguments that no block knows.
"""

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

REQUIRED = inspect.Parameter.empty
"""The default of an argument that a call cannot do without."""


def is_modular(kind: type) -> bool:
    """Returns whether the class is a modular pipeline of diffusers."""
    diffusers: Any = importlib.import_module("diffusers")
    return issubclass(kind, diffusers.ModularPipeline)


def accepted_names(kind: type) -> frozenset[str]:
    """Returns the names of the arguments of a pipeline class."""
    return frozenset(_defaults(kind))


def required_names(kind: type) -> list[str]:
    """Returns the arguments that a call of the class cannot do without, in their order."""
    return [name for name, default in _defaults(kind).items() if default is REQUIRED]


def default_of(kind: type, name: str) -> Any:
    """Returns the default of an argument; `REQUIRED` if it has none, or if the class has no such argument."""
    return _defaults(kind).get(name, REQUIRED)


def output_names(kind: type) -> frozenset[str]:
    """Returns the names of what a call of a modular class makes: the outputs of its last block."""
    return frozenset(output.name for output in default_blocks(kind).outputs)


def component_names(kind: type) -> frozenset[str]:
    """Returns the names of the components of a modular class."""
    return frozenset(spec.name for spec in default_blocks(kind).expected_components)


def default_blocks(kind: Any) -> Any:
    """Returns a new tree of the blocks of a modular class."""
    diffusers: Any = importlib.import_module("diffusers")
    return getattr(diffusers, kind.default_blocks_name)()


@functools.cache
def _defaults(kind: type) -> Mapping[str, Any]:
    if not is_modular(kind):
        parameters = list(inspect.signature(kind.__call__).parameters.values())[1:]
        # The others are `*args` and `**kwargs`.
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {each.name: each.default for each in parameters if each.kind in named}
    blocks = default_blocks(kind)
    # A block also requires what an earlier block makes, though no earlier block of its own branch does.
    made = {output.name for output in blocks.intermediate_outputs}
    return {
        each.name: REQUIRED if each.required and each.default is None and each.name not in made else each.default
        for each in blocks.inputs
        if each.name
    }
