"""Alembic migrations: `research` and `vault`, one folder a database."""
