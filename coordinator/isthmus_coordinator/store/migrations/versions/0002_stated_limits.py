"""What the nodes told of their policies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; it fills as nodes attach."""
    op.create_table(
        "stated_limits",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
    )
