"""reference imports, and withdrawals."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
UNFINISHED = sa.text("finished_at IS NULL")
STANDARD_KEY = ["instance_id", "question_id", "source", "version"]


def upgrade() -> None:
    _references()
    _withdrawals()


def _references() -> None:
    op.create_table(
        "reference_import",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("statements", sa.Integer(), nullable=False),
        sa.Column("imported_by", sa.String(length=128), nullable=False),
        sa.Column("imported_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_reference_import_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_import")),
    )
    op.create_index(op.f("ix_reference_import_project_id"), "reference_import", ["project_id"])
    op.create_table(
        "reference_statement",
        sa.Column("id", BigId, nullable=False),
        sa.Column("import_id", BigId, nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("patient_id", BigId, nullable=True),
        sa.Column("study_id", BigId, nullable=True),
        sa.Column("instance_id", BigId, nullable=True),
        sa.Column("side", sa.String(length=1), nullable=True),
        sa.Column("question_id", sa.String(length=64), nullable=False),
        sa.Column("truth", sa.Text(), nullable=True),
        sa.Column("certainty", sa.String(length=32), nullable=True),
        sa.Column("stated_by", sa.String(length=64), nullable=False),
        sa.Column("stated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["reference_import.id"], name=op.f("fk_reference_statement_import_id")
        ),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patient.id"], name=op.f("fk_reference_statement_patient_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_reference_statement_study_id")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_reference_statement_instance_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_statement")),
    )
    for column in ("import_id", "study_id", "patient_id", "instance_id"):
        columns = [column] if column == "import_id" else [column, "question_id"]
        op.create_index(
            op.f(f"ix_reference_statement_{'_'.join(columns)}"), "reference_statement", columns
        )
    with op.batch_alter_table("reference_standard") as batch:
        batch.alter_column("truth", existing_type=sa.Text(), nullable=True)
        batch.add_column(
            sa.Column("unit", sa.String(length=32), nullable=False, server_default="picture")
        )
        batch.add_column(sa.Column("certainty", sa.String(length=32), nullable=True))
        batch.add_column(sa.Column("statement_id", BigId, nullable=True))
        batch.add_column(sa.Column("superseded_at", UtcDateTime, nullable=True))
        batch.create_foreign_key(
            op.f("fk_reference_standard_statement_id"),
            "reference_statement",
            ["statement_id"],
            ["id"],
        )
        batch.drop_constraint(
            op.f(f"uq_reference_standard_{'_'.join(STANDARD_KEY)}"), type_="unique"
        )
        batch.create_unique_constraint(
            op.f("uq_reference_standard_instance_id_question_id_source_unit_version"),
            ["instance_id", "question_id", "source", "unit", "version"],
        )
    # What a plan read, which nobody can doubt: it is all that there was before.
    op.execute(
        "UPDATE reference_standard SET certainty = 'proven' WHERE source IN ('header', 'phantom')"
    )
    for table in ("project_series", "project_instance"):
        columns = ["project_id", "pseudonymous_uid"]
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _withdrawals() -> None:
    op.create_table(
        "withdrawal",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("began_at", UtcDateTime, nullable=True),
        sa.Column("finished_at", UtcDateTime, nullable=True),
        sa.Column("certificate", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_withdrawal_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
    )
    op.create_index(
        "ix_withdrawal_unfinished",
        "withdrawal",
        ["id"],
        postgresql_where=UNFINISHED,
        sqlite_where=UNFINISHED,
    )
    op.create_table(
        "withdrawn_key",
        sa.Column("id", BigId, nullable=False),
        sa.Column("withdrawal_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=True),
        sa.Column("study_id", BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["withdrawal_id"], ["withdrawal.id"], name=op.f("fk_withdrawn_key_withdrawal_id")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_withdrawn_key_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawn_key")),
    )
    for column in ("withdrawal_id", "key", "study_id"):
        op.create_index(op.f(f"ix_withdrawn_key_{column}"), "withdrawn_key", [column])
    op.add_column("project_study", sa.Column("withdrawn_at", UtcDateTime, nullable=True))
    op.add_column("snapshot_answer", sa.Column("sha256", sa.String(length=64), nullable=True))
    op.add_column("snapshot_answer", sa.Column("withdrawn_at", UtcDateTime, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
