"""A skip in CI is a failure, unless a system package is missing: tried on test runs of their own.

And no test is left out.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.order_of_files import LONGEST
from fixtures.repository import REPOSITORY, list_files


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


def test_ci_measures_the_coverage_of_exactly_those_tests_that_it_runs_in_no_other_step() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()

    left_out = re.findall(r"--ignore=(\S+)", script)
    assert left_out == ["tests/unit"] == re.findall(r"COVERAGE_TESTS=(\S+)", script)


def test_tests_that_need_system_packages_are_in_the_folder_that_test_e2e_collects() -> None:
    marked = [path for path in list_files("tests/*.py") if "pytest.mark.e2e\n" in path.read_text()]

    assert marked
    assert [str(path) for path in marked if path.parent != REPOSITORY / "tests" / "e2e"] == []


def test_the_files_that_come_first_are_there() -> None:
    assert [file for file in LONGEST if not (REPOSITORY / file).is_file()] == []
