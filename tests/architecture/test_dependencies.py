"""What is imported is declared, and what is declared is pinned for the tests."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from fixtures.repository import REPOSITORY, list_sources, read_pyproject


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


def pins(file: str = "constraints.txt") -> dict[str, Version]:
    lines = (REPOSITORY / "tests" / file).read_text().splitlines()
    matches = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {canonicalize_name(match[1]): Version(match[2]) for match in matches if match}


def installed_closure(root: str) -> dict[str, Version]:
    """Every installed distribution that the root's requirements lead to, extras followed."""
    found: dict[str, Version] = {}
    waiting = [(Requirement(root), "")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, _ = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in requirement.extras or {""}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found[name] = Version(Version(version(name)).public)
            except PackageNotFoundError:
                continue
            waiting += [(each, extra) for each in direct_requirements(name, extra)]
    return found


def direct_requirements(name: str, extra: str) -> Iterator[Requirement]:
    # A CUDA build of torch brings exact pins of its own for two dozen libraries, which a CPU build does not have.
    if name == "torch":
        return
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


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
