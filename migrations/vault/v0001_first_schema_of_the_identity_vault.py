"""first schema of the identity vault."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
# SQLite gives 64-bit row ids to INTEGER PRIMARY KEY alone.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "patient_identity",
        sa.Column("id", BigId, nullable=False),
        sa.Column("identity_key", sa.String(length=32), nullable=False),
        sa.Column("patient_key", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer_of_patient_id", sa.Text(), nullable=False),
        sa.Column("patient_birth_date", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_identity")),
        sa.UniqueConstraint("identity_key", name=op.f("uq_patient_identity_identity_key")),
    )
    op.create_index(
        op.f("ix_patient_identity_patient_key"), "patient_identity", ["patient_key"], unique=False
    )
    op.create_index(
        op.f("ix_patient_identity_study_instance_uid"),
        "patient_identity",
        ["study_instance_uid"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_patient_identity_study_instance_uid"), table_name="patient_identity")
    op.drop_index(op.f("ix_patient_identity_patient_key"), table_name="patient_identity")
    op.drop_table("patient_identity")
