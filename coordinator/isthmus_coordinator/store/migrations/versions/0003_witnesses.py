"""Checkpoints of nodes' journals and what witnesses said to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "checkpoints",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(32), nullable=False),
        sa.Column("tree_size", sa.BigInteger, nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_checkpoints_identity_key", "checkpoints", ["identity_key", "code", "tree_size"])
    op.create_table(
        "witness_words",
        sa.Column("checkpoint", sa.LargeBinary(32), sa.ForeignKey("checkpoints.digest"), primary_key=True),
        sa.Column("witness_key", sa.LargeBinary(32), primary_key=True),
        sa.Column("witness", sa.String(64), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("said", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "witness_sizes",
        sa.Column("identity_key", sa.LargeBinary(32), primary_key=True),
        sa.Column("witness_key", sa.LargeBinary(32), primary_key=True),
        sa.Column("tree_size", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Take the tables away, those that point at others first."""
    for table in ("witness_sizes", "witness_words", "checkpoints"):
        op.drop_table(table)
