"""Writes docs/openapi.json and docs/openapi-3.2.json, the documents that a server with default settings shows."""

import json
from pathlib import Path
from typing import Any

from phoenix.api.app import create_app
from phoenix.api.openapi.documents import Documents
from phoenix.settings import Settings

FOLDER = Path(__file__).parents[1] / "docs"


def render() -> dict[str, str]:
    """The text of each document by the name of its file."""
    app = create_app(Settings())
    documents = Documents(app)
    return {"openapi.json": _text(documents.plain), "openapi-3.2.json": _text(documents.exact)}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in render().items():
        (FOLDER / name).write_text(text)
