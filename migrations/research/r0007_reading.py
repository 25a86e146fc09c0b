"""readers: answers about studies, reading protocols, their cases, planned reads and reviews."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _study_answers()
    _protocols()
    _reads()


def _study_answers() -> None:
    op.create_table(
        "option_score",
        sa.Column("id", BigId, nullable=False),
        sa.Column("generation_id", BigId, nullable=False),
        sa.Column("letter", sa.String(length=1), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_option_score_generation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_option_score")),
        sa.UniqueConstraint(
            "generation_id", "letter", name=op.f("uq_option_score_generation_id_letter")
        ),
    )
    op.create_table(
        "study_answer",
        sa.Column("id", BigId, nullable=False),
        sa.Column("study_version_id", BigId, nullable=False),
        sa.Column("question_id", BigId, nullable=False),
        sa.Column("rendering_id", BigId, nullable=True),
        sa.Column("checkpoint_id", BigId, nullable=True),
        sa.Column("aggregate", sa.String(length=16), nullable=False),
        sa.Column("choice_text", sa.Text(), nullable=True),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("parsed", sa.Integer(), nullable=False),
        sa.Column("is_mixed", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("made_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_study_answer_checkpoint_id")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_study_answer_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["rendering_id"], ["rendering.id"], name=op.f("fk_study_answer_rendering_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_version_id"],
            ["study_version.id"],
            name=op.f("fk_study_answer_study_version_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_answer")),
    )
    op.create_index(op.f("ix_study_answer_question_id"), "study_answer", ["question_id"])
    op.create_index(
        op.f("ix_study_answer_study_version_id_question_id"),
        "study_answer",
        ["study_version_id", "question_id"],
    )
    op.create_table(
        "study_answer_part",
        sa.Column("study_answer_id", BigId, autoincrement=False, nullable=False),
        sa.Column("answer_id", BigId, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_study_answer_part_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_answer_id"],
            ["study_answer.id"],
            name=op.f("fk_study_answer_part_study_answer_id"),
        ),
        sa.PrimaryKeyConstraint("study_answer_id", "answer_id", name=op.f("pk_study_answer_part")),
    )
    op.create_index(op.f("ix_study_answer_part_answer_id"), "study_answer_part", ["answer_id"])


def _protocols() -> None:
    op.create_table(
        "reading_protocol",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("definition_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("started_by", sa.String(length=128), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("panel_stated_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_reading_protocol_project_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_protocol")),
        sa.UniqueConstraint(
            "project_id",
            "name",
            "version",
            name=op.f("uq_reading_protocol_project_id_name_version"),
        ),
    )
    op.create_index(op.f("ix_reading_protocol_state"), "reading_protocol", ["state"])
    op.create_table(
        "reading_person",
        sa.Column("id", BigId, nullable=False),
        sa.Column("protocol_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("part", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("unblinded_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_reading_person_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["protocol_id"], ["reading_protocol.id"], name=op.f("fk_reading_person_protocol_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_person")),
        sa.UniqueConstraint(
            "protocol_id", "account_id", name=op.f("uq_reading_person_protocol_id_account_id")
        ),
    )
    op.create_index(op.f("ix_reading_person_account_id"), "reading_person", ["account_id"])
    op.create_table(
        "reading_case",
        sa.Column("id", BigId, nullable=False),
        sa.Column("protocol_id", BigId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("study_id", BigId, nullable=False),
        sa.Column("study_version_id", BigId, nullable=False),
        sa.Column("question_id", BigId, nullable=False),
        sa.Column("rendering_id", BigId, nullable=True),
        sa.Column("study_answer_id", BigId, nullable=True),
        sa.Column("model_side", Json, nullable=True),
        sa.Column("truth", sa.Text(), nullable=True),
        sa.Column("truth_source", sa.String(length=32), nullable=True),
        sa.Column("withdrawn_at", UtcDateTime, nullable=True),
        sa.Column("record_salt", sa.String(length=32), nullable=True),
        sa.Column("record_commitments", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["protocol_id"], ["reading_protocol.id"], name=op.f("fk_reading_case_protocol_id")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_reading_case_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["rendering_id"], ["rendering.id"], name=op.f("fk_reading_case_rendering_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_answer_id"], ["study_answer.id"], name=op.f("fk_reading_case_study_answer_id")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_reading_case_study_id")),
        sa.ForeignKeyConstraint(
            ["study_version_id"],
            ["study_version.id"],
            name=op.f("fk_reading_case_study_version_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_case")),
        sa.UniqueConstraint(
            "protocol_id", "number", name=op.f("uq_reading_case_protocol_id_number")
        ),
    )
    op.create_index(
        op.f("ix_reading_case_study_id_question_id"), "reading_case", ["study_id", "question_id"]
    )


def _reads() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", BigId, nullable=False),
        sa.Column("protocol_id", BigId, nullable=False),
        sa.Column("case_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("arm", sa.String(length=32), nullable=False),
        sa.Column("account_id", BigId, nullable=True),
        sa.Column("is_pooled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("claimed_until", UtcDateTime, nullable=True),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("opened_at", UtcDateTime, nullable=True),
        sa.Column("phase_opened_at", UtcDateTime, nullable=True),
        sa.Column("active_ms", sa.Integer(), nullable=False),
        sa.Column("draft", Json, nullable=True),
        sa.Column("drafted_at", UtcDateTime, nullable=True),
        sa.Column("done_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_assignment_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["reading_case.id"], name=op.f("fk_assignment_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["protocol_id"], ["reading_protocol.id"], name=op.f("fk_assignment_protocol_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
    )
    op.create_index(
        op.f("ix_assignment_account_id_case_id"), "assignment", ["account_id", "case_id"]
    )
    op.create_index(op.f("ix_assignment_case_id"), "assignment", ["case_id"])
    op.create_index(
        op.f("ix_assignment_protocol_id_account_id_state"),
        "assignment",
        ["protocol_id", "account_id", "state"],
    )
    op.create_index(op.f("ix_assignment_protocol_id_state"), "assignment", ["protocol_id", "state"])
    op.create_table(
        "review",
        sa.Column("id", BigId, nullable=False),
        sa.Column("assignment_id", BigId, nullable=False),
        sa.Column("case_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("is_after_reveal", sa.Boolean(), nullable=False),
        sa.Column("choice_text", sa.Text(), nullable=True),
        sa.Column("cannot_assess", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("flags", Json, nullable=False),
        sa.Column("reasoning_grade", sa.Integer(), nullable=True),
        sa.Column("reasoning_error", sa.String(length=16), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("active_ms", sa.Integer(), nullable=False),
        sa.Column("wall_ms", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("locked_at", UtcDateTime, nullable=False),
        sa.Column("record_salt", sa.String(length=32), nullable=True),
        sa.Column("record_commitments", Json, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_review_account_id")),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignment.id"], name=op.f("fk_review_assignment_id")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["reading_case.id"], name=op.f("fk_review_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint(
            "assignment_id", "phase", "version", name=op.f("uq_review_assignment_id_phase_version")
        ),
    )
    op.create_index(op.f("ix_review_account_id_case_id"), "review", ["account_id", "case_id"])
    op.create_index(op.f("ix_review_case_id"), "review", ["case_id"])


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
