"""Migrations leave alone what the previous version still reads and writes while they run."""

import ast
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from phoenix.db.migrate import alembic_config

FORBIDDEN = {
    "alter_column",
    "create_check_constraint",
    "create_unique_constraint",
    "drop_column",
    "drop_constraint",
    "drop_table",
    "rename_table",
}


def list_breaks(source: str) -> list[str]:
    """What `upgrade` of a migration does that the previous version does not survive."""
    tree = ast.parse(source)
    (upgrade,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"]
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    forbidden = [call.func.attr for call in calls if call.func.attr in FORBIDDEN]
    demanding = [call for call in calls if call.func.attr == "add_column" and not _is_optional(call)]
    return [*forbidden, *(f"line {call.lineno}: a column that old rows cannot fill" for call in demanding)]


def _is_optional(add_column: ast.Call) -> bool:
    # The table's name comes first, but not within `batch_alter_table`.
    column = add_column.args[-1]
    assert isinstance(column, ast.Call)
    given = {keyword.arg: keyword.value for keyword in column.keywords}
    nullable = given.get("nullable")
    is_nullable = nullable is None or (isinstance(nullable, ast.Constant) and nullable.value is True)
    return is_nullable or "server_default" in given


def later_migrations() -> list[Path]:
    """All but the first, before which there was nothing."""
    config = alembic_config(URL.create("sqlite"))
    folder = Path(config.get_main_option("script_location") or "") / "versions"
    return sorted(path for path in folder.glob("*.py") if "\ndown_revision = None\n" not in path.read_text())


def test_every_later_migration_only_adds() -> None:
    assert {
        path.name: list_breaks(path.read_text()) for path in later_migrations() if list_breaks(path.read_text())
    } == {}


@pytest.mark.parametrize(
    "statement",
    [
        'op.drop_column("jobs", "model")',
        'op.alter_column("jobs", "model", nullable=False)',
        'op.add_column("jobs", sa.Column("size", sa.Integer(), nullable=False))',
    ],
)
def test_what_breaks_the_previous_version_is_found(statement: str) -> None:
    assert list_breaks(f"def upgrade():\n    {statement}\n")


@pytest.mark.parametrize(
    "statement",
    [
        'op.add_column("jobs", sa.Column("size", sa.Integer()))',
        'batch_op.add_column(sa.Column("size", sa.Integer(), nullable=True))',
        'op.add_column("jobs", sa.Column("size", sa.Integer(), nullable=False, server_default="0"))',
        'op.create_index("jobs_size_idx", "jobs", ["size"])',
    ],
)
def test_what_only_adds_is_let_through(statement: str) -> None:
    assert not list_breaks(f"def upgrade():\n    {statement}\n")


def test_the_first_migration_is_not_counted_among_the_later_ones() -> None:
    assert not [path for path in later_migrations() if path.name.endswith("_initial.py")]
