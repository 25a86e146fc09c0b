"""What a protocol comes to on the studies that there are: its cases, and who reads which.

    candidates -> practice, controls, cases -> a read for each reader and case

The same protocol on the same candidates gives the same plan, whoever makes it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import Arm, CaseKind, ReadKind
from medr1_pacs.records.reviews import Candidate, PlannedCase, PlannedRead, ReadingPlan
from medr1_pacs.reviews.order import reader_order
from medr1_pacs.reviews.protocols import CASES_MAX, ReadingProtocol

MIXED = "answers of several question versions or checkpoints"
UNANSWERED = "not answered by a model, or not by now"
SAME_PATIENT = "another case is of the same patient"
PRACTISED = "its patient is in a practice case, whose truth is shown"
NOT_DRAWN = "more than the protocol takes"
_REVISION_SHOWN = 12
"""Characters of a checkpoint's revision: enough to tell it from others."""


def plan_reading(protocol: ReadingProtocol, candidates: Sequence[Candidate]) -> ReadingPlan:
    """Choose the cases of a protocol, and plan who reads which.

    Raises
    ------
    ProtocolRefused
        There are too few cases for what the protocol asks.
    """
    left_out: Counter[str] = Counter()
    usable = list(_usable(protocol, sorted(candidates, key=_place), left_out))
    practice, rest = _take_with_truth(protocol, usable, "practice", protocol.practice)
    # Practice shows what is true of a patient, whatever the study or the question.
    shown = {each.patient_id for each in practice}
    hidden = [each for each in rest if each.patient_id not in shown]
    if len(hidden) < len(rest):
        left_out[PRACTISED] += len(rest) - len(hidden)
    controls, rest = _take_with_truth(protocol, hidden, "controls", protocol.controls)
    others = _take_of_patients(protocol, rest, {each.patient_id for each in controls})
    if len(others) < len(rest):
        left_out[SAME_PATIENT] += len(rest) - len(others)
    drawn = _shuffled(protocol, "cases", others)
    if len(drawn) > (limit := protocol.cases or CASES_MAX):
        left_out[NOT_DRAWN] += len(drawn) - limit
        drawn = drawn[:limit]
    if not drawn:
        raise ProtocolRefused(
            "no case is left to read"
            + "".join(f"; {number} x {why}" for why, number in sorted(left_out.items()))
        )
    kinds = [
        *((CaseKind.PRACTICE, each) for each in practice),
        *((CaseKind.CONTROL, each) for each in controls),
        *((CaseKind.CASE, each) for each in drawn),
    ]
    # Numbered by their studies, so that a number tells nothing of why a case is read.
    kinds.sort(key=lambda pair: _place(pair[1]))
    cases = tuple(PlannedCase(n, kind, each) for n, (kind, each) in enumerate(kinds, start=1))
    return ReadingPlan(
        cases=cases, reads=tuple(_plan_reads(protocol, cases)), left_out=dict(left_out)
    )


def _place(candidate: Candidate) -> tuple[int, str, int]:
    return candidate.study_id, candidate.question_id, candidate.rendering_id or 0


def _usable(
    protocol: ReadingProtocol, candidates: Sequence[Candidate], left_out: Counter[str]
) -> Iterator[Candidate]:
    for each in candidates:
        if each.is_mixed:
            left_out[MIXED] += 1
        elif protocol.needs_model and each.answer is None:
            left_out[UNANSWERED] += 1
        else:
            yield each


def _take_of_patients(
    protocol: ReadingProtocol, candidates: Sequence[Candidate], taken: Collection[int] = ()
) -> list[Candidate]:
    """Draw a case of each patient that none is taken of, where the protocol wants one; else all."""
    if not protocol.one_a_patient:
        return list(candidates)
    drawn: dict[int, Candidate] = {}
    for each in _shuffled(protocol, "patients", candidates):
        if each.patient_id not in taken:
            drawn.setdefault(each.patient_id, each)
    return list(drawn.values())


def _shuffled(
    protocol: ReadingProtocol, purpose: str, candidates: Sequence[Candidate]
) -> list[Candidate]:
    def key(candidate: Candidate) -> bytes:
        text = "\n".join(map(str, (protocol.order_seed, purpose, *_place(candidate))))
        return hashlib.sha256(text.encode()).digest()

    return sorted(candidates, key=key)


def _take_with_truth(
    protocol: ReadingProtocol, candidates: Sequence[Candidate], field: str, number: int
) -> tuple[list[Candidate], list[Candidate]]:
    """Draw cases whose truth is known; returns them, and the others."""
    known = _take_of_patients(protocol, [each for each in candidates if each.truth is not None])
    if len(known) < number:
        raise ProtocolRefused(
            f"{field}: {number} cases with a known truth are needed, and there are {len(known)}; "
            "bring truths, or ask for fewer"
        )
    taken = _shuffled(protocol, field, known)[:number]
    keys = {each.key for each in taken}
    return taken, [each for each in candidates if each.key not in keys]


def _plan_reads(protocol: ReadingProtocol, cases: Sequence[PlannedCase]) -> Iterator[PlannedRead]:
    first_arm = protocol.arms[0]
    numbers = [case.number for case in cases if case.kind is CaseKind.CASE]
    controls = [case.number for case in cases if case.kind is CaseKind.CONTROL]
    for case in cases:
        if case.kind is CaseKind.PRACTICE:
            for reader in protocol.readers:
                yield PlannedRead(case.number, ReadKind.PRACTICE, first_arm, reader)
    if protocol.crossover is not None:
        for reader in protocol.readers:
            yield from _cross_over(protocol, reader, [*numbers, *controls])
        return
    by_all = [*controls, *_read_by_all(protocol, numbers)]
    shared = set(by_all)
    for number in sorted(shared):
        for reader in protocol.readers:
            yield PlannedRead(number, ReadKind.FIRST, first_arm, reader)
    for number in numbers:
        if number not in shared:
            for _ in range(protocol.reads or len(protocol.readers)):
                yield PlannedRead(number, ReadKind.FIRST, first_arm, None)
    repeatable = sorted(shared - set(controls))
    if len(repeatable) < protocol.repeats:
        raise ProtocolRefused(
            f"repeats: {protocol.repeats} are asked for, and all readers read "
            f"{len(repeatable)} cases; raise `overlap`, or ask for fewer"
        )
    for reader in protocol.readers:
        for number in reader_order(f"{protocol.order_seed}\nrepeats", reader, repeatable)[
            : protocol.repeats
        ]:
            yield PlannedRead(number, ReadKind.REPEAT, first_arm, reader)


def _read_by_all(protocol: ReadingProtocol, numbers: Sequence[int]) -> list[int]:
    if protocol.reads in (None, len(protocol.readers)):
        return list(numbers)
    count = round(protocol.overlap * len(numbers))
    # In the order of nobody: the name of no account is empty.
    return reader_order(f"{protocol.order_seed}\noverlap", "", numbers)[:count]


def _cross_over(
    protocol: ReadingProtocol, reader: str, numbers: Sequence[int]
) -> Iterator[PlannedRead]:
    """Give half of a reader's cases the one arm first, and the others the other."""
    first, second = protocol.arms
    ordered = reader_order(f"{protocol.order_seed}\ncrossover", reader, numbers)
    for place, number in enumerate(ordered):
        before, after = _in_turn(place, first, second)
        yield PlannedRead(number, ReadKind.FIRST, before, reader)
        yield PlannedRead(number, ReadKind.SECOND, after, reader)


def _in_turn(place: int, first: Arm, second: Arm) -> tuple[Arm, Arm]:
    return (first, second) if place % 2 == 0 else (second, first)


def warn_of_models(plan: ReadingPlan, versions: Mapping[int, int]) -> Iterator[str]:
    """Yield which questions' cases were answered by several checkpoints, or asked in several
    versions: a case is of one, and the figures are over all cases. Practice has no part in them.

    `versions`: row of a question -> its version.
    """
    by_question: dict[str, list[Candidate]] = {}
    for case in plan.cases:
        if case.kind is not CaseKind.PRACTICE:
            by_question.setdefault(case.candidate.question_id, []).append(case.candidate)
    for question_id, cases in sorted(by_question.items()):
        sides = [each.answer.side for each in cases if each.answer is not None]
        checkpoints = Counter((each.checkpoint, each.checkpoint_revision) for each in sides)
        if len(checkpoints) > 1:
            said = [
                (f"answered by {name} at {revision[:_REVISION_SHOWN]}", number)
                for (name, revision), number in sorted(checkpoints.items())
            ]
            is_told = len({name for name, _ in checkpoints}) == len(checkpoints)
            yield (
                f"{_say_counts(question_id, said)}: the model's figures are over all of them; "
                + ("filter by `checkpoint`" if is_told else "no filter tells revisions apart")
            )
        asked = Counter((versions[each.question_row], each.question_row) for each in cases)
        if len(asked) > 1:
            said = [(f"of its version {pair[0]}", number) for pair, number in sorted(asked.items())]
            yield (
                f"{_say_counts(question_id, said)}: the figures are over all of them; "
                "no filter tells versions apart"
            )


def _say_counts(question_id: str, said: Sequence[tuple[str, int]]) -> str:
    (what, number), *others = said
    verb = "case of {} is" if number == 1 else "cases of {} are"
    begun = f"{number} {verb.format(question_id)} {what}"
    return ", ".join([begun, *(f"{count} {other}" for other, count in others)])
