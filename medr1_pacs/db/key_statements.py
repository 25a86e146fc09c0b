"""By which each key of the audit log vouches for the next."""

from __future__ import annotations

from sqlalchemy.orm import Session

from medr1_pacs.audit.keys import statements_to
from medr1_pacs.audit.notes import VerifierKey
from medr1_pacs.db.sealing import find_told


def list_key_statements(session: Session, key: VerifierKey) -> list[str]:
    """Return what leads to a key, the first first: of all time, so that whoever trusts an earlier
    one is led to it, whatever an export is as of."""
    told = [event.new_value for event in reversed(find_told(session, "audit", "log.key_rotated"))]
    statements = (new.get("statement") for new in told if isinstance(new, dict))
    return statements_to(key, (each for each in statements if isinstance(each, str)))
