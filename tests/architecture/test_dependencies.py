"""What is imported is declared, and what is declared is pinned for the tests."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from fixtures.pinned_versions import installed_closure, pins
from fixtures.repository import list_sources, read_pyproject


def declared() -> set[str]:
    project = read_pyproject()["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {canonicalize_name(Requirement(line).name) for group in groups for line in group}


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_every_imported_library_is_declared() -> None:
    owners = packages_distributions()
    libraries = {name for path in list_sources() for name in imported_by(path)}
    third_party = libraries - set(sys.stdlib_module_names) - {"phoenix"}
    undeclared = {
        name for name in third_party if not {canonicalize_name(owner) for owner in owners.get(name, [])} & declared()
    }

    assert undeclared == set()


def test_every_dependency_is_pinned_to_the_version_that_is_tested() -> None:
    roots = [
        line
        for group in ("dependencies", "optional-dependencies")
        for line in flatten(read_pyproject()["project"][group])
        if canonicalize_name(Requirement(line).name) != "phoenix"
    ]
    installed: dict[str, Version] = {}
    for root in roots:
        installed |= installed_closure(root)

    assert {name: str(found) for name, found in installed.items() if pins().get(name) != found} == {}


def test_torch_is_pinned_by_its_public_version() -> None:
    """`+cpu` would not resolve from the registry, and no pin at all would bring whatever is newest."""
    assert pins()["torch"].local is None


def flatten(group: list[str] | dict[str, list[str]]) -> list[str]:
    return group if isinstance(group, list) else [line for lines in group.values() for line in lines]


def test_the_lowest_versions_for_media_are_tested() -> None:
    requirements = map(Requirement, read_pyproject()["project"]["optional-dependencies"]["media"])
    bounds = {canonicalize_name(each.name): Version(str(each.specifier).removeprefix(">=")) for each in requirements}

    assert pins("lowest-media.txt") == bounds
