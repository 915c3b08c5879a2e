"""The revisions as read from the files of the migrations, and as alembic knows them."""

from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from phoenix.db.migrate import alembic_config
from phoenix.db.migration_scripts import read_revisions


def test_the_revisions_are_the_ones_of_alembic() -> None:
    scripts = ScriptDirectory.from_config(alembic_config(make_url("sqlite://")))

    assert read_revisions().newest == scripts.get_current_head()
    assert read_revisions().known == {script.revision for script in scripts.walk_revisions()}
