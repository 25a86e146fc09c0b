"""The events of an export, a line of JSON each: what is shown, and of the rest the commitment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from medr1_pacs.audit.canonical import canonical_text, commit, field_salt
from medr1_pacs.audit.events import Event

TOLD_IS_SHOWN = frozenset(
    {
        "account.role_given", "account.role_removed", "accuracy.queried", "answer.adopted",
        "adjudication.planned", "answer.parsed", "answer.viewed", "answers.queried",
        "case.frozen", "case.withdrawn", "checkpoint.adopted",
        "checkpoint.registered", "export.downloaded", "export.removed", "export.requested",
        "generation.failed", "generation.generated", "log.key_rotated", "log.restarted",
        "project.exported", "project_member.adopted", "protocol.finished", "protocol.started",
        "protocol.stopped", "protocol.unblinded", "prompt.created", "prompt.kept",
        "prompt.withdrawn", "question.adopted", "question.registered", "read.dropped",
        "read.opened", "read.planned", "read.released",
        "reading.results_viewed",
        "reading_case.adopted", "reference.derived",
        "reference.imported", "reference.stated", "reference.superseded",
        "reference_standard.adopted", "reference_statement.adopted", "rendering.failed",
        "rendering.lost", "rendering.rendered", "rendering.succeeded", "review.adopted",
        "review.amended", "review.locked", "snapshot.viewed",
        "study.created", "study.planned", "study.project_added", "study.prompts_withdrawn",
        "study.reopened", "study.retried", "study.state_changed",
    }
)  # fmt: skip
"""Events whose values are words of ours, numbers, and hashes of what the project has; those of any
other event stay hidden."""
TOLD_IS_HIDDEN = frozenset(
    {
        # names of people, where they are, and what their programs may do
        "account.added", "account.adopted", "account.closed", "account.link_made",
        "account.link_used", "account.password_set", "account.reopened", "account.sign_in_failed",
        "account.signed_in", "account.signed_out", "api_token.added", "api_token.revoked",
        # hashes of received files, and who sent them
        "instance.accepted", "instance.current_again", "instance.held", "instance.quarantined",
        "instance.refused", "instance.repaired", "instance.stored", "instance.turned_away",
        "quarantine.dropped", "quarantine.retried", "quarantine.usable",
        # about whom somebody asked
        "patient.re_identification_failed", "patient.re_identified",
        # keys of studies that are those of every project
        "study.project_withdrawn", "study.withdrawn", "withdrawal.finished",
        "withdrawal.requested",
        # hashes of a few values, which can be guessed
        "study.answers_changed", "study.routed_otherwise", "study.selected_otherwise",
        # texts that somebody typed, and roles of the database
        "project.declared", "project.research_granted", "project.research_revoked",
        "snapshot.made",
        # of the whole site
        "answers.listed", "audit.viewed", "studies.listed", "study.viewed",
    }
)  # fmt: skip
"""Events of which it was decided that their values stay hidden, and why."""
_NOBODY = ("service", "operator")


def event_line(seq: int, event: Event, *, shows_times: bool, shows_reasons: bool) -> str:
    """Return an event as a line: what is shown with its salt, and of the rest the commitment."""
    salt, action = event.salt, event.action
    shows_told = action in TOLD_IS_SHOWN
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
