"""deploy/env.example lists every setting, with defaults that can be used as they stand there."""

import os
import re

import pytest

from fixtures.repository import REPOSITORY
from phoenix.settings import Settings, load_settings

DEPLOY = REPOSITORY / "deploy"
EXAMPLE = (DEPLOY / "env.example").read_text()


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DEPLOY)
    import env_example  # noqa: PLC0415 - it is a script beside the file that it writes

    return env_example.render


def test_it_is_what_the_script_writes(render) -> None:
    assert render() + "\n" == EXAMPLE, "run `make env-example`"


def test_every_default_in_it_reads_back_as_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    values = re.findall(r"^# (PHOENIX_(?!PUBLISH)\w+)=(.+)$", EXAMPLE, re.MULTILINE)
    for name, value in values:
        monkeypatch.setenv(name, value)

    assert len(values) > 40
    assert load_settings() == Settings()


def test_it_gives_away_no_secret() -> None:
    secrets = re.findall(
        r"^#? ?(\w*(?:SECRET|PASSWORD|API_KEY|TOKEN(?!S\b|_PARAMETER\b))\w*)=(.*)$", EXAMPLE, re.MULTILINE
    )

    assert secrets
    assert [name for name, value in secrets if value] == []


def test_the_tests_run_without_the_settings_of_the_shell() -> None:
    assert [name for name in os.environ if name.startswith("PHOENIX_")] == ["PHOENIX_SEARCH__MEANING"]
