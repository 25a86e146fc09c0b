"""the audit log: salts, hashes of records, leaves, heads, what was shown before; and exports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
RECORDED = (
    "account",
    "answer",
    "checkpoint",
    "project_member",
    "question",
    "reference_standard",
    "reference_statement",
)
APPEND_ONLY = ("audit_event", "audit_leaf", "audit_head")


def upgrade() -> None:
    _events()
    _log()
    for table in RECORDED:
        op.add_column(table, sa.Column("record_salt", sa.String(length=32), nullable=True))
        op.add_column(table, sa.Column("record_commitments", Json, nullable=True))
        op.execute(f"UPDATE {table} SET record_salt = {_random()}")  # noqa: S608 - our own words
    op.add_column("answer_facet", sa.Column("truth", sa.Text(), nullable=True))
    _exports()
    _append_only()


def _random() -> str:
    """Return 16 random bytes as hex digits, evaluated for each row."""
    if op.get_bind().dialect.name == "sqlite":
        return "lower(hex(randomblob(16)))"
    return "replace(gen_random_uuid()::text, '-', '')"


def _events() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.add_column("audit_event", sa.Column("account_id", sa.BigInteger(), nullable=True))
    op.add_column("audit_event", sa.Column("record_sha256", sa.String(length=64), nullable=True))
    op.add_column(
        "audit_event",
        sa.Column("salt", sa.String(length=32), nullable=False, server_default=""),
    )
    op.execute(f"UPDATE audit_event SET salt = {_random()}")  # noqa: S608 - our own words
    op.execute(
        "UPDATE audit_event SET account_id = "
        "(SELECT account.id FROM account WHERE account.name = audit_event.actor)"
    )
    if not is_sqlite:
        op.alter_column("audit_event", "salt", server_default=None)
    op.create_index(op.f("ix_audit_event_actor_id"), "audit_event", ["actor", "id"])


def _log() -> None:
    op.create_table(
        "audit_leaf",
        sa.Column("seq", BigId, autoincrement=False, nullable=False),
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=True),
        sa.Column("project_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["audit_event.id"], name=op.f("fk_audit_leaf_event_id")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_leaf")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_leaf_event_id")),
    )
    for column in ("study_id", "project_id"):
        op.create_index(op.f(f"ix_audit_leaf_{column}_seq"), "audit_leaf", [column, "seq"])
    op.create_table(
        "audit_head",
        sa.Column("id", BigId, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root_sha256", sa.String(length=64), nullable=False),
        sa.Column("frontier", Json, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        sa.UniqueConstraint("origin", "size", name=op.f("uq_audit_head_origin_size")),
    )
    op.create_table(
        "past_value",
        sa.Column("id", BigId, nullable=False),
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=True),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("was", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["audit_event.id"], name=op.f("fk_past_value_event_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_past_value")),
    )
    op.create_index(op.f("ix_past_value_event_id"), "past_value", ["event_id"])
    op.create_index(
        op.f("ix_past_value_object_type_object_id"), "past_value", ["object_type", "object_id"]
    )


def _exports() -> None:
    state = sa.String(length=32)
    op.create_table(
        "project_export",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("request", Json, nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("folder", sa.String(length=32), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("heartbeat_at", UtcDateTime, nullable=True),
        sa.Column("progress", Json, nullable=True),
        sa.Column("expected_answers", sa.BigInteger(), nullable=True),
        sa.Column("head_size", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finished_at", UtcDateTime, nullable=True),
        sa.Column("removed_at", UtcDateTime, nullable=True),
        sa.Column("removed_because", state, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_project_export_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_export")),
        sa.UniqueConstraint("folder", name=op.f("uq_project_export_folder")),
    )
    op.create_index(op.f("ix_project_export_project_id"), "project_export", ["project_id"])
    op.create_index("ix_project_export_state", "project_export", ["state", "id"])


def _append_only() -> None:
    """Refuse changes of the log: SQLite has no roles, and who owns a table needs a reminder."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'the audit log is only ever added to'; END$$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()"
        )


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
