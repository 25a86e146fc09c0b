"""Cases with what was said of them, as results are made of."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from medr1_pacs.records.judged import JudgedCase, JudgedProtocol, JudgedRead, JudgedReview
from medr1_pacs.records.review_words import PHASES, Arm, CaseKind, Phase, ProtocolState, ReadKind
from medr1_pacs.records.reviews import Judgement

OPTIONS = ("Opacity", "Effusion", "None of these")
POSITIVE = OPTIONS[:2]
GRADES = ("none", "mild", "severe")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ANNA, BEN, CARA = "Reader A", "Reader B", "Reader C"
Said = Sequence[str | tuple[str | None, int] | None]
"""Of each phase of a read: an option, one with a confidence, or None: it cannot be assessed."""


def make_review(phase: Phase, said: Any, version: int = 1, **fields: Any) -> JudgedReview:
    """Make a review of somebody who says an option, an option with a confidence, or None."""
    choice, confidence = said if isinstance(said, tuple) else (said, 80 if said else None)
    values: dict[str, Any] = {
        "review_id": 1,
        "phase": phase,
        "version": version,
        "judgement": Judgement(
            choice_text=choice,
            cannot_assess=None if choice else "motion",
            confidence=confidence,
        ),
        "reason": "a slip" if version > 1 else None,
        "is_after_reveal": False,
        "place": 1,
        "active_ms": 2_000,
        "wall_ms": 3_000,
        "locked_at": NOON,
        "record_sha256": "a" * 64,
    }
    return JudgedReview(**(values | fields))


def make_read(
    reader: str, arm: Arm, *said: Any, kind: ReadKind = ReadKind.FIRST, **fields: Any
) -> JudgedRead:
    """Make a read: what its reader says in each phase of the arm."""
    reviews = [make_review(phase, each) for phase, each in zip(PHASES[arm], said, strict=False)]
    values: dict[str, Any] = {"reader": reader, "account_id": ord(reader[-1]), "kind": kind}
    return JudgedRead(**(values | {"arm": arm, "reviews": reviews} | fields))


def make_case(number: int, truth: str | None, *reads: JudgedRead, **fields: Any) -> JudgedCase:
    """Make a case of a patient of its own."""
    values: dict[str, Any] = {
        "case_id": 100 + number,
        "number": number,
        "kind": CaseKind.CASE,
        "study": f"2.25.{number}",
        "patient": f"p{number}",
        "picture": "",
        "question_id": "finding",
        "question_version": 1,
        "options": OPTIONS,
        "positive": POSITIVE,
        "is_grade": False,
        "truth": truth,
        "model": None,
        "has_model": fields.get("model") is not None,
        "model_score": None,
        "checkpoint": "xray" if fields.get("model") is not None else "",
        "checkpoint_revision": "0123456789abcdef" if fields.get("model") is not None else "",
        "is_demo": False,
        "is_withdrawn": False,
        "reads": reads,
    }
    return JudgedCase(**(values | fields))


def make_judged(*cases: JudgedCase, **fields: Any) -> JudgedProtocol:
    """Make a protocol of these cases."""
    readers = sorted({read.reader for case in cases for read in case.reads})
    arms = {read.arm for case in cases for read in case.reads} - {Arm.ADJUDICATION}
    values: dict[str, Any] = {
        "protocol_id": 1,
        "name": "chest",
        "version": 1,
        "title": "",
        "state": ProtocolState.FINISHED,
        "started_at": NOON,
        "ended_at": NOON,
        "arms": sorted(arms, key=tuple(Arm).index),
        "readers": readers,
        "cases": cases,
        "planned_reads": 0,
        "done_reads": 0,
    }
    return JudgedProtocol(**(values | fields))


def draw_protocol(
    cases: int, readers: int, seed: int = 7, skills: Mapping[str, float] | None = None
) -> JudgedProtocol:
    """Draw a sequential protocol in which readers and model are mostly right, and readers follow
    the model now and then."""
    draw = random.Random(seed)
    made = []
    for number in range(1, cases + 1):
        truth = draw.choice(OPTIONS)
        model = truth if draw.random() < 0.75 else draw.choice(OPTIONS)
        reads = []
        for place in range(readers):
            skill = 0.65 + 0.2 * place / max(readers - 1, 1)
            is_sure = draw.random() < skill
            blind = truth if is_sure else draw.choice(OPTIONS)
            assisted = model if draw.random() < 0.35 else blind
            confidence = draw.randint(55, 100) if is_sure else draw.randint(5, 80)
            reads.append(
                make_read(
                    f"Reader {chr(65 + place)}",
                    Arm.SEQUENTIAL,
                    (blind, confidence),
                    (assisted, min(100, confidence + draw.randint(-5, 15) * (assisted == model))),
                )
            )
        score = draw.betavariate(6, 3) if model in POSITIVE else draw.betavariate(2, 6)
        made.append(make_case(number, truth, *reads, model=model, model_score=score))
    return make_judged(*made)
