"""Adds the Markdown of docs/ to the wheel, where `phoenix.api.openapi.pages` finds it. Pictures stay out."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelPages(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before each build of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        docs = Path(self.root) / "docs"
        pages = {str(page): f"phoenix/_docs/{page.relative_to(docs).as_posix()}" for page in docs.rglob("*.md")}
        build_data["force_include"].update(pages)
