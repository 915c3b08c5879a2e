"""Brings a database to the newest schema with alembic. Safe to run by many processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util.exc import CommandError
from sqlalchemy.engine import URL

from phoenix.db.migration_scripts import scripts_folder


def alembic_config(url: URL) -> Config:
    """The configuration of alembic for this database."""
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    # alembic reads the URL with configparser, for which a percent sign is special.
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return config


def upgrade(url: URL, revision: str = "head") -> bool:
    """Runs the missing migrations. Blocks: do not call this inside a running event loop.

    Returns False, and does nothing, if a newer version has already migrated the database. Migrations only add, so an
    older version works with a newer schema.
    """
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        command.upgrade(alembic_config(url), revision)
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            return False
        raise
    return True
