"""first schema of the research database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
# SQLite gives 64-bit row ids to INTEGER PRIMARY KEY alone.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "association",
        sa.Column("id", BigId, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("peer_address", sa.String(length=64), nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("heartbeat_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("ending", sa.String(length=16), nullable=True),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_association")),
        sa.UniqueConstraint("token", name=op.f("uq_association_token")),
    )
    op.create_index(op.f("ix_association_closed_at"), "association", ["closed_at"], unique=False)
    op.create_table(
        "audit_event",
        sa.Column("id", BigId, nullable=False),
        sa.Column("occurred_at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=True),
        sa.Column("old_value", Json, nullable=True),
        sa.Column("new_value", Json, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(
        op.f("ix_audit_event_object_type_object_id"),
        "audit_event",
        ["object_type", "object_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_audit_event_occurred_at"), "audit_event", ["occurred_at"], unique=False
    )
    op.create_table(
        "checkpoint",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("first_used_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint")),
        sa.UniqueConstraint("name", "sha256", name=op.f("uq_checkpoint_name_sha256")),
    )
    op.create_table(
        "patient",
        sa.Column("id", BigId, nullable=False),
        sa.Column("patient_key", sa.String(length=32), nullable=False),
        sa.Column("sex", sa.String(length=16), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.UniqueConstraint("patient_key", name=op.f("uq_patient_patient_key")),
    )
    op.create_table(
        "project",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("approval_number", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("ends_at", UtcDateTime, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.create_table(
        "quarantined_instance",
        sa.Column("id", BigId, nullable=False),
        sa.Column("stored_name", sa.String(length=96), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("quarantined_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_instance")),
        sa.UniqueConstraint("stored_name", name=op.f("uq_quarantined_instance_stored_name")),
    )
    op.create_table(
        "question",
        sa.Column("id", BigId, nullable=False),
        sa.Column("question_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("question_sha256", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("first_used_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_question")),
        sa.UniqueConstraint(
            "question_id",
            "version",
            "question_sha256",
            name=op.f("uq_question_question_id_version_question_sha256"),
        ),
    )
    op.create_table(
        "worker",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("queues", Json, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("heartbeat_at", UtcDateTime, nullable=False),
        sa.Column("last_claim_at", UtcDateTime, nullable=True),
        sa.Column("tokens_per_second", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sa.UniqueConstraint("name", name=op.f("uq_worker_name")),
    )
    op.create_table(
        "study",
        sa.Column("id", BigId, nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_id", BigId, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("age_years", sa.Integer(), nullable=True),
        sa.Column("study_date", sa.String(length=8), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_received_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_study_patient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_study_instance_uid")),
    )
    op.create_index(op.f("ix_study_patient_id"), "study", ["patient_id"], unique=False)
    op.create_index(op.f("ix_study_state"), "study", ["state"], unique=False)
    op.create_table(
        "project_study",
        sa.Column("id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("study_id", BigId, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("added_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_project_study_project_id")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_project_study_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_study")),
        sa.UniqueConstraint(
            "project_id", "study_id", name=op.f("uq_project_study_project_id_study_id")
        ),
    )
    op.create_index(op.f("ix_project_study_study_id"), "project_study", ["study_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", BigId, nullable=False),
        sa.Column("study_id", BigId, nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=True),
        sa.Column("route_modality", sa.String(length=16), nullable=True),
        sa.Column("route_reason", sa.Text(), nullable=False),
        sa.Column("anatomy", sa.String(length=64), nullable=True),
        sa.Column("plane", sa.String(length=16), nullable=True),
        sa.Column("weighting", sa.String(length=32), nullable=True),
        sa.Column("stain", sa.String(length=64), nullable=True),
        sa.Column("manufacturer", sa.String(length=64), nullable=True),
        sa.Column("manufacturer_model_name", sa.String(length=64), nullable=True),
        sa.Column("kvp", sa.Double(), nullable=True),
        sa.Column("slice_thickness_mm", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "study_id", "series_instance_uid", name=op.f("uq_series_study_id_series_instance_uid")
        ),
    )
    op.create_index(
        op.f("ix_series_series_instance_uid"), "series", ["series_instance_uid"], unique=False
    )
    op.create_table(
        "study_version",
        sa.Column("id", BigId, nullable=False),
        sa.Column("study_id", BigId, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("completed_at", UtcDateTime, nullable=False),
        sa.Column("planned_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_version_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_version")),
        sa.UniqueConstraint("study_id", "version", name=op.f("uq_study_version_study_id_version")),
    )
    op.create_table(
        "instance",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("number_of_frames", sa.Integer(), nullable=False),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("stored_name", sa.String(length=96), nullable=False),
        sa.Column("association_token", sa.String(length=32), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("study_version", sa.Integer(), nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("indexed_at", UtcDateTime, nullable=False),
        sa.Column("superseded_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instance_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint(
            "sop_instance_uid",
            "sha256",
            "transfer_syntax_uid",
            name=op.f("uq_instance_sop_instance_uid_sha256_transfer_syntax_uid"),
        ),
        sa.UniqueConstraint("stored_name", name=op.f("uq_instance_stored_name")),
    )
    op.create_index(
        op.f("ix_instance_association_token_received_at"),
        "instance",
        ["association_token", "received_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_instance_series_id_superseded_at"),
        "instance",
        ["series_id", "superseded_at"],
        unique=False,
    )
    op.create_table(
        "reference_standard",
        sa.Column("id", BigId, nullable=False),
        sa.Column("instance_id", BigId, nullable=False),
        sa.Column("question_id", BigId, nullable=False),
        sa.Column("truth", sa.Text(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("stated_by", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stated_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_reference_standard_instance_id")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_reference_standard_question_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_standard")),
        sa.UniqueConstraint(
            "instance_id",
            "question_id",
            "source",
            "version",
            name=op.f("uq_reference_standard_instance_id_question_id_source_version"),
        ),
    )
    op.create_index(
        op.f("ix_reference_standard_question_id"),
        "reference_standard",
        ["question_id"],
        unique=False,
    )
    op.create_table(
        "rendering",
        sa.Column("id", BigId, nullable=False),
        sa.Column("instance_id", BigId, nullable=False),
        sa.Column("frame_number", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("window_request", Json, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("window_center", sa.Double(), nullable=True),
        sa.Column("window_width", sa.Double(), nullable=True),
        sa.Column("window_source", sa.String(length=64), nullable=True),
        sa.Column("png_sha256", sa.String(length=64), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("rendered_at", UtcDateTime, nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("claim_token", sa.String(length=32), nullable=True),
        sa.Column("claimed_until", UtcDateTime, nullable=True),
        sa.Column("is_claimed_alone", sa.Boolean(), nullable=False),
        sa.Column("is_suspect", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_rendering_instance_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rendering")),
        sa.UniqueConstraint(
            "instance_id",
            "frame_number",
            "recipe",
            name=op.f("uq_rendering_instance_id_frame_number_recipe"),
        ),
    )
    op.create_index(op.f("ix_rendering_claim_token"), "rendering", ["claim_token"], unique=False)
    op.create_index(
        op.f("ix_rendering_state_due_at"), "rendering", ["state", "due_at"], unique=False
    )
    op.create_table(
        "prompt",
        sa.Column("id", BigId, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("rendering_id", BigId, nullable=False),
        sa.Column("question_id", BigId, nullable=False),
        sa.Column("requested_checkpoint", sa.String(length=32), nullable=False),
        sa.Column("checkpoint", sa.String(length=32), nullable=False),
        sa.Column("coverage", sa.String(32), nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("option_order", Json, nullable=False),
        sa.Column("prompt_text", sa.Text(), nullable=False),
        sa.Column("prompt_sha256", sa.String(length=64), nullable=False),
        sa.Column("decoding", Json, nullable=False),
        sa.Column("decoding_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_prompt_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["rendering_id"], ["rendering.id"], name=op.f("fk_prompt_rendering_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt")),
        sa.UniqueConstraint(
            "kind",
            "rendering_id",
            "question_id",
            "checkpoint",
            "prompt_sha256",
            "decoding_sha256",
            name="uq_prompt_identity",
        ),
    )
    op.create_index(op.f("ix_prompt_question_id"), "prompt", ["question_id"], unique=False)
    op.create_index(
        op.f("ix_prompt_rendering_id_question_id"),
        "prompt",
        ["rendering_id", "question_id"],
        unique=False,
    )
    op.create_table(
        "selection",
        sa.Column("id", BigId, nullable=False),
        sa.Column("study_version_id", BigId, nullable=False),
        sa.Column("question_id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("rendering_id", BigId, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("skipped", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_selection_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["rendering_id"], ["rendering.id"], name=op.f("fk_selection_rendering_id")
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_selection_series_id")),
        sa.ForeignKeyConstraint(
            ["study_version_id"], ["study_version.id"], name=op.f("fk_selection_study_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selection")),
        sa.UniqueConstraint(
            "study_version_id",
            "question_id",
            "series_id",
            "rendering_id",
            name=op.f("uq_selection_study_version_id_question_id_series_id_rendering_id"),
        ),
    )
    op.create_index(
        op.f("ix_selection_rendering_id_question_id"),
        "selection",
        ["rendering_id", "question_id"],
        unique=False,
    )
    op.create_index(op.f("ix_selection_series_id"), "selection", ["series_id"], unique=False)
    op.create_table(
        "generation",
        sa.Column("id", BigId, nullable=False),
        sa.Column("prompt_id", BigId, nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("checkpoint_id", BigId, nullable=True),
        sa.Column("engine", sa.String(length=32), nullable=True),
        sa.Column("versions", Json, nullable=True),
        sa.Column("dtype", sa.String(length=16), nullable=True),
        sa.Column("attention", sa.String(length=32), nullable=True),
        sa.Column("chat_text", sa.Text(), nullable=True),
        sa.Column("raw_output", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("generated_at", UtcDateTime, nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("claim_token", sa.String(length=32), nullable=True),
        sa.Column("claimed_until", UtcDateTime, nullable=True),
        sa.Column("is_claimed_alone", sa.Boolean(), nullable=False),
        sa.Column("is_suspect", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_generation_checkpoint_id")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name=op.f("fk_generation_prompt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
        sa.UniqueConstraint("prompt_id", "run", name=op.f("uq_generation_prompt_id_run")),
    )
    op.create_index(op.f("ix_generation_claim_token"), "generation", ["claim_token"], unique=False)
    op.create_index(
        op.f("ix_generation_state_due_at"), "generation", ["state", "due_at"], unique=False
    )
    op.create_table(
        "answer",
        sa.Column("id", BigId, nullable=False),
        sa.Column("generation_id", BigId, nullable=False),
        sa.Column("parse_status", sa.String(32), nullable=False),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("choice", sa.String(length=1), nullable=True),
        sa.Column("choice_text", sa.Text(), nullable=True),
        sa.Column("answered_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_answer_generation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("generation_id", name=op.f("uq_answer_generation_id")),
    )


def downgrade() -> None:
    op.drop_table("answer")
    op.drop_index(op.f("ix_generation_state_due_at"), table_name="generation")
    op.drop_index(op.f("ix_generation_claim_token"), table_name="generation")
    op.drop_table("generation")
    op.drop_index(op.f("ix_selection_series_id"), table_name="selection")
    op.drop_index(op.f("ix_selection_rendering_id_question_id"), table_name="selection")
    op.drop_table("selection")
    op.drop_index(op.f("ix_prompt_rendering_id_question_id"), table_name="prompt")
    op.drop_index(op.f("ix_prompt_question_id"), table_name="prompt")
    op.drop_table("prompt")
    op.drop_index(op.f("ix_rendering_state_due_at"), table_name="rendering")
    op.drop_index(op.f("ix_rendering_claim_token"), table_name="rendering")
    op.drop_table("rendering")
    op.drop_index(op.f("ix_reference_standard_question_id"), table_name="reference_standard")
    op.drop_table("reference_standard")
    op.drop_index(op.f("ix_instance_series_id_superseded_at"), table_name="instance")
    op.drop_index(op.f("ix_instance_association_token_received_at"), table_name="instance")
    op.drop_table("instance")
    op.drop_table("study_version")
    op.drop_index(op.f("ix_series_series_instance_uid"), table_name="series")
    op.drop_table("series")
    op.drop_index(op.f("ix_project_study_study_id"), table_name="project_study")
    op.drop_table("project_study")
    op.drop_index(op.f("ix_study_state"), table_name="study")
    op.drop_index(op.f("ix_study_patient_id"), table_name="study")
    op.drop_table("study")
    op.drop_table("worker")
    op.drop_table("question")
    op.drop_table("quarantined_instance")
    op.drop_table("project")
    op.drop_table("patient")
    op.drop_table("checkpoint")
    op.drop_index(op.f("ix_audit_event_occurred_at"), table_name="audit_event")
    op.drop_index(op.f("ix_audit_event_object_type_object_id"), table_name="audit_event")
    op.drop_table("audit_event")
    op.drop_index(op.f("ix_association_closed_at"), table_name="association")
    op.drop_table("association")
