"""What every test keeps to: where its processes come from, what it looks at, and what it waits for."""

import ast
from collections.abc import Iterator
from pathlib import Path

from fixtures.repository import REPOSITORY, list_files

STARTERS = {
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "os.fork",
    "os.popen",
    "os.system",
    "pty.fork",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.run",
}
MAY_START = (
    "tests/fixtures/child_processes.py",
    # A terminal of its own takes a session of its own. The process dies with its parent as those of Phoenix do.
    "tests/e2e/test_generate_terminal.py",
)

OPEN_TO_TESTS = {
    # Public, whatever its name says.
    "os._exit",
    # PyTorch and a generated client offer nothing else.
    "torch._C",
    "block._compiled_call_impl",
    "transformer._compiled_call_impl",
    "transformer._cache_config",
    "processor._attention_backend",
    "kernels._AttentionBackendRegistry",
    "kernels._AttentionBackendRegistry._active_backend",
    "stream_job_events._get_kwargs",
}
LONG_S = 0.2
PATIENT_S = 50
"""A test that waits for what must come waits at least so long, however long the machine stands still."""
HTTP_CALLS = {f"httpx.{name}" for name in ("AsyncClient", "Client", "get", "head", "post", "put", "stream")}


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
        if ast.unparse(call.func) in STARTERS and not place.startswith(MAY_START)
    ]

    assert starts == []


def test_no_process_is_forked_by_python() -> None:
    """A fork runs what C libraries have registered for it, and some of that waits for other threads forever.

    Without a `preexec_fn`, Python starts a program with vfork, which runs nothing of the kind. The fork server holds no
    thread.
    """
    forks = [
        place
        for place, call in calls("src/*.py", "tests/*.py", "benchmarks/*.py")
        if ast.unparse(call.func) in ("os.fork", "pty.fork") or any(each.arg == "preexec_fn" for each in call.keywords)
        if not place.startswith((MAY_START[1], "src/phoenix/child_processes/fork_server.py"))
    ]

    assert forks == []
    assert not [path for path in list_files("src/*.py") if "multiprocessing" in path.read_text()]


def test_no_test_reaches_into_what_is_private() -> None:
    # Whoever takes a safety out has to reach in.
    paths = [path for path in list_files("tests/*.py", "benchmarks/*.py") if path.name != "sitecustomize.py"]
    reached = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {ast.unparse(node)}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and is_private(node) and ast.unparse(node) not in OPEN_TO_TESTS
    ]

    assert reached == []


def is_private(node: ast.Attribute) -> bool:
    is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    return node.attr.startswith("_") and not node.attr.endswith("__") and not is_own


def test_a_long_sleep_says_why() -> None:
    """In a comment on its line or on the line above. A signal that can be waited for is better."""
    sleeps = [
        (place, call)
        for place, call in calls("tests/*.py", "benchmarks/*.py")
        if ast.unparse(call.func) in ("asyncio.sleep", "time.sleep") and is_long(call.args[0])
    ]

    assert sleeps
    assert [place for place, _ in sleeps if not is_explained(place)] == []


def is_long(seconds: ast.expr) -> bool:
    return isinstance(seconds, ast.Constant) and isinstance(seconds.value, int | float) and seconds.value >= LONG_S


def is_explained(place: str) -> bool:
    path, _, line = place.rpartition(":")
    lines = (REPOSITORY / path).read_text().splitlines()
    return any("#" in text for text in lines[int(line) - 2 : int(line)])


def test_a_wait_for_what_must_come_is_long() -> None:
    impatient = [
        place
        for place, call in calls("tests/*.py")
        if ast.unparse(call.func) in ("asyncio.timeout", "asyncio.wait_for")
        and isinstance(limit := call.args[-1], ast.Constant)
        and isinstance(limit.value, int | float)
        # Whoever waits for next to nothing shows that nothing comes.
        and LONG_S <= limit.value < PATIENT_S
    ]

    assert impatient == []


def test_a_request_over_the_network_says_how_long_it_waits() -> None:
    """By default httpx gives up after five seconds."""
    silent = [
        place
        for place, call in calls("tests/*.py")
        if ast.unparse(call.func) in HTTP_CALLS
        and "timeout" not in {each.arg for each in call.keywords}
        and not any(each.arg == "transport" for each in call.keywords)
    ]

    assert silent == []


def test_a_benchmark_finds_the_modules_of_the_tests_before_it_imports_them() -> None:
    """Sorting the imports moves them above a path that is set too late."""
    early = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.module}"
        for path in list_files("benchmarks/*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and is_of_tests((node.module or "").partition(".")[0], path.parent)
        if not any("sys.path.insert" in line for line in path.read_text().splitlines()[: node.lineno])
    ]

    assert early == []


def is_of_tests(module: str, beside: Path) -> bool:
    is_there = any((REPOSITORY / "tests" / name).exists() for name in (module, f"{module}.py"))
    return is_there and not (beside / f"{module}.py").exists()
