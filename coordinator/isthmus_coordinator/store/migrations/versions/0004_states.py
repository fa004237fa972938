"""States and models of trainings, in parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "states",
        sa.Column("run", sa.LargeBinary(16), sa.ForeignKey("analyses.run"), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("part", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("states")
