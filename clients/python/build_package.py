"""Writes the package from the client and the contract in src/phoenix, under the name `phoenix_video`."""

import re
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("client", "contract", "clock.py", "errors.py", "ids.py")
"""Every part of Phoenix that the client imports."""

_IMPORT = re.compile(r"^(\s*(?:from|import) )phoenix(?=[. ])", re.MULTILINE)


class BuildPackage(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before each build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        root = Path(self.root)
        server = root.parents[1] / "src" / "phoenix"
        # A source distribution has the package, and not the server.
        if server.is_dir():
            write_package(server, root / "src" / "phoenix_video")


def write_package(server: Path, target: Path) -> None:
    """Copies the sources to `target`, and renames the package in their imports."""
    for name in SOURCES:
        shutil.rmtree(target / name, ignore_errors=True)
        for path in sorted((server / name).rglob("*.py")) or [server / name]:
            copy = target / path.relative_to(server)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(_IMPORT.sub(r"\1phoenix_video", path.read_text()))
