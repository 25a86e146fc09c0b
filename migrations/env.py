"""Alembic's entry: runs on the connection that `medr1_pacs.db.schema` hands over."""

from alembic import context

from medr1_pacs.db.tables import Base
from medr1_pacs.db.vault import VaultBase

METADATA = {"research": Base.metadata, "vault": VaultBase.metadata}

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA[context.config.attributes["branch"]],
    version_table=f"schema_version_{context.config.attributes['branch']}",
    compare_type=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
