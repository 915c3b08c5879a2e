"""What a process must not import at its start: each of these modules costs time and memory in every process."""

import sys
from textwrap import dedent

import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY, SOURCE
from phoenix.cli.app import COMMANDS, load_command

SERVER_LIBRARIES = {"alembic", "arq", "fastapi", "redis", "sqlalchemy", "sqlmodel", "starlette", "uvicorn"}
MEDIA_LIBRARIES = {"PIL", "av", "imageio_ffmpeg", "numpy"}


def list_imported(code: str) -> set[str]:
    """The names of the top-level modules that a new process has imported after `code`."""
    report = "\nimport sys\nprint('imported', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = child_processes.run(
        [sys.executable, "-c", dedent(code) + report],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(SOURCE.parent), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split()) - {"imported"}


def test_the_help_of_the_command_imports_no_library_of_a_server_or_a_client() -> None:
    imported = list_imported(
        """
        from typer.testing import CliRunner
        from phoenix.cli.app import app
        assert "generate" in CliRunner().invoke(app, ["--help"]).stdout
        """
    )

    assert not imported & (SERVER_LIBRARIES | MEDIA_LIBRARIES | {"httpx", "pydantic", "structlog"})


@pytest.mark.parametrize(
    ("modules", "needless"),
    [
        ("phoenix.cli.serving, phoenix.cli.preflight, phoenix.api.server.serve", MEDIA_LIBRARIES | {"alembic"}),
        (
            "phoenix.cli.serving, phoenix.worker.supervisor, phoenix.worker.main",
            {"alembic", "fastapi", "numpy", "starlette", "torch", "uvicorn"},
        ),
    ],
    ids=["an API replica", "a worker"],
)
def test_a_server_process_imports_nothing_that_it_does_not_need_at_once(modules: str, needless: set[str]) -> None:
    assert not list_imported(f"import {modules}") & needless


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_the_first_paragraph_of_its_help(name: str) -> None:
    first_paragraph = load_command(name).help.partition("\n\n")[0]

    assert COMMANDS[name].summary == " ".join(first_paragraph.split())
