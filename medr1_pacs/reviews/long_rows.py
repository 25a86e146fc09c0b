"""The long table: a line a reader, case, question, phase and version, beside model and truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from medr1_pacs.records.judged import (
    JudgedCase,
    JudgedProtocol,
    JudgedRead,
    JudgedReview,
    LongRow,
)
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.changes import Change, classify
from medr1_pacs.reviews.figures import MODEL, TRUTH
from medr1_pacs.reviews.readings import EVALUATED

_EMPTY: JsonObject = dict.fromkeys(
    (
        "account_id", "review_id", "version", "choice", "choice_index", "is_positive", "is_right",
        "cannot_assess", "confidence", "score", "reasoning_grade", "reasoning_error", "comment",
        "reason", "is_after_reveal", "change", "followed_model", "place", "active_ms", "wall_ms",
        "locked_at", "record_sha256",
    )
) | {"reader": "", "read_kind": "", "arm": "", "flags": ""}  # fmt: skip


def list_long_rows(protocol: JudgedProtocol) -> Iterator[LongRow]:
    """Yield the lines case by case: truth, model, then each read in the order of its reviews."""
    for case in protocol.cases:
        of_case = _of_case(protocol, case)
        yield _row(of_case, _choice(case, case.truth), source=TRUTH, phase=TRUTH)
        model = _choice(case, case.model) | {"score": case.model_score}
        if case.has_model or case.is_withdrawn:
            yield _row(of_case, model, source=MODEL, phase=MODEL)
        for read in case.reads:
            for review in read.reviews:
                yield _row(of_case, _of_review(case, read, review))


def _row(*parts: JsonObject, **more: Any) -> LongRow:
    values = dict(_EMPTY)
    for part in (*parts, more):
        values |= part
    return LongRow(**values)


def _of_case(protocol: JudgedProtocol, case: JudgedCase) -> JsonObject:
    return {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "case": case.number,
        "case_kind": case.kind.value,
        "case_id": case.case_id,
        "study": case.study,
        "patient": case.patient,
        "question_id": case.question_id,
        "question_version": case.question_version,
        "picture": case.picture,
        "is_evaluated": case.is_evaluated,
        "withdrawn": case.is_withdrawn,
    }


def _choice(case: JudgedCase, choice: str | None) -> JsonObject:
    """Return what a choice is; without one it is right where a truth is known by no means."""
    is_known = case.truth is not None and not case.is_withdrawn
    return {
        "choice": choice,
        "choice_index": case.index(choice),
        "is_positive": case.calls_positive(choice),
        "is_right": choice == case.truth if is_known else None,
    }


def _of_review(case: JudgedCase, read: JudgedRead, review: JudgedReview) -> JsonObject:
    judgement, is_final = review.judgement, read.final(review.phase) is review
    counts = read.is_done and read.kind in EVALUATED
    is_evaluated = case.is_evaluated and counts and is_final
    return {
        **_choice(case, judgement.choice_text),
        "source": "adjudicator" if review.phase is Phase.ADJUDICATION else "reader",
        "reader": read.reader,
        "account_id": read.account_id,
        "phase": review.phase.value,
        "read_kind": read.kind.value,
        "arm": read.arm.value,
        "is_evaluated": is_evaluated,
        "review_id": review.review_id,
        "version": review.version,
        "cannot_assess": judgement.cannot_assess,
        "confidence": judgement.confidence,
        "score": _score(case, review),
        "flags": ";".join(judgement.flags),
        "reasoning_grade": judgement.reasoning_grade,
        "reasoning_error": judgement.reasoning_error,
        "comment": judgement.comment,
        "reason": review.reason,
        "is_after_reveal": review.is_after_reveal,
        **(_change(case, read, review) if is_evaluated else {}),
        "place": review.place,
        "active_ms": review.active_ms,
        "wall_ms": review.wall_ms,
        "locked_at": review.locked_at.astimezone(UTC).isoformat(),
        "record_sha256": review.record_sha256,
    }


def _score(case: JudgedCase, review: JudgedReview) -> float | None:
    is_positive = case.calls_positive(review.judgement.choice_text)
    confidence = review.judgement.confidence
    if is_positive is None or confidence is None:
        return None
    return float(confidence if is_positive else -confidence)


def _change(case: JudgedCase, read: JudgedRead, review: JudgedReview) -> JsonObject:
    """Return how an assisted review differs from the blind one of the same read."""
    before = read.final(Phase.BLIND)
    if review.phase is not Phase.ASSISTED or before is None:
        return {}
    first, second = before.judgement.choice_text, review.judgement.choice_text
    change = classify(first, second, case.truth)
    follows = change is not Change.SAME and second is not None and second == case.model
    return {"change": change.value, "followed_model": follows}
