"""Shell completion of the commands, although their modules are imported only when they run."""

import pytest
from typer.testing import CliRunner

from phoenix.cli.app import COMMANDS, app


def complete(*words: str) -> list[str]:
    """What bash is offered after `phoenix` and these words. The last one is under the cursor."""
    environment = {
        "_PHOENIX_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("phoenix", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(app, [], env=environment, prog_name="phoenix").stdout.split()


def test_every_command_is_offered() -> None:
    assert set(complete("")) == set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("do",), "doctor"),
        (("jobs", "ca"), "cancel"),
        (("worker", "--qu"), "--queue"),
        (("worker", "--queue", "g"), "gpu"),
    ],
)
def test_what_belongs_to_a_command_is_offered(words: tuple[str, ...], offered: str) -> None:
    assert complete(*words) == [offered]
