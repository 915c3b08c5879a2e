"""A skip in CI is a failure, unless a system package is missing: tried on test runs of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.repository import REPOSITORY


def run_pytest(folder: Path, body: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(body)
    environment = {"PYTHONPATH": str(REPOSITORY / "tests"), "PATH": "/usr/bin:/bin"} | ({"CI": "true"} if ci else {})
    return child_processes.run(
        [sys.executable, "-m", "pytest", "-p", "fixtures.no_skips", "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


SKIPS_A_TEST = "import pytest\ndef test_it(): pytest.skip('not today')\n"
SKIPS_THE_MODULE = "import pytest\npytest.skip('not today', allow_module_level=True)\n"
NEEDS_A_PACKAGE = "from fixtures.no_skips import require_command\ndef test_it(): require_command('no-such-program')\n"
EXPECTS_A_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n"


@pytest.mark.parametrize("body", [SKIPS_A_TEST, SKIPS_THE_MODULE])
def test_a_skip_fails_the_run_in_ci(tmp_path: Path, body: str) -> None:
    done = run_pytest(tmp_path, body, ci=True)

    assert done.returncode != 0
    assert "may not be skipped in CI" in done.stdout
    assert "not today" in done.stdout


@pytest.mark.parametrize("body", [NEEDS_A_PACKAGE, EXPECTS_A_FAILURE])
def test_a_missing_system_package_and_an_expected_failure_are_let_through(tmp_path: Path, body: str) -> None:
    assert run_pytest(tmp_path, body, ci=True).returncode == 0


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SKIPS_A_TEST, ci=False).returncode == 0
