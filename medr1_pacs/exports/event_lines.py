"""The events of an export, a line of JSON each: what is shown, and of the rest the commitment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from medr1_pacs.audit.canonical import canonical_text, commit, field_salt
from medr1_pacs.audit.events import Event

_HIDDEN = ("instance.", "patient.", "withdrawal.", "account.", "study.withdrawn")
"""Events whose values have hashes of received files, names of people, or keys of other projects."""
_NOBODY = ("service", "operator")
_SHOWN = ("account.role_given", "account.role_removed")


def event_line(seq: int, event: Event, *, shows_times: bool, shows_reasons: bool) -> str:
    """Return an event as a line: what is shown with its salt, and of the rest the commitment."""
    salt, action = event.salt, event.action
    shows_told = not action.startswith(_HIDDEN) or action in _SHOWN
    reason = event.reason
    if event.actor in _NOBODY:
        actor = f'["{field_salt(salt, "actor")}","{event.actor}"]'
    else:
        actor = f'"{commit(salt, "actor", event.actor)}"'
    at = _shown(salt, "at", event.at) if shows_times else _hidden(salt, "at", event.at)
    told = _shown(salt, "told", event.told) if shows_told else _hidden(salt, "told", event.told)
    if reason is None:
        why = f'["{field_salt(salt, "reason")}",null]'
    elif shows_reasons:
        why = _shown(salt, "reason", reason)
    else:
        why = _hidden(salt, "reason", reason)
    account = "null" if event.account_id is None else event.account_id
    object_id = "null" if event.object_id is None else event.object_id
    scope = canonical_text([event.study_id, event.project_id])
    record = "null" if event.record is None else f'"{event.record}"'
    return (
        f'{{"seq":{seq},"event":{event.event_id},"action":{_text(action)},'
        f'"object":[{_text(event.object_type)},{object_id}],"scope":{scope},'
        f'"account":{account},"record":{record},"actor":{actor},"at":{at},"told":{told},"reason":{why}}}\n'
    )


def _shown(salt: str, name: str, value: Any) -> str:
    return f'["{field_salt(salt, name)}",{canonical_text(value)}]'


def _hidden(salt: str, name: str, value: Any) -> str:
    return f'"{commit(salt, name, value)}"'


@lru_cache(maxsize=256)
def _text(word: str) -> str:
    return canonical_text(word)
