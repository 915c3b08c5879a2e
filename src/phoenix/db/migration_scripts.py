"""The migrations of this version: where they are, and the revisions that they make.

Does without alembic: each start of an API or worker process reads the revisions, and alembic takes a tenth of a second
and 9 MB to import.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

# As alembic's template writes it: `revision = "f744a0a90c27"`.
_ASSIGNMENT = re.compile(r"""^(revision|down_revision)\b[^=\n]*=\s*["'](\w+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Revisions:
    """`known`: every revision of this version; `newest`: the last of them, or None if there is no migration."""

    known: frozenset[str]
    newest: str | None


def read_revisions() -> Revisions:
    """Reads the revisions from the files of the migrations."""
    texts = [script.read_text(encoding="utf-8") for script in (scripts_folder() / "versions").glob("*.py")]
    assigned = [match.groups() for text in texts for match in _ASSIGNMENT.finditer(text)]
    known = frozenset(revision for name, revision in assigned if name == "revision")
    followed = {revision for name, revision in assigned if name == "down_revision"}
    return Revisions(known, max(known - followed, default=None))


def scripts_folder() -> Path:
    """`migrations/` of a checkout, or the copy inside an installed package."""
    package = Path(str(files("phoenix")))
    checkout = package.parent.parent / "migrations"
    return checkout if (checkout / "env.py").exists() else package / "_migrations"
