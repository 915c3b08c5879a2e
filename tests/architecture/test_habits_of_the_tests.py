"""What every test keeps to: where its processes come from."""

import ast
from collections.abc import Iterator

from fixtures.repository import REPOSITORY, list_files

STARTERS = {
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "os.fork",
    "os.popen",
    "os.system",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.run",
}


def calls(*patterns: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the place where it stands."""
    for path in list_files(*patterns):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", node


def test_processes_are_started_by_the_module_that_ends_them_with_pytest() -> None:
    starts = [
        place
        for place, call in calls("tests/*.py", "benchmarks/*.py")
        if ast.unparse(call.func) in STARTERS and not place.startswith("tests/fixtures/child_processes.py")
    ]

    assert starts == []
