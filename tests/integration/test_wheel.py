"""The wheel has everything that an installed Phoenix needs, the migrations among it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fixtures.repository import REPOSITORY, list_files


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def paths_under(folder: str) -> set[Path]:
    return {path.relative_to(REPOSITORY / folder) for path in list_files(f"{folder}/*")}


def test_every_source_file_is_in_the_wheel(packed: set[str]) -> None:
    assert {str(path) for path in paths_under("src")} - packed == set()


def test_the_migrations_are_in_the_wheel(packed: set[str]) -> None:
    assert {f"phoenix/_migrations/{path}" for path in paths_under("migrations")} - packed == set()


def test_nothing_else_is_in_the_wheel(packed: set[str]) -> None:
    tops = {name.partition("/")[0] for name in packed}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"phoenix"}
