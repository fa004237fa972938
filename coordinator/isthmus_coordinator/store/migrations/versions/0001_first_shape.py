"""The first shape of the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "members",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("country", sa.String(32), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(32), nullable=False),
        sa.Column("custodian_key", sa.LargeBinary(32), nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("previous_serial", sa.String(64), nullable=False),
        sa.Column("certificate_expires", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("last_contact", sa.BigInteger, nullable=False),
        sa.Column("software", sa.String(64), nullable=False),
        sa.Column("datasets", sa.Text, nullable=False),
    )
    op.create_table(
        "invites",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("secret_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("country", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("used_by", sa.LargeBinary(32)),
    )
    op.create_table(
        "studies",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("proposed_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("name", "version", name="uq_studies_name_version"),
    )
    op.create_table(
        "decisions",
        sa.Column("study_digest", sa.LargeBinary(32), sa.ForeignKey("studies.digest"), primary_key=True),
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("decided_at", sa.BigInteger, primary_key=True),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "analyses",
        sa.Column("run", sa.LargeBinary(16), primary_key=True),
        sa.Column("study_digest", sa.LargeBinary(32), sa.ForeignKey("studies.digest"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        sa.Column("purpose", sa.Integer, nullable=False),
        sa.Column("missing_country", sa.Integer, nullable=False),
        sa.Column("deadline_seconds", sa.Integer, nullable=False),
        sa.Column("requested_by", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_analyses_state", "analyses", ["state"])
    op.create_table(
        "left_out",
        sa.Column("run", sa.LargeBinary(16), sa.ForeignKey("analyses.run"), primary_key=True),
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("remedy", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer, nullable=False),
    )
    op.create_table(
        "rounds",
        sa.Column("task", sa.LargeBinary(32), primary_key=True),
        sa.Column("run", sa.LargeBinary(16), sa.ForeignKey("analyses.run"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("memory", sa.LargeBinary, nullable=False),
        sa.Column("measure", sa.String(128), nullable=False),
        sa.Column("measured", sa.Float, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("run", "attempt", "round", name="uq_rounds_run_attempt_round"),
    )
    op.create_table(
        "submissions",
        sa.Column("task", sa.LargeBinary(32), sa.ForeignKey("rounds.task"), primary_key=True),
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("signed", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Take all tables away, those that point at others first."""
    for table in ("submissions", "rounds", "left_out", "analyses", "decisions", "studies", "invites", "members"):
        op.drop_table(table)
