"""What every test keeps to: where its processes come from, what it looks at, and what it waits for."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True)
class Call:
    """A call of something by its name."""

    place: str
    function: str
    """With its dots. Empty where what is called is computed."""
    keywords: frozenset[str | None]
    first: object
    last: object
    """Arguments that are constants; otherwise None."""


def calls(*patterns: str) -> Iterator[Call]:
    """Every call in the files, with the place where it stands."""
    for path in list_files(*patterns):
        yield from calls_in(path)


# The tests of this file ask for the same files six times.
@cache
def calls_in(path: Path) -> tuple[Call, ...]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    place = path.relative_to(REPOSITORY)
    return tuple(
        Call(
            f"{place}:{node.lineno}",
            dotted_name(node.func),
            frozenset(each.arg for each in node.keywords),
            constant(node.args[0]) if node.args else None,
            constant(node.args[-1]) if node.args else None,
        )
        for node in nodes
    )


def dotted_name(node: ast.expr) -> str:
    """`a.b.c`; empty for an expression of another kind. `ast.unparse` would take most of the time of these tests."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (name := dotted_name(node.value)):
        return f"{name}.{node.attr}"
    return ""


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def test_processes_are_started_by_the_module_that_ends_them_with_pytest() -> None:
    starts = [
        call.place
        for call in calls("tests/*.py", "benchmarks/*.py")
        if call.function in STARTERS and not call.place.startswith(MAY_START)
    ]

    assert starts == []


def test_no_process_is_forked_by_python() -> None:
    """A fork runs what C libraries have registered for it, and some of that waits for other threads forever.

    Without a `preexec_fn`, Python starts a program with vfork, which runs nothing of the kind. The fork server holds no
    thread.
    """
    forks = [
        call.place
        for call in calls("src/*.py", "tests/*.py", "benchmarks/*.py")
        if call.function in ("os.fork", "pty.fork") or "preexec_fn" in call.keywords
        if not call.place.startswith((MAY_START[1], "src/phoenix/child_processes/fork_server.py"))
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
        call.place
        for call in calls("tests/*.py", "benchmarks/*.py")
        if call.function in ("asyncio.sleep", "time.sleep")
        if isinstance(call.first, int | float) and call.first >= LONG_S
    ]

    assert sleeps
    assert [place for place in sleeps if not is_explained(place)] == []


def is_explained(place: str) -> bool:
    path, _, line = place.rpartition(":")
    lines = (REPOSITORY / path).read_text().splitlines()
    return any("#" in text for text in lines[int(line) - 2 : int(line)])


def test_a_wait_for_what_must_come_is_long() -> None:
    impatient = [
        call.place
        for call in calls("tests/*.py")
        if call.function in ("asyncio.timeout", "asyncio.wait_for")
        and isinstance(call.last, int | float)
        # Whoever waits for next to nothing shows that nothing comes.
        and LONG_S <= call.last < PATIENT_S
    ]

    assert impatient == []


def test_a_request_over_the_network_says_how_long_it_waits() -> None:
    """By default httpx gives up after five seconds."""
    silent = [
        call.place
        for call in calls("tests/*.py")
        if call.function in HTTP_CALLS and call.keywords.isdisjoint({"timeout", "transport"})
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
