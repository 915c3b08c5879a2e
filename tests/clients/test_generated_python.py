"""Python clients made from the document type-check, and take a reel from prompt to file on a live server."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.client_tools import CLIENTS, DOCUMENT, Tools, last_json, run

SCRIPTS = CLIENTS / "python"


@pytest.fixture(scope="module")
def with_openapi_python_client(python_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openapi_python_client")
    # The generator does not know the type of a playlist.
    config = folder / "config.json"
    config.write_text(json.dumps({"content_type_overrides": {"application/vnd.apple.mpegurl": "text/plain"}}))
    options = ("--output-path", folder, "--overwrite", "--config", config)
    said = python_tools.run("openapi-python-client", "generate", "--path", DOCUMENT, *options, folder=folder)
    assert "Warning" not in said
    return folder


@pytest.fixture(scope="module")
def with_openapi_generator(python_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openapi_generator")
    options = ("--generator-name", "python", "--package-name", "phoenix_api", "--output", folder)
    python_tools.run("openapi-generator-cli", "generate", "--input-spec", DOCUMENT, *options, folder=folder)
    return folder


def call(python_tools: Tools, package: Path, script: str, url: str) -> dict[str, Any]:
    copied = package / script
    copied.write_text((SCRIPTS / script).read_text())
    return last_json(python_tools.run("python", copied, url, folder=package))


def test_openapi_python_client_takes_a_reel_from_prompt_to_file(
    with_openapi_python_client: Path, python_tools: Tools, live_url: str
) -> None:
    seen = call(python_tools, with_openapi_python_client, "with_openapi_python_client.py", live_url)

    assert_worked(seen)
    assert seen["refused"] == "/clips"


def test_openapi_generator_takes_a_reel_from_prompt_to_file(
    with_openapi_generator: Path, python_tools: Tools, live_url: str
) -> None:
    seen = call(python_tools, with_openapi_generator, "with_openapi_generator.py", live_url)

    assert_worked(seen)
    assert seen["missing"] == 404


def assert_worked(seen: dict[str, Any]) -> None:
    assert (seen["events"][0], seen["events"][-1]) == ("snapshot", "job.succeeded")
    assert seen["bytes"] > 1000
    assert seen["is_canceled"] is True
    assert seen["is_listed"] is True


def test_a_program_with_openapi_python_client_type_checks(
    with_openapi_python_client: Path, python_tools: Tools
) -> None:
    folder = with_openapi_python_client
    (folder / "program.py").write_text((SCRIPTS / "with_openapi_python_client.py").read_text())
    settings = {"include": ["program.py", "phoenix_client"], "typeCheckingMode": "basic", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    programs = Path(sys.executable).parent

    said = run([str(programs / "pyright"), "--pythonpath", str(python_tools.programs / "python")], folder, programs)

    assert "0 errors" in said


def check_as_its_project_does(package: Path, python_tools: Tools, program: str) -> str:
    """What mypy says under the `pyproject.toml` that openapi-generator makes.

    pyright is not asked: it objects to some hundred places of the generator's templates, whatever the document.
    """
    (package / "program.py").write_text(program)
    return python_tools.run(
        "mypy", "--config-file=pyproject.toml", "phoenix_api", "program.py", folder=package, check=False
    )


def test_a_program_with_openapi_generator_type_checks(with_openapi_generator: Path, python_tools: Tools) -> None:
    program = (SCRIPTS / "with_openapi_generator.py").read_text()

    assert "Success" in check_as_its_project_does(with_openapi_generator, python_tools, program)


def test_a_mistake_in_a_program_with_openapi_generator_is_found(
    with_openapi_generator: Path, python_tools: Tools
) -> None:
    program = (SCRIPTS / "with_openapi_generator.py").read_text().replace("canceled.state", "canceled.stat")

    said = check_as_its_project_does(with_openapi_generator, python_tools, program)

    assert '"Job" has no attribute "stat"' in said
    assert "Found 1 error" in said
