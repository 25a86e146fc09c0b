"""guards of the audit log: no row is replaced, and no event put in that cannot be hashed."""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None

# Table -> what is there already, in words of SQLite. A trigger sees -1 where SQLite chooses the id:
# an event that somebody put in as number -1 must keep no other out.
REPLACED = {
    "audit_event": "NEW.id <> -1 AND id = NEW.id",
    "audit_leaf": "seq = NEW.seq OR event_id = NEW.event_id",
    "audit_head": "NEW.id <> -1 AND id = NEW.id OR origin = NEW.origin AND size = NEW.size",
}
# Constraint -> what holds for every event of ours: 16 bytes as hex digits; a time that Python can
# read in any time zone.
CHECKS = {
    "salt": "salt ~ '^[0-9a-f]{32}$'",
    "occurred_at": "occurred_at >= '1000-01-01 00:00:00+00' "
    "AND occurred_at < '9999-01-01 00:00:00+00'",
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table, is_there in REPLACED.items():
            # INSERT OR REPLACE deletes what it replaces, and no trigger of DELETE sees it.
            op.execute(
                f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 - ours
                f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {is_there}) "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
            )
        return
    for name, check in CHECKS.items():
        breaks = f"SELECT EXISTS (SELECT 1 FROM audit_event WHERE NOT ({check}))"  # noqa: S608 - ours
        # Who put in such rows before must not keep a site from its upgrade: it then holds from now
        # on, and `medr1-pacs audit verify --database` says which they are.
        not_valid = "NOT VALID" if op.get_bind().scalar(sa.text(breaks)) else ""
        op.execute(
            f"ALTER TABLE audit_event ADD CONSTRAINT ck_audit_event_{name} "
            f"CHECK ({check}) {not_valid}"
        )


def downgrade() -> None:
    raise NotImplementedError("going back is restoring the backup that was made before the upgrade")
