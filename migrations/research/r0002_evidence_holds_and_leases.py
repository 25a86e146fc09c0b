"""pixel hashes, one current instance a UID, what is held or set aside, leases.

Rows of the first schema keep what they say: a picture that was drawn before has no pixel hash.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

# Frozen here: history must not change when the types of the program do.
UtcDateTime = sa.DateTime(timezone=True)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CURRENT = sa.text("superseded_at IS NULL")
UNDRAWN = sa.text("pixels_sha256 IS NULL AND png_sha256 IS NULL")
DECIDED = sa.text("hold IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("held_until", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
        sa.UniqueConstraint("name", name=op.f("uq_lease_name")),
    )
    op.create_table(
        "set_aside",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=True),
        sa.Column("set_aside_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_aside")),
        sa.UniqueConstraint("name", name=op.f("uq_set_aside_name")),
    )
    op.add_column("worker", sa.Column("trouble", sa.Text(), nullable=True))
    op.add_column("quarantined_instance", sa.Column("resolved_at", UtcDateTime, nullable=True))
    op.create_index(
        op.f("ix_quarantined_instance_sop_instance_uid"),
        "quarantined_instance",
        ["sop_instance_uid"],
    )
    op.add_column(
        "study_version", sa.Column("missing", sa.Text(), nullable=False, server_default="")
    )
    _instances()
    _renderings()
    _generations()


def _instances() -> None:
    op.add_column("instance", sa.Column("hold", sa.String(length=32), nullable=True))
    # Two sweeps at once could leave two current instances of a UID: the newest stays.
    op.execute(
        "UPDATE instance SET superseded_at = indexed_at WHERE superseded_at IS NULL AND EXISTS ("
        "SELECT 1 FROM instance AS newer WHERE newer.sop_instance_uid = instance.sop_instance_uid "
        "AND newer.superseded_at IS NULL AND (newer.received_at > instance.received_at OR "
        "(newer.received_at = instance.received_at AND newer.id > instance.id)))"
    )
    op.create_index(
        "uq_instance_current",
        "instance",
        ["sop_instance_uid"],
        unique=True,
        postgresql_where=CURRENT,
        sqlite_where=CURRENT,
    )

    op.create_index(
        op.f("ix_instance_hold"),
        "instance",
        ["hold"],
        postgresql_where=DECIDED,
        sqlite_where=DECIDED,
    )


def _renderings() -> None:
    with op.batch_alter_table("rendering") as batch:
        batch.add_column(sa.Column("pixels_sha256", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("losses", sa.Integer(), nullable=False, server_default="0"))
        batch.drop_constraint(op.f("uq_rendering_instance_id_frame_number_recipe"), type_="unique")
        batch.create_unique_constraint(
            op.f("uq_rendering_instance_id_frame_number_recipe_pixels_sha256"),
            ["instance_id", "frame_number", "recipe", "pixels_sha256"],
        )
    op.create_index(op.f("ix_rendering_png_sha256"), "rendering", ["png_sha256"])
    op.create_index(
        "uq_rendering_undrawn",
        "rendering",
        ["instance_id", "frame_number", "recipe"],
        unique=True,
        postgresql_where=UNDRAWN,
        sqlite_where=UNDRAWN,
    )


def _generations() -> None:
    with op.batch_alter_table("generation") as batch:
        batch.add_column(sa.Column("losses", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("waits_for", sa.String(length=32), nullable=True))
        batch.add_column(
            sa.Column("is_ready", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch.add_column(sa.Column("png_sha256", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_generation_png_sha256"), "generation", ["png_sha256"])
    op.execute(
        "UPDATE generation SET waits_for = (SELECT prompt.checkpoint FROM prompt "
        "WHERE prompt.id = generation.prompt_id)"
    )
    picture = (
        "FROM prompt JOIN rendering ON rendering.id = prompt.rendering_id "
        "WHERE prompt.id = generation.prompt_id"
    )
    op.execute(
        f"UPDATE generation SET is_ready = EXISTS (SELECT 1 {picture} "  # noqa: S608 - our own text
        "AND rendering.state = 'rendered')"
    )
    # What was answered was shown the picture that its rendering holds.
    op.execute(
        f"UPDATE generation SET png_sha256 = (SELECT rendering.png_sha256 {picture}) "  # noqa: S608 - our own text
        "WHERE state IN ('generated', 'answered')"
    )
    with op.batch_alter_table("generation") as batch:
        batch.alter_column("waits_for", existing_type=sa.String(length=32), nullable=False)
        batch.drop_index(op.f("ix_generation_state_due_at"))
    op.create_index(
        op.f("ix_generation_state_waits_for_is_ready_due_at"),
        "generation",
        ["state", "waits_for", "is_ready", "due_at"],
    )


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
