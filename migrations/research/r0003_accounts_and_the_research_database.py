"""accounts, what research asks for, snapshots, what a sender was refused.

Answers of earlier schemas get their facets from the sweep, which has the site key. Words of the
reasoning are indexed by the database itself, whoever writes an answer.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
UNNAMED = sa.text("NOT is_named")

# A text of a megabyte of different words would be refused by to_tsvector, and the answer with it.
# Its parser takes `left/right` for a file and `1.5` for a number, so that it is given bare words.
WORDS_POSTGRESQL = (
    "ALTER TABLE answer ADD COLUMN reasoning_words tsvector GENERATED ALWAYS AS "
    "(to_tsvector('simple', regexp_replace(left(coalesce(reasoning, ''), 100000), "
    "'[\\W_]+', ' ', 'g'))) STORED",
    "CREATE INDEX ix_answer_reasoning_words ON answer USING gin (reasoning_words)",
)
# Whoever changes `answer` by making another table in its place makes the triggers again.
WORDS_SQLITE = (
    "CREATE VIRTUAL TABLE answer_words USING fts5(reasoning, content='answer', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER answer_words_insert AFTER INSERT ON answer BEGIN "
    "INSERT INTO answer_words (rowid, reasoning) VALUES (new.id, new.reasoning); END",
    "CREATE TRIGGER answer_words_delete AFTER DELETE ON answer BEGIN "
    "INSERT INTO answer_words (answer_words, rowid, reasoning) "
    "VALUES ('delete', old.id, old.reasoning); END",
    "CREATE TRIGGER answer_words_update AFTER UPDATE OF reasoning ON answer BEGIN "
    "INSERT INTO answer_words (answer_words, rowid, reasoning) "
    "VALUES ('delete', old.id, old.reasoning); "
    "INSERT INTO answer_words (rowid, reasoning) VALUES (new.id, new.reasoning); END",
    "INSERT INTO answer_words (answer_words) VALUES ('rebuild')",
)


def upgrade() -> None:
    _people()
    _research()
    _columns()
    _words()


def _people() -> None:
    op.create_table(
        "account",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("is_administrator", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_account_issuer_subject")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )
    op.create_table(
        "api_token",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("project_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("used_at", UtcDateTime, nullable=True),
        sa.Column("revoked_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_token_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_api_token_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_token_token_sha256")),
    )
    op.create_index(op.f("ix_api_token_account_id"), "api_token", ["account_id"])
    op.create_table(
        "known_device",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_known_device_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_device")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_known_device_token_sha256")),
    )
    op.create_index(op.f("ix_known_device_account_id"), "known_device", ["account_id"])
    op.create_table(
        "project_member",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("is_from_provider", sa.Boolean(), nullable=False),
        sa.Column("added_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_project_member_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_project_member_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_member")),
        sa.UniqueConstraint(
            "account_id",
            "project_id",
            "role",
            name=op.f("uq_project_member_account_id_project_id_role"),
        ),
    )
    op.create_index(op.f("ix_project_member_project_id"), "project_member", ["project_id"])
    op.create_table(
        "session",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_session_token_sha256")),
    )
    op.create_index(op.f("ix_session_account_id"), "session", ["account_id"])
    op.create_table(
        "sign_in_link",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("used_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_sign_in_link_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_link")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sign_in_link_token_sha256")),
    )
    op.create_index(op.f("ix_sign_in_link_account_id"), "sign_in_link", ["account_id"])


def _research() -> None:
    op.create_table(
        "answer_origin",
        sa.Column("id", BigId, nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("anatomy", sa.String(length=64), nullable=False),
        sa.Column("scanner_key", sa.String(length=32), nullable=False),
        sa.Column("study_year", sa.String(length=4), nullable=False),
        sa.Column("sex", sa.String(length=16), nullable=False),
        sa.Column("age_band", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_origin")),
        sa.UniqueConstraint(
            "scanner_key",
            "anatomy",
            "study_year",
            "age_band",
            "sex",
            "modality",
            name="uq_answer_origin",
        ),
    )
    op.create_table(
        "answer_outcome",
        sa.Column("id", BigId, nullable=False),
        sa.Column("question_id", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("coverage", sa.String(length=32), nullable=False),
        sa.Column("checkpoint", sa.String(length=32), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("parse_status", sa.String(length=32), nullable=False),
        sa.Column("choice", sa.String(length=1), nullable=False),
        sa.Column("correctness", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_outcome")),
        sa.UniqueConstraint(
            "question_id",
            "checkpoint",
            "choice",
            "parse_status",
            "correctness",
            "task",
            "kind",
            "coverage",
            "is_demo",
            name="uq_answer_outcome",
        ),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("filters", Json, nullable=False),
        sa.Column("fields", Json, nullable=False),
        sa.Column("made_by", sa.String(length=128), nullable=False),
        sa.Column("made_at", UtcDateTime, nullable=False),
        sa.Column("program_version", sa.String(length=32), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_snapshot_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_snapshot_project_id_name")),
    )
    op.create_table(
        "project_series",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("pseudonymous_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_project_series_project_id")
        ),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_project_series_series_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_series")),
        sa.UniqueConstraint(
            "project_id", "series_id", name=op.f("uq_project_series_project_id_series_id")
        ),
    )
    op.create_index(op.f("ix_project_series_series_id"), "project_series", ["series_id"])
    op.create_table(
        "project_instance",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("instance_id", BigId, nullable=False),
        sa.Column("pseudonymous_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_project_instance_instance_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_project_instance_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_instance")),
        sa.UniqueConstraint(
            "project_id", "instance_id", name=op.f("uq_project_instance_project_id_instance_id")
        ),
    )
    op.create_index(op.f("ix_project_instance_instance_id"), "project_instance", ["instance_id"])
    op.create_table(
        "answer_facet",
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("answer_id", BigId, nullable=False),
        sa.Column("study_id", BigId, nullable=False),
        sa.Column("outcome_id", BigId, nullable=False),
        sa.Column("origin_id", BigId, nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("study_version", sa.Integer(), nullable=True),
        sa.Column("study_date", sa.String(length=10), nullable=True),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_answer_facet_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["origin_id"], ["answer_origin.id"], name=op.f("fk_answer_facet_origin_id")
        ),
        sa.ForeignKeyConstraint(
            ["outcome_id"], ["answer_outcome.id"], name=op.f("fk_answer_facet_outcome_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_answer_facet_project_id")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_answer_facet_study_id")),
        sa.PrimaryKeyConstraint("project_id", "answer_id", name=op.f("pk_answer_facet")),
    )
    for first, second in (("outcome", "origin"), ("origin", "outcome")):
        op.create_index(
            f"ix_answer_facet_{first}",
            "answer_facet",
            [
                "project_id",
                f"{first}_id",
                f"{second}_id",
                "is_current",
                "answer_id",
            ],
        )
    op.create_index(
        "ix_answer_facet_date", "answer_facet", ["project_id", "study_date", "answer_id"]
    )
    op.create_index(op.f("ix_answer_facet_study_id"), "answer_facet", ["study_id"])
    op.create_table(
        "snapshot_answer",
        sa.Column("snapshot_id", BigId, nullable=False),
        sa.Column("answer_id", BigId, nullable=False),
        sa.Column("frozen", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_snapshot_answer_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshot.id"], name=op.f("fk_snapshot_answer_snapshot_id")
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "answer_id", name=op.f("pk_snapshot_answer")),
    )
    op.create_index(op.f("ix_snapshot_answer_answer_id"), "snapshot_answer", ["answer_id"])


def _columns() -> None:
    op.add_column("association", sa.Column("refused_contexts", Json, nullable=True))
    op.add_column(
        "association", sa.Column("times", sa.Integer(), nullable=False, server_default="1")
    )
    op.create_index(
        op.f("ix_association_refused"),
        "association",
        ["closed_at"],
        postgresql_where=sa.text("refused_contexts IS NOT NULL"),
        sqlite_where=sa.text("refused_contexts IS NOT NULL"),
    )
    op.add_column(
        "project", sa.Column("dates", sa.String(length=32), nullable=False, server_default="year")
    )
    op.add_column(
        "project_study",
        sa.Column("is_named", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "project_study", sa.Column("pseudonymous_uid", sa.String(length=64), nullable=True)
    )
    op.add_column(
        "project_study", sa.Column("patient_pseudonym", sa.String(length=32), nullable=True)
    )
    op.add_column("project_study", sa.Column("date_shift_days", sa.Integer(), nullable=True))
    op.add_column(
        "project_study", sa.Column("shown_study_date", sa.String(length=10), nullable=True)
    )
    op.create_index(
        "ix_project_study_unnamed",
        "project_study",
        ["id"],
        postgresql_where=UNNAMED,
        sqlite_where=UNNAMED,
    )
    op.create_index(
        op.f("ix_project_study_project_id_patient_pseudonym"),
        "project_study",
        ["project_id", "patient_pseudonym"],
    )
    with op.batch_alter_table("project_study") as batch:
        batch.create_unique_constraint(
            op.f("uq_project_study_project_id_pseudonymous_uid"), ["project_id", "pseudonymous_uid"]
        )
    op.add_column("quarantined_instance", sa.Column("dropped_at", UtcDateTime, nullable=True))
    op.add_column("series", sa.Column("scanner_key", sa.String(length=32), nullable=True))


def _words() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in WORDS_SQLITE if is_sqlite else WORDS_POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
