"""The modules that mutation testing changes are there, and have their score on the page about it."""

import re

from fixtures.repository import REPOSITORY, read_pyproject

MODULES = read_pyproject()["tool"]["mutmut"]["only_mutate"]
PAGE = (REPOSITORY / "docs" / "mutation-testing.md").read_text()


def test_every_module_that_is_mutated_exists() -> None:
    assert MODULES
    assert [module for module in MODULES if not (REPOSITORY / module).is_file()] == []


def test_every_module_that_is_mutated_has_its_score_on_the_page() -> None:
    rows = re.findall(r"^\| `(src/\S+\.py)` \| (\d+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)

    assert [module for module, *_ in rows] == MODULES
    assert all(int(mutants) == int(killed) + int(survived) for _, mutants, killed, survived in rows)
