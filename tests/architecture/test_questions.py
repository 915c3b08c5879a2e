"""docs/questions.md answers what a stranger asks, with files and functions that exist."""

import re

from fixtures.definitions import definitions_of
from fixtures.repository import REPOSITORY

ANSWERS = re.findall(
    r"^\| (.+\?) \| `(.+?)` \| `(.+?)` \|$", (REPOSITORY / "docs" / "questions.md").read_text(), re.MULTILINE
)


def test_there_are_twenty_questions() -> None:
    questions = [question for question, _, _ in ANSWERS]

    assert len(set(questions)) == len(questions) >= 20


def test_every_row_is_a_question_with_its_answer() -> None:
    rows = (REPOSITORY / "docs" / "questions.md").read_text().count("\n| ")

    # The title of the table is a row too.
    assert rows == len(ANSWERS) + 1


def test_every_answer_exists() -> None:
    missing = [f"{file}: {function}" for _, file, function in ANSWERS if function not in definitions_of(file)]

    assert missing == []
