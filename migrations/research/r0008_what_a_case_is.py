"""what a case is: the same in every protocol, its pictures frozen; long times; what is shown."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0008"
down_revision = "r0007"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

# As `make_case_key` writes them.
KEYS = (
    "UPDATE reading_case SET case_key = study_id || ' ' || "
    "(SELECT q.question_id FROM question q WHERE q.id = reading_case.question_id) || "
    "COALESCE((SELECT ' ' || (SELECT MIN(f.id) FROM instance f "
    "WHERE f.sop_instance_uid = i.sop_instance_uid) || ' ' || r.frame_number FROM rendering r "
    "JOIN instance i ON i.id = r.instance_id WHERE r.id = reading_case.rendering_id), '')"
)


def upgrade() -> None:
    op.add_column(
        "reading_case",
        sa.Column("case_key", sa.String(length=160), nullable=False, server_default=""),
    )
    op.add_column("reading_case", sa.Column("pictures", Json, nullable=True))
    op.create_index(op.f("ix_reading_case_case_key"), "reading_case", ["case_key"])
    op.add_column("reading_person", sa.Column("upcoming_id", BigId, nullable=True))
    op.add_column("assignment", sa.Column("shown_reviews", Json, nullable=True))
    if op.get_bind().dialect.name == "postgresql":  # SQLite's integers have 64 bits anyway
        for table, column in (
            ("assignment", "active_ms"),
            ("review", "active_ms"),
            ("review", "wall_ms"),
        ):
            op.alter_column(table, column, type_=sa.BigInteger(), existing_nullable=False)
    op.execute(KEYS)


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
