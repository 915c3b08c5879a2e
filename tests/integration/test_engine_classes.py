"""Every class of diffusers that makes video: tiny, saved, entered in a catalog and rendered, or refused at its load.

`make models-table` writes the table of `docs/models.md` with what comes of it.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from fixtures.repository import REPOSITORY
from fixtures.video_classes.rows import MODULAR_ROWS, ROWS, Row

ALL_ROWS = [*ROWS, *MODULAR_ROWS]
PAGE = REPOSITORY / "docs" / "models.md"
# diffusers itself uses what numpy and torch have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

START, END = "<!-- the table is made by `make models-table` -->\n\n", "\n<!-- the table ends -->"


@pytest.fixture(scope="module")
def verdicts() -> Any:
    from fixtures.video_classes import verdicts  # noqa: PLC0415 (diffusers takes seconds that other tests do not need)

    return verdicts


@pytest.fixture(scope="module")
def judge(verdicts, tmp_path_factory):
    return verdicts.Judge(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def verdict_of(judge):
    """Tries each class once."""
    known: dict[str, Any] = {}

    def get(row: Row) -> Any:
        if row.name not in known:
            known[row.name] = judge.judge(row)
        return known[row.name]

    return get


def test_every_class_that_makes_video_has_a_row(verdicts):
    assert {row.name for row in ROWS} == verdicts.video_classes()
    assert {row.name for row in MODULAR_ROWS} == verdicts.modular_video_classes()


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
def test_a_class_renders_its_clip_or_is_refused_before_its_first_step(row, verdict_of):
    verdict = verdict_of(row)
    assert verdict.outcome != "failed", verdict.detail


def test_the_table_of_models_says_what_became_of_each_class(verdicts, verdict_of):
    made = verdicts.table(map(verdict_of, ALL_ROWS))
    before, _, rest = PAGE.read_text().partition(START)
    written, _, after = rest.partition(END)
    if os.environ.get("WRITE_MODELS_TABLE"):
        Path(PAGE).write_text(f"{before}{START}{made}{END}{after}")
    else:
        assert written == made, "run `make models-table`"
