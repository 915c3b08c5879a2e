"""docs/flows.md names what the code has, and each flow can be read by "go to definition" within a number of files."""

import io
import re
import tokenize
from dataclasses import dataclass
from functools import cache

import pytest

from fixtures.definitions import definitions_of
from fixtures.repository import REPOSITORY, SOURCE

FLOWS_PAGE = REPOSITORY / "docs" / "flows.md"
# Files of each flow at most, in the order of the page.
MAX_FILES = (20, 40, 20)


@dataclass(frozen=True)
class Step:
    number: int
    is_callback: bool
    file: str
    function: str

    @property
    def names(self) -> set[str]:
        return set(self.function.split("."))

    @property
    def last_name(self) -> str:
        return self.function.rpartition(".")[2]


def read_flows(page: str) -> dict[str, list[Step]]:
    """The steps of each flow, by its title."""
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return {title: read_steps(body) for title, body in zip(sections[::2], sections[1::2], strict=True)}


def read_steps(body: str) -> list[Step]:
    rows = re.findall(r"^\| (\d+)(\\\*)? \| `(.+?)` \| `(.+?)` \| .+ \|$", body, re.MULTILINE)
    return [Step(int(number), bool(star), file, function) for number, star, file, function in rows]


@cache
def names_in(file: str) -> frozenset[str]:
    """Every name that the code of a file uses; comments and strings do not count. Empty if it is missing."""
    if not (SOURCE / file).is_file():
        return frozenset()
    tokens = tokenize.generate_tokens(io.StringIO((SOURCE / file).read_text()).readline)
    return frozenset(token.string for token in tokens if token.type == tokenize.NAME)


def find_unreachable(steps: list[Step]) -> list[str]:
    """Steps that no earlier step refers to, and callbacks that refer to no earlier step."""
    found: list[str] = []
    for index, step in enumerate(steps[1:], 1):
        earlier = steps[:index]
        if step.is_callback:
            is_reached = any(names_in(step.file) & other.names for other in earlier)
        else:
            is_reached = any(step.last_name in names_in(other.file) for other in earlier)
        if not is_reached:
            found.append(f"{step.number} {step.function}")
    return found


FLOWS = read_flows(FLOWS_PAGE.read_text())
every_flow = pytest.mark.parametrize("steps", FLOWS.values(), ids=FLOWS.keys())


def test_there_are_three_flows() -> None:
    assert len(FLOWS) == len(MAX_FILES) == 3
    assert all(len(steps) > 10 for steps in FLOWS.values())


@every_flow
def test_the_steps_are_numbered(steps: list[Step]) -> None:
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))


@every_flow
def test_every_function_of_a_flow_is_where_the_page_says(steps: list[Step]) -> None:
    wrong = [f"{step.file}: {step.function}" for step in steps if step.function not in definitions_of(step.file)]

    assert wrong == []


@every_flow
def test_every_step_is_reached_by_going_to_a_definition(steps: list[Step]) -> None:
    assert find_unreachable(steps) == []


@pytest.mark.parametrize(("steps", "limit"), list(zip(FLOWS.values(), MAX_FILES, strict=False)), ids=FLOWS.keys())
def test_a_flow_is_within_its_number_of_files(steps: list[Step], limit: int) -> None:
    assert len({step.file for step in steps}) <= limit


def test_a_step_that_nothing_refers_to_is_found() -> None:
    page = "## A flow\n\n| 1 | `clock.py` | `utc_now` | a |\n| 2 | `jobs/cancel_and_retry.py` | `cancel` | b |\n"
    (steps,) = read_flows(page).values()

    assert find_unreachable(steps) == ["2 cancel"]
