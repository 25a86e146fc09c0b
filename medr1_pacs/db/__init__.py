"""The research database and the identity vault: tables, sessions, and queries by noun.

SQLAlchemy stays in this package; what leaves it are records and plain values.
"""
