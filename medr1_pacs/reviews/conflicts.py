"""Who may not read a protocol's studies, by what they do or did in another one.

    a plan, and the protocols that its people are or were in -> what is refused, what is warned of

Who has seen the model's side or the truth of a study under one question may know it under another:
protocols are compared by their studies, practice and controls included. What a panel says is true
is of a study under a question, and only there are questions compared too: not cases, since what of
a study is one may change with its question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from medr1_pacs.records.review_words import Arm, CaseKind, Part, ProtocolState
from medr1_pacs.records.reviews import ReadingPlan
from medr1_pacs.reviews.phases import adjudicated_phase, is_over
from medr1_pacs.reviews.protocols import ReadingProtocol

Asked = tuple[int, str]
"""Row of a study, and id of a question that is asked of it."""
_SHOWING = frozenset((Arm.SEQUENTIAL, Arm.ASSISTED))
_HIDING = frozenset((Arm.BLIND, Arm.SEQUENTIAL))


class Exposure(StrEnum):
    """Why somebody knows, or may come to know, what is hidden in one of two protocols."""

    OTHER_PART = "other_part"  #: they adjudicate in the one, and read in the other
    OTHER_SIGHT = "other_sight"  #: the one shows them what the other hides
    UNBLINDED = "unblinded"  #: they were let see the answers before the end
    LONG_UNBLINDED = "long_unblinded"  #: they were, and the washout has passed since
    OVER = "over"  #: it is over, and nothing of it is hidden from them: they may have looked


@dataclass(frozen=True, slots=True)
class Meeting:
    """How somebody meets a study in a protocol."""

    part: Part
    arms: tuple[Arm, ...]
    kinds: frozenset[CaseKind]
    """Of the study's cases there."""

    @property
    def is_evaluated(self) -> bool:
        """Whether what they say of it counts: of practice it does not."""
        return not self.kinds <= {CaseKind.PRACTICE}


@dataclass(frozen=True, slots=True)
class EarlierPerson:
    """What one of a protocol's people is or was in another one."""

    name: str
    part: Part
    unblinded_at: datetime | None
    judged: frozenset[Asked] = frozenset()
    """Of what they locked an answer there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierProtocol:
    """Another protocol of some of a protocol's people, running or over."""

    name: str
    """With its version: `chest 1`."""
    arms: tuple[Arm, ...]
    is_reference: bool
    state: ProtocolState
    ended_at: datetime | None
    """None: it is running."""
    cases: Mapping[Asked, frozenset[CaseKind]]
    """Why its cases are read, those of the studies that the new protocol is of."""
    people: tuple[EarlierPerson, ...]


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What stands against a protocol's people, a sentence each."""

    refusals: tuple[str, ...]
    warnings: tuple[str, ...]


def find_clash(one: Meeting, other: Meeting) -> Exposure | None:
    """Return why nobody meets a study in both ways at a time; None: they may."""
    if not _is_met(one) or not _is_met(other):
        return None
    if one.part is not other.part:
        return Exposure.OTHER_PART
    if one.part is Part.ADJUDICATOR:
        # What readers comment after the model may tell of it.
        spoils = adjudicated_phase(one.arms) is not adjudicated_phase(other.arms)
    else:
        spoils = _spoils(one, other) or _spoils(other, one)
    return Exposure.OTHER_SIGHT if spoils else None


def _is_met(meeting: Meeting) -> bool:
    """Whether they ever get to a case: neither controls nor practice are adjudicated."""
    return meeting.part is Part.READER or CaseKind.CASE in meeting.kinds


def _spoils(shown: Meeting, hidden: Meeting) -> bool:
    if not hidden.is_evaluated:
        return False
    tells_truth = CaseKind.PRACTICE in shown.kinds
    return tells_truth or bool(_SHOWING & {*shown.arms} and _HIDING & {*hidden.arms})


def find_exposure(
    earlier: Meeting,
    planned: Meeting,
    *,
    unblinded_at: datetime | None,
    ended_at: datetime | None,
    washout: timedelta,
    now: datetime,
) -> Exposure | None:
    """Return what somebody knows of a study by an earlier protocol, or would come to know.

    Parameters
    ----------
    unblinded_at
        When they were let see the answers before the end of the earlier protocol.
    ended_at
        When the earlier protocol was over; None: it is running.
    washout
        Of the planned protocol. It begins when they were let see answers; when they last looked at
        what is hidden no more, nobody knows.
    """
    if unblinded_at is None and ended_at is None:
        return find_clash(earlier, planned)
    if not planned.is_evaluated or not _is_met(planned):
        return None
    if unblinded_at is not None and (not washout or unblinded_at + washout > now):
        return Exposure.UNBLINDED
    return Exposure.LONG_UNBLINDED if ended_at is None else Exposure.OVER


def find_conflicts(
    protocol: ReadingProtocol,
    plan: ReadingPlan,
    earlier: Iterable[EarlierProtocol],
    *,
    now: datetime,
) -> Conflicts:
    """Return what stands against a protocol's people reading what is planned."""
    planned = _Planned.of(plan)
    refusals: list[str] = []
    warnings: list[str] = []
    for other in sorted(earlier, key=lambda each: each.name):
        refusals += _panel_conflicts(protocol, planned, other)
        for name, exposure, number in _exposures(protocol, planned, other, now):
            sentence = _SENTENCES[exposure].format(
                name=name, other=other.name, cases=_count(number)
            )
            (warnings if exposure in _WARNED else refusals).append(sentence)
    return Conflicts(
        tuple(sorted(refusals)), (*sorted(warnings), *_warn_of_questions(protocol, plan))
    )


_WARNED = (Exposure.LONG_UNBLINDED, Exposure.OVER)
_SENTENCES = {
    Exposure.OTHER_PART: (
        "{name} is in {other} too, and reads {cases} in one of the two and adjudicates in the "
        "other: name somebody else, take other cases, or wait until {other} is over"
    ),
    Exposure.OTHER_SIGHT: (
        "{name} is in {other} too, and one of the two shows of {cases} what the other hides: "
        "name somebody else, take other cases, or wait until {other} is over"
    ),
    Exposure.UNBLINDED: (
        "{name} was let see the answers of {cases} in {other}: name somebody else, take other "
        "cases, or set a washout, which begins when they were"
    ),
    Exposure.LONG_UNBLINDED: (
        "{name} may still look at the answers of {cases} in {other}: they were let see them, and "
        "when they last did, nobody knows; other cases or somebody else would make sure"
    ),
    Exposure.OVER: (
        "{name} may have seen what was said of {cases}: {other} is over, nothing of it is hidden "
        "any more, and when they last looked, nobody knows; other cases or somebody else would "
        "make sure"
    ),
}


def _count(number: int) -> str:
    return f"{number} of these cases"


def _exposures(
    protocol: ReadingProtocol,
    planned: _Planned,
    other: EarlierProtocol,
    now: datetime,
) -> Iterator[tuple[str, Exposure, int]]:
    """Yield (who, why, of how many of the planned cases)."""
    met = _kinds_of((study_id, kinds) for (study_id, _), kinds in other.cases.items())
    shared: Counter[tuple[frozenset[CaseKind], frozenset[CaseKind]]] = Counter()
    for study_id in planned.kinds.keys() & met.keys():
        shared[met[study_id], planned.kinds[study_id]] += planned.numbers[study_id]
    parts = dict.fromkeys(protocol.readers, Part.READER)
    parts |= dict.fromkeys(protocol.adjudicators, Part.ADJUDICATOR)
    for person in other.people:
        found: Counter[Exposure] = Counter()
        for (there, here), number in shared.items():
            exposure = find_exposure(
                Meeting(person.part, other.arms, there),
                Meeting(parts[person.name], protocol.arms, here),
                unblinded_at=person.unblinded_at,
                ended_at=other.ended_at,
                washout=timedelta(days=protocol.washout_days),
                now=now,
            )
            if exposure is not None:
                found[exposure] += number
        for exposure, number in found.items():
            yield person.name, exposure, number


@dataclass(frozen=True, slots=True)
class _Planned:
    """The cases of a plan, as they are looked up."""

    asked: Counter[Asked]
    """What is asked of which study -> how many cases it is."""
    kinds: Mapping[int, frozenset[CaseKind]]
    """Study -> the kinds of its cases."""
    numbers: Counter[int]
    """Study -> how many cases it has."""

    @classmethod
    def of(cls, plan: ReadingPlan) -> _Planned:
        candidates = [case.candidate for case in plan.cases]
        return cls(
            Counter((each.study_id, each.question_id) for each in candidates),
            _kinds_of((case.candidate.study_id, {case.kind}) for case in plan.cases),
            Counter(each.study_id for each in candidates),
        )


def _kinds_of(cases: Iterable[tuple[int, Collection[CaseKind]]]) -> dict[int, frozenset[CaseKind]]:
    """Return study -> the kinds of its cases."""
    found: dict[int, set[CaseKind]] = {}
    for study_id, kinds in cases:
        found.setdefault(study_id, set()).update(kinds)
    return {study_id: frozenset(kinds) for study_id, kinds in found.items()}


def _panel_conflicts(
    protocol: ReadingProtocol, planned: _Planned, other: EarlierProtocol
) -> Iterator[str]:
    """Readers of an evaluated arm never form its reference panel: who said what is true of a case
    does not read it for an evaluation, and who read it for one does not say what is true.

    Of a protocol that runs all of its cases count; of one that is over, what they judged.
    """
    if other.is_reference is protocol.reference:
        return
    if other.is_reference and other.state is ProtocolState.STOPPED:
        return  # it has stated nothing
    what = "read for an evaluation" if protocol.reference else "said the truth of"
    for person in other.people:
        judged = person.judged if is_over(other.state) else other.cases.keys()
        if number := sum(planned.asked[each] for each in judged):
            yield (
                f"{person.name} has {what} {_count(number)} in {other.name}: "
                "name somebody else, or other cases"
            )


def _warn_of_questions(protocol: ReadingProtocol, plan: ReadingPlan) -> Iterator[str]:
    if not protocol.needs_model:
        return
    questions: dict[int, set[str]] = {}
    for case in plan.cases:
        questions.setdefault(case.candidate.study_id, set()).add(case.candidate.question_id)
    if number := sum(len(asked) > 1 for asked in questions.values()):
        yield (
            f"{number} {'study is' if number == 1 else 'studies are'} read under several "
            "questions: who has seen the model's side under one may know it under another"
        )
