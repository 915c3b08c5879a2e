"""Plain English in documents, docstrings and comments: banned phrases, and what to write instead."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.repository import REPOSITORY, list_files, list_sources

# Phrase (a regular expression) and advice.
BANNED = {
    r"that of|those of": "repeat the noun",
    r"the one that|the ones that|ones that|one that": "repeat the noun",
    r"by which|in which case": "start a new sentence",
    r"whatever|whichever|whoever|whomever|whosoever": "name what it is: 'every …', 'the caller'",
    r"wherever|however (?:long|many|much|often|large|few|it|they)": "say 'any number of', 'for any time'",
    r"those who|those which|those whose|for whom|to whom": "name them",
    r"the latter|the former|one another": "repeat the noun",
    r"lest": "so that … not",
    r"for want of|on account of|by dint of|by virtue of": "because, without",
    r"never yet|upon|amid|unto|likewise|be it": "use the plain word",
    r"besides?": "in addition to, next to",
    r"tell|tells|telling|told": "report, return, publish, notify, ask",
    r"(?:is|are|was|were) to be": "must be, will be",
    r"to be to": "rewrite",
    r"(?:is|are) not to": "must not",
    r"(?:has|have|had) to have been": "rewrite",
    r"nobody else|nobody but|none but|nothing but|anything but|all but": "say what is meant without a negation",
    r"anew": "again",
    r"hence|thereby|therein|thereof|thereto|wherein|whereby|hitherto|heretofore": "so, there",
    r"ought to|shall": "must, should",
    r"as though|albeit|notwithstanding|inasmuch": "as if, although",
    r"makes? do|lays? under|laid under|put off|gives? way|gave way": "use one plain verb",
    r"heard of|heard from|sees? to it": "report, make sure",
    r"for (?:it|they|he) (?:is|are|would|has|have|may|can|does|do)": "because",
    r"but for|save for|other than that": "except",
    r"a good deal|a great many|not a few": "many",
    r"goes? on|went on|going on": "continue",
    r"no more than that|none of it is|and are none|and is none": "rewrite without the ellipsis",
    r"in hand|at hand": "running, available",
    r"of (?:its|their|his|ours|yours|mine) own accord": "automatically",
    r"so much as|as it were|so to speak|as such": "delete",
}
# Lines that may use a banned phrase: a part of the line, and the reason. Code spans need no exception.
ALLOWED: dict[str, str] = {}
_PATTERNS = [(re.compile(rf"(?i)(?<![\w`/-])(?:{phrase})(?![\w`-])"), advice) for phrase, advice in BANNED.items()]


@dataclass(frozen=True)
class Hit:
    place: str
    phrase: str
    advice: str

    def __str__(self) -> str:
        return f"{self.place}: {self.phrase!r}; {self.advice}"


def find_hits(text: str, name: str, first_line: int = 1) -> Iterator[Hit]:
    """Each banned phrase of a text. The end of a line counts as a space."""
    lines = text.splitlines()
    joined = text.replace("\n", " ")
    for pattern, advice in _PATTERNS:
        for match in pattern.finditer(joined):
            number = text.count("\n", 0, match.start())
            if not any(allowed in lines[number] for allowed in ALLOWED):
                yield Hit(f"{name}:{first_line + number}", match[0], advice)


def without_code(text: str) -> str:
    """A page of Markdown without its blocks of code, its code spans and its links; lines keep their numbers."""
    fenced = re.sub(r"(?ms)^ *```.*?^ *```$", lambda match: "\n" * match[0].count("\n"), text)
    spans = re.sub(r"`[^`\n]*`", "``", fenced)
    return re.sub(r"\]\([^)\n]*\)", "]()", spans)


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings and comments of a module, with the line of each."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, re.sub(r"`[^`\n]*`", "``", text)
            case _:
                pass
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type:", "# pyright")):
            yield token.start[0], re.sub(r"`[^`\n]*`", "``", token.string)


def find_in_source(source: str, name: str) -> list[Hit]:
    return [hit for line, text in prose_of(source) for hit in find_hits(text, name, line)]


def find_in_page(text: str, name: str) -> list[Hit]:
    return list(find_hits(without_code(text), name))


def report(hits: list[Hit]) -> str:
    return "\n".join(map(str, hits))


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", list_files("*.md"), ids=name_of)
def test_a_document_is_in_plain_english(page: Path) -> None:
    text = page.read_text()
    if page.name == "architecture.md":
        # The last column of the glossary lists words that are not used.
        text = re.sub(r"^(\| \*\*.*\|).*\|$", r"\1 |", text, flags=re.MULTILINE)
    hits = find_in_page(text, name_of(page))

    assert not hits, report(hits)


def test_docstrings_and_comments_are_in_plain_english() -> None:
    hits = [hit for path in list_sources() for hit in find_in_source(path.read_text(), name_of(path))]

    assert not hits, report(hits)


def test_every_exception_is_used() -> None:
    texts = [path.read_text() for path in [*list_files("*.md"), *list_sources()]]

    assert [allowed for allowed in ALLOWED if not any(allowed in text for text in texts)] == []


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("The most that any client has seen, and that of each clip.", "that of"),
        ("Extends the leases of those of these tasks that it holds.", "those of"),
        ("The settings without the groups by which a server is shared.", "by which"),
        ("Fetches the model if it fits beside all that is used.", "beside"),
        ("Tells the clients what has happened.", "Tells"),
        ("Not to be called inside of a session: it is to be called before.", "is to be"),
        ("Never raises, whatever the store answers.", "whatever"),
        ("Keeps the row, lest a retry finds nothing.", "lest"),
    ],
)
def test_a_sentence_that_must_be_read_twice_is_found(sentence: str, phrase: str) -> None:
    assert [hit.phrase for hit in find_in_source(f'"""{sentence}"""\n', "good.py")] == [phrase]
    assert [hit.phrase for hit in find_in_source(f"# {sentence}\n", "good.py")] == [phrase]
    assert [hit.phrase for hit in find_in_page(sentence, "page.md")] == [phrase]


@pytest.mark.parametrize(
    "sentence",
    [
        "Renews the leases that the worker still holds.",
        "The storyteller reports the fastest path, and a foretold end.",
        "Returns the settings of the server without the shared groups.",
    ],
)
def test_a_plain_sentence_passes(sentence: str) -> None:
    assert find_in_source(f'"""{sentence}"""\n', "good.py") == []
    assert find_in_page(sentence, "page.md") == []


def test_a_hit_names_its_line() -> None:
    source = '"""Fine.\n\nIt tells the caller."""\n\nx = 1  # that of another\n'

    assert [hit.place for hit in find_in_source(source, "a.py")] == ["a.py:3", "a.py:5"]


def test_code_in_a_document_is_no_prose() -> None:
    page = "Run `tell` now.\n```sh\ntell me\n```\n[a link](docs/told.md)\nIt tells.\n"

    assert [hit.place for hit in find_in_page(page, "page.md")] == ["page.md:6"]
