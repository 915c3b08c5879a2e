"""The published progress of each task, so that it is known when Redis has been emptied."""

import sqlalchemy as sa
from alembic import op

revision = "5c1f0d7be2a4"
down_revision = "f744a0a90c27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("progress", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_column("progress")
