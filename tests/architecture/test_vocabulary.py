"""The glossary of docs/architecture.md: its words are those of the code, and the words that it replaces are gone."""

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from fixtures.repository import REPOSITORY, list_files, list_sources

GLOSSARY_PAGE = REPOSITORY / "docs" / "architecture.md"
# Each has another meaning, which is standard where it is used.
ALLOWED_NAMES = {
    # The position in an open file: `io.IOBase.tell`.
    "tell",
    # The headroom below a sound's peak.
    "peak_room_db",
    # A code of the API for too little free memory.
    "NO_ROOM_ON_DEVICE",
}


@dataclass(frozen=True)
class Entry:
    word: str
    meaning: str
    banned: tuple[str, ...]
    banned_in_names: tuple[str, ...]


def read_glossary(page: str) -> list[Entry]:
    section = page.partition("\n## Words\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| ?(.*?) ?\|$", section, re.MULTILINE)
    return [_entry(word, meaning, [part for part in banned.split(", ") if part]) for word, meaning, banned in rows]


def _entry(word: str, meaning: str, banned: list[str]) -> Entry:
    in_names = [part.strip("*") for part in banned]
    everywhere = [part for part in banned if not part.startswith("*")]
    return Entry(word, meaning, tuple(everywhere), tuple(in_names))


def find_in_prose(text: str, words: Iterable[str]) -> Iterator[str]:
    """Each banned word of the text, as `line: word`."""
    pattern = "|".join(re.escape(word) for word in words)
    for number, line in enumerate(text.splitlines(), 1):
        for found in re.findall(rf"(?i)(?<![\w/-])(?:{pattern})s?(?![\w-])", line):
            yield f"{number}: {found}"


def find_in_names(source: str, words: Iterable[str]) -> Iterator[str]:
    """Each name of the source with a banned word in it, as `line: name`. Names are split at `_` and case."""
    banned = frozenset(words)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string not in ALLOWED_NAMES and _is_banned(token.string, banned):
            yield f"{token.start[0]}: {token.string}"


@cache
def _is_banned(name: str, words: frozenset[str]) -> bool:
    parts = split_name(name)
    return any(_has_run(parts, re.split("[ _]", word)) for word in words)


def split_name(name: str) -> list[str]:
    """`HTTPServer_isUp` as http, server, is, up."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _has_run(parts: list[str], word: list[str]) -> bool:
    plural = [*word[:-1], word[-1] + "s"]
    runs = [parts[start : start + len(word)] for start in range(len(parts) - len(word) + 1)]
    return word in runs or plural in runs


def without_glossary(path: Path) -> str:
    """The text of a page; lines of the glossary are empty, so that numbers of lines stay."""
    text = path.read_text()
    return re.sub(r"^\| \*\*.*", "", text, flags=re.MULTILINE) if path == GLOSSARY_PAGE else text


@pytest.fixture(scope="module")
def glossary() -> list[Entry]:
    return read_glossary(GLOSSARY_PAGE.read_text())


def test_the_glossary_has_a_row_for_each_concept(glossary: list[Entry]) -> None:
    words = [entry.word.lower() for entry in glossary]

    assert len(words) >= 60
    assert sorted(words) == sorted(set(words))


def test_no_word_of_the_glossary_is_banned_by_it(glossary: list[Entry]) -> None:
    banned = {word for entry in glossary for word in entry.banned}

    assert banned.isdisjoint(entry.word.lower() for entry in glossary)


def test_every_class_that_the_glossary_names_exists(glossary: list[Entry]) -> None:
    defined = {name for path in list_sources() for name in re.findall(r"(?m)^ *class (\w+)", path.read_text())}
    named = {name for entry in glossary for name in re.findall(r"`([A-Z]\w+)`", entry.meaning)}

    assert len(named) > 30
    assert named - defined == set()


def test_no_banned_word_is_part_of_a_name(glossary: list[Entry]) -> None:
    words = {word for entry in glossary for word in entry.banned_in_names}
    found = [
        f"{path.relative_to(REPOSITORY)}:{hit}"
        for path in list_sources()
        for hit in find_in_names(path.read_text(), words)
    ]

    assert words
    assert found == []


def test_no_banned_word_is_in_a_document(glossary: list[Entry]) -> None:
    words = {word for entry in glossary for word in entry.banned}
    found = [
        f"{path.relative_to(REPOSITORY)}:{hit}"
        for path in list_files("*.md")
        for hit in find_in_prose(without_glossary(path), words)
    ]

    assert found == []


@pytest.mark.parametrize("name", ["doorbell", "on_doorbells", "DoorbellListener", "queue_line", "QueueLines"])
def test_a_banned_word_is_found_in_a_name(name: str) -> None:
    assert list(find_in_names(f"{name} = 1\n", ["doorbell", "queue line"])) == [f"1: {name}"]


@pytest.mark.parametrize("name", ["string", "rendering", "line_queue", "deadline", "headline_queue"])
def test_a_longer_word_is_not_the_banned_one(name: str) -> None:
    assert list(find_in_names(f"{name} = 1\n", ["ring", "queue line"])) == []


def test_a_banned_word_is_found_in_prose() -> None:
    assert list(find_in_prose("Plain.\nEach doorbell, and two Doorbells.\n", ["doorbell"])) == [
        "2: doorbell",
        "2: Doorbells",
    ]


def test_a_word_in_italics_is_banned_in_names_alone() -> None:
    (entry,) = read_glossary("\n## Words\n| **Task** | a part | doorbell, *piece* |\n## Next\n")

    assert (entry.banned, entry.banned_in_names) == (("doorbell",), ("doorbell", "piece"))
