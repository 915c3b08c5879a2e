"""The list of built-in models in `docs/models.md`, which `make models-table` writes."""

import os
from collections.abc import Iterable

from fixtures.repository import REPOSITORY
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.resolve import longest_s
from phoenix.clock import plain_number
from phoenix.contract import ConditionRole

PAGE = REPOSITORY / "docs" / "models.md"
START, END = "<!-- the built-in models are listed by `make models-table` -->\n\n", "\n<!-- the list ends -->"


def table(models: Iterable[ModelSpec]) -> str:
    lines = ["| model | from | makes | sound | weights | license |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, models)]) + "\n"


def _line(model: ModelSpec) -> str:
    seconds = plain_number(round(longest_s(model.frames, model.fps.default), 1))
    makes = f"{', '.join(model.size.resolutions)}; up to {seconds} s at {model.fps.default} fps"
    weights = "" if model.memory_bytes is None else f"{model.memory_bytes / 1e9:.1f} GB"
    needed = [_words(role) for role, rule in model.conditions.items() if rule.minimum]
    others = [_words(role) for role, rule in model.conditions.items() if not rule.minimum]
    source = ", ".join(needed or ["text"]) + (f"; optional: {', '.join(others)}" if others else "")
    named = "" if model.license is None else f"[{model.license.name}]({model.license.url})"
    return f"| `{model.id}` | {source} | {makes} | {'yes' if model.makes_sound else ''} | {weights} | {named} |"


def _words(role: ConditionRole) -> str:
    return role.replace("_", " ")


def test_the_page_lists_the_built_in_models_as_the_catalog_has_them():
    before, _, rest = PAGE.read_text().partition(START)
    written, _, after = rest.partition(END)
    made = table(load_catalog())
    if os.environ.get("WRITE_MODELS_TABLE"):
        PAGE.write_text(f"{before}{START}{made}{END}{after}")
    else:
        assert written == made, "run `make models-table`"
