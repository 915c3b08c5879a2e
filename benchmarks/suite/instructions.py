"""Counts the instructions of one program: they hold still where times do not.

`perf stat` counts with the processor, which virtual machines often hide. Valgrind runs the program some forty times as
slowly instead. Without both, a row has its times alone.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from suite.borrowed import child_processes

_PERF = ("perf", "stat", "--event", "instructions:u", "--field-separator", ",")
_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no")


@dataclass(frozen=True)
class Counter:
    """`name` is for the reader of the table. `prefix` is None if nothing can count."""

    name: str
    prefix: tuple[str, ...] | None


@cache
def find_counter() -> Counter:
    if shutil.which("perf") and count_with(_PERF, ["true"]) is not None:
        return Counter("counted by `perf stat`", _PERF)
    if shutil.which("valgrind"):
        return Counter("counted by Valgrind (cachegrind), because `perf stat` has no counter here", _VALGRIND)
    return Counter("not counted, because there is no counter for `perf stat` and no Valgrind", None)


def count_instructions(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int | None:
    """Instructions of one run of the command; None if nothing can count them."""
    prefix = find_counter().prefix
    return None if prefix is None else count_with(prefix, command, environment)


def count_with(
    prefix: Sequence[str], command: Sequence[str], environment: Mapping[str, str] | None = None
) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        out = [f"--cachegrind-out-file={Path(folder) / 'out'}"] if prefix[0] == "valgrind" else []
        done = child_processes.run(
            [*prefix, *out, *command], check=False, capture_output=True, text=True, env=environment
        )
    return parse_count(done.stderr)


def parse_count(stderr: str) -> int | None:
    """The count in the output of `perf stat` or of cachegrind, which adds child processes only for perf."""
    found = re.search(r"^(\d+),,instructions|^==\d+== I +refs: +([\d,]+)", stderr, re.MULTILINE)
    return int((found[1] or found[2]).replace(",", "")) if found else None
