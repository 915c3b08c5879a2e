"""The locks agree with pyproject.toml, with the versions of the tests, and with what the Dockerfile installs."""

import re
import runpy
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from fixtures.pinned_versions import installed_closure, pins
from fixtures.repository import REPOSITORY, list_files, read_pyproject

FOLDER = REPOSITORY / "requirements"
SCRIPT = runpy.run_path(str(REPOSITORY / "deploy" / "locks.py"))
EXTRAS: dict[str, tuple[str, ...]] = SCRIPT["EXTRAS"]
IMAGES = ("api", "worker", "runpod")
PROJECT = read_pyproject()["project"]
# The tests install these in whatever build a machine has: torch, and what its own metadata asks for.
WITHOUT_HASH = {"torch", "sympy", "networkx", "mpmath", "fsspec", "filelock", "jinja2", "setuptools"}


@cache
def read_lock(name: str) -> dict[str, tuple[Version, int]]:
    """The version and the number of hashes of each package."""
    entries = re.split(r"\n(?=\S)", (FOLDER / f"{name}.txt").read_text())
    found: dict[str, tuple[Version, int]] = {}
    for entry in entries:
        if match := re.match(r"([\w.-]+)==([^\s;]+)", entry):
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)
            found[canonicalize_name(match[1])] = (Version(match[2]), len(hashes))
    return found


def direct(extras: tuple[str, ...]) -> set[Requirement]:
    """The requirements of the package and of its extras; extras that name extras are followed."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    requirements = {Requirement(line) for line in lines}
    own = {each for each in requirements if canonicalize_name(each.name) == "phoenix"}
    return (requirements - own).union(*(direct(tuple(each.extras)) for each in own))


@pytest.mark.parametrize("name", EXTRAS)
def test_every_dependency_is_locked_within_its_bounds(name: str) -> None:
    lock = read_lock(name)
    expected = {each for each in direct(EXTRAS[name]) if name != "dev" or each.name not in WITHOUT_HASH}
    bad = {str(each) for each in expected if not is_locked(each, lock)}

    assert bad == set()


def is_locked(requirement: Requirement, lock: dict[str, tuple[Version, int]]) -> bool:
    version, _ = lock.get(canonicalize_name(requirement.name), (None, 0))
    return version is not None and version in requirement.specifier


@pytest.mark.parametrize("name", [name for name in EXTRAS if name != "runpod"])
def test_what_a_dependency_needs_is_locked_too(name: str) -> None:
    """`runpod` is installed nowhere in the tests, so nothing here knows what it needs. pip checks it in its image."""
    needed = {found for each in direct(EXTRAS[name]) for found in installed_closure(str(each))}

    assert needed - read_lock(name).keys() - (WITHOUT_HASH if name == "dev" else set()) == set()


@pytest.mark.parametrize("path", list_files("requirements/*.txt"), ids=lambda path: path.stem)
def test_every_locked_package_has_a_hash(path) -> None:
    lock = read_lock(path.stem)

    assert lock
    assert [name for name, (_, hashes) in lock.items() if hashes == 0] == []


@pytest.mark.parametrize("name", EXTRAS)
def test_what_is_locked_is_what_the_tests_ran_with(name: str) -> None:
    tested = pins()

    assert {each: v for each, (v, _) in read_lock(name).items() if tested.get(each, v) != v} == {}


def test_the_build_tools_are_locked() -> None:
    required = {canonicalize_name(Requirement(line).name) for line in read_pyproject()["build-system"]["requires"]}

    assert required <= read_lock("build").keys()


def test_the_images_install_nothing_but_locks_and_the_package() -> None:
    text = re.sub(r"\\\n", " ", (REPOSITORY / "Dockerfile").read_text())
    commands = re.findall(r"pip install [^&\n]*", text)
    locked = [command for command in commands if "/*.whl" not in command]
    files = {match for command in locked for match in re.findall(r"requirements/(\w+)\.txt", command)}

    assert files == {"build", *IMAGES}
    assert all("--require-hashes --no-deps" in command for command in locked)
    assert all("--no-deps" in command for command in commands)
    assert "--no-build-isolation" in text


def test_the_lowest_admitted_versions_are_those_that_are_tested() -> None:
    """A bound that no test ran with is a promise that nobody keeps. torch is left out: see `make test-lowest`."""
    tested = pins("lowest.txt")
    bounds = {
        canonicalize_name(each.name): Version(bound.version)
        for each in direct(("dev",))
        for bound in each.specifier
        if bound.operator == ">="
    }
    del bounds["torch"]

    assert {name: str(bound) for name, bound in bounds.items() if tested.get(name) != bound} == {}
