"""Both documents, by the tools that others lint with: not one error."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from fixtures.client_tools import CLIENTS, DOCUMENT, EXACT_DOCUMENT, Tools

BOTH = pytest.mark.parametrize("document", [DOCUMENT, EXACT_DOCUMENT], ids=lambda path: path.name)


@BOTH
def test_the_document_is_valid(document: Path) -> None:
    validate(json.loads(document.read_text()))


@BOTH
def test_redocly_finds_no_error(node_tools: Tools, document: Path, tmp_path: Path) -> None:
    said = node_tools.run("redocly", "lint", document, "--format=json", folder=tmp_path)

    assert '"errors": 0' in said


@BOTH
def test_spectral_finds_no_error(node_tools: Tools, document: Path, tmp_path: Path) -> None:
    ruleset = CLIENTS / ".spectral.yaml"
    said = node_tools.run(
        "spectral", "lint", document, "--ruleset", ruleset, "--fail-severity=error", "--quiet", folder=tmp_path
    )

    assert " error " not in said
