"""The wheel has everything that an installed Phoenix needs, the migrations among it."""

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY, list_files
from phoenix import RELEASE

PACKED = ("pyproject.toml", "README.md", "LICENSE", "migrations", "docs", "deploy/wheel_pages.py", "src")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    wheel = build_wheel(REPOSITORY, tmp_path_factory.mktemp("wheel"))
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def source_without_git(tmp_path: Path) -> Path:
    """What the Dockerfile copies."""
    for path in list_files(*PACKED):
        target = tmp_path / "source" / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path / "source"


def build_wheel(source: Path, folder: Path, *options: str, **environment: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *options]
    child_processes.run([*command, str(source)], check=True, env=os.environ | environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def version_without_git(source: Path, folder: Path, given: str) -> str:
    # With the tools of the tests: that pyproject.toml names all tools shows in the build of `packed`.
    wheel = build_wheel(source, folder, "--no-build-isolation", SETUPTOOLS_SCM_PRETEND_VERSION=given)
    return wheel.name.split("-")[1]


def paths_under(folder: str) -> set[Path]:
    return {path.relative_to(REPOSITORY / folder) for path in list_files(f"{folder}/*")}


def test_every_source_file_is_in_the_wheel(packed: set[str]) -> None:
    assert {str(path) for path in paths_under("src")} - packed == set()


def test_the_migrations_are_in_the_wheel(packed: set[str]) -> None:
    assert {f"phoenix/_migrations/{path}" for path in paths_under("migrations")} - packed == set()


def test_the_documentation_is_in_the_wheel(packed: set[str]) -> None:
    assert {f"phoenix/_docs/{path}" for path in paths_under("docs") if path.suffix == ".md"} - packed == set()


def test_nothing_else_is_in_the_wheel(packed: set[str]) -> None:
    tops = {name.partition("/")[0] for name in packed}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"phoenix"}


def test_a_wheel_built_without_git_has_the_release_of_the_source(source_without_git: Path, tmp_path: Path) -> None:
    assert version_without_git(source_without_git, tmp_path, "") == f"{RELEASE}.dev0"


def test_a_wheel_built_without_git_has_the_version_that_the_image_was_given(
    source_without_git: Path, tmp_path: Path
) -> None:
    assert version_without_git(source_without_git, tmp_path, "1.2.3") == "1.2.3"
