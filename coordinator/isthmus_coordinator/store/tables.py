"""The tables of the store.

Times are UTC nanoseconds since 1970; documents are kept as the exact bytes that were signed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

# The roster: who takes part, by which keys and which certificate.
members = Table(
    "members",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("country", String(32), nullable=False),
    Column("identity_key", LargeBinary(32), nullable=False),
    Column("custodian_key", LargeBinary(32), nullable=False),
    # Serial of the newest certificate, and of the one before it until the newest has been seen in use.
    Column("serial", String(64), nullable=False),
    Column("previous_serial", String(64), nullable=False),
    Column("certificate_expires", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("enrolled_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=False),
    # What the node said of itself when it last attached.
    Column("last_contact", BigInteger, nullable=False),
    Column("software", String(64), nullable=False),
    Column("datasets", Text, nullable=False),
)

# What each node told of its policy when it last attached, signed by it.
stated_limits = Table(
    "stated_limits",
    METADATA,
    Column("node", String(64), primary_key=True),
    Column("signed", LargeBinary, nullable=False),
    Column("told_at", BigInteger, nullable=False),
)

# Join tokens that were given out. The secret itself is not kept.
invites = Table(
    "invites",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("secret_digest", LargeBinary(32), nullable=False),
    Column("role", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("country", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    # Identity key that used it: the same caller may fetch a reply that was lost.
    Column("used_by", LargeBinary(32)),
)

studies = Table(
    "studies",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("version", Integer, nullable=False),
    Column("author", String(64), nullable=False),
    Column("signed", LargeBinary, nullable=False),
    Column("proposed_at", BigInteger, nullable=False),
    UniqueConstraint("name", "version", name="uq_studies_name_version"),
)

# Every decision a custodian ever signed; the newest holds.
decisions = Table(
    "decisions",
    METADATA,
    Column("study_digest", LargeBinary(32), ForeignKey("studies.digest"), primary_key=True),
    Column("node", String(64), primary_key=True),
    Column("decided_at", BigInteger, primary_key=True),
    Column("approved", Boolean, nullable=False),
    Column("signed", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

# One run of one analysis.
analyses = Table(
    "analyses",
    METADATA,
    Column("run", LargeBinary(16), primary_key=True),
    Column("study_digest", LargeBinary(32), ForeignKey("studies.digest"), nullable=False),
    # Name in the plan; empty: exploratory.
    Column("name", String(128), nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("purpose", Integer, nullable=False),
    Column("missing_country", Integer, nullable=False),
    Column("deadline_seconds", Integer, nullable=False),
    Column("requested_by", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    # Grows by one whenever a run starts again from the first round without a country.
    Column("attempt", Integer, nullable=False),
    Column("result", LargeBinary),
    Column("submitted_at", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Index("ix_analyses_state", "state"),
)

# Of a training: the state of its open round where nodes fetch it, then the model; in parts.
states = Table(
    "states",
    METADATA,
    Column("run", LargeBinary(16), ForeignKey("analyses.run"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("part", LargeBinary, nullable=False),
)

# Countries that a run goes on without, and why.
left_out = Table(
    "left_out",
    METADATA,
    Column("run", LargeBinary(16), ForeignKey("analyses.run"), primary_key=True),
    Column("node", String(64), primary_key=True),
    # "missing" or "refused"
    Column("how", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("exit_code", Integer, nullable=False),
)

# Written once, never changed: the open task of a run is its newest.
rounds = Table(
    "rounds",
    METADATA,
    Column("task", LargeBinary(32), primary_key=True),
    Column("run", LargeBinary(16), ForeignKey("analyses.run"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    # The signed task exactly as it is announced: the state that goes to the nodes is in it.
    Column("signed", LargeBinary, nullable=False),
    # What the method keeps at the coordinator from one round to the next.
    Column("memory", LargeBinary, nullable=False),
    # What the fit measured itself by when the round before it was pooled.
    Column("measure", String(128), nullable=False),
    Column("measured", Float, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    UniqueConstraint("run", "attempt", "round", name="uq_rounds_run_attempt_round"),
)

submissions = Table(
    "submissions",
    METADATA,
    Column("task", LargeBinary(32), ForeignKey("rounds.task"), primary_key=True),
    Column("node", String(64), primary_key=True),
    # "summary" or "refusal"
    Column("kind", String(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("signed", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

# Answers that are large, where `signed` above is empty: a driver may keep what it was given last, so it gets little.
submission_parts = Table(
    "submission_parts",
    METADATA,
    Column("task", LargeBinary(32), ForeignKey("rounds.task"), primary_key=True),
    Column("node", String(64), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("part", LargeBinary, nullable=False),
)

# Checkpoints of nodes' journals as they were shown here; the largest one with an empty code is what was agreed to last.
checkpoints = Table(
    "checkpoints",
    METADATA,
    # SHA-256 of the checkpoint's body.
    Column("digest", LargeBinary(32), primary_key=True),
    Column("node", String(64), nullable=False),
    Column("identity_key", LargeBinary(32), nullable=False),
    Column("tree_size", BigInteger, nullable=False),
    Column("signed", LargeBinary, nullable=False),
    # Empty, or why it was refused.
    Column("code", String(32), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index("ix_checkpoints_identity_key", "identity_key", "code", "tree_size"),
)

# What each witness said to a checkpoint, the coordinator among them.
witness_words = Table(
    "witness_words",
    METADATA,
    Column("checkpoint", LargeBinary(32), ForeignKey("checkpoints.digest"), primary_key=True),
    Column("witness_key", LargeBinary(32), primary_key=True),
    Column("witness", String(64), nullable=False),
    # Empty: it co-signed.
    Column("code", String(32), nullable=False),
    # WitnessSaid of the contract.
    Column("said", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

# How much of a node's journal each witness had seen when it last spoke.
witness_sizes = Table(
    "witness_sizes",
    METADATA,
    Column("identity_key", LargeBinary(32), primary_key=True),
    Column("witness_key", LargeBinary(32), primary_key=True),
    Column("tree_size", BigInteger, nullable=False),
)
