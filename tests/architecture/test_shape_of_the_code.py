"""Caps on length, and the line or three with which every module says what it owns."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fixtures.repository import REPOSITORY, list_files, list_sources

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_source_file_is_longer_than_the_cap() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in list_sources()}

    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_the_cap() -> None:
    too_long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in list_sources()
        for node in functions_of(path)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]

    assert too_long == []


def test_every_module_says_what_it_owns() -> None:
    silent = [name_of(path) for path in list_sources() if path.read_text() and not docstring_of(path)]

    assert silent == []


def test_every_test_module_says_what_it_is_about() -> None:
    tests = [path for path in list_files("tests/*.py") if path.name.startswith("test_")]

    assert [name_of(path) for path in tests if not docstring_of(path)] == []


def test_test_modules_have_names_of_their_own() -> None:
    """Without packages around them, two test modules of one name would shadow each other."""
    names = [path.name for path in list_files("tests/*.py") if path.name.startswith("test_")]

    assert sorted(names) == sorted(set(names))


# With ten digits and more, only numbers that nobody means have an exponent.
EXPONENT_IN_TEXT = re.compile(r":,?(?:\.[0-9])?g\}")


def test_no_message_writes_a_number_with_an_exponent() -> None:
    """`{24000:.4g}` is `2.4e+04`. `clock.plain_number` and `clock.in_seconds` write numbers for people."""
    assert [name_of(path) for path in list_sources() if EXPONENT_IN_TEXT.search(path.read_text())] == []


def docstring_of(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))
