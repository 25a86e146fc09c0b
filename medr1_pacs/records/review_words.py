"""The closed sets of words about readers, their protocols and their reviews."""

from __future__ import annotations

from enum import StrEnum


class Arm(StrEnum):
    """In which order a reader meets a case and the model's side of it."""

    BLIND = "blind"  #: the case alone, once
    SEQUENTIAL = "sequential"  #: the case alone, locked; then the model's side, and a final answer
    ASSISTED = "assisted"  #: the case with the model's side from the start
    ADJUDICATION = "adjudication"  #: the case with what its readers said, as Reader A, Reader B


class Phase(StrEnum):
    """What a reader knew of a case beside its pictures when a review was locked."""

    BLIND = "blind"  #: nothing
    ASSISTED = "assisted"  #: the model's choice and reasoning
    ADJUDICATION = "adjudication"  #: the choices of the readers who disagreed


PHASES: dict[Arm, tuple[Phase, ...]] = {
    Arm.BLIND: (Phase.BLIND,),
    Arm.SEQUENTIAL: (Phase.BLIND, Phase.ASSISTED),
    Arm.ASSISTED: (Phase.ASSISTED,),
    Arm.ADJUDICATION: (Phase.ADJUDICATION,),
}
"""Arm -> its phases, in order."""


class ProtocolState(StrEnum):
    """Where a reading protocol is."""

    STARTED = "started"  #: its cases are frozen; readers read
    FINISHED = "finished"  #: every planned read is locked: blinding is over
    STOPPED = "stopped"  #: somebody ended it early, with a reason: blinding is over


class Part(StrEnum):
    """What somebody is in a reading protocol."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"


class CaseKind(StrEnum):
    """Why a case is read."""

    CASE = "case"  #: to be evaluated
    CONTROL = "control"  #: hidden among the others: its truth is known, and it is reported apart
    PRACTICE = "practice"  #: before the first case, with feedback; never evaluated


class ReadKind(StrEnum):
    """Why somebody reads a case."""

    FIRST = "first"  #: for the first time, or in a crossover's first arm
    SECOND = "second"  #: in a crossover's second arm, after the washout
    REPEAT = "repeat"  #: planned once more after the washout: does a reader agree with themselves
    ADJUDICATION = "adjudication"  #: because its readers disagreed
    PRACTICE = "practice"  #: with feedback


class AssignmentState(StrEnum):
    """Where a planned read is."""

    PLANNED = "planned"  #: nobody has it open
    OPEN = "open"  #: somebody holds it, until a time unless something of it is locked
    DONE = "done"  #: every phase is locked
    DROPPED = "dropped"  #: it will not be read: its study was withdrawn, or its protocol stopped


class ReviewFlag(StrEnum):
    """What a reader says of a case besides the answer."""

    BAD_IMAGE = "bad_image"  #: too poor to judge by
    WRONG_QUESTION = "wrong_question"  #: it makes no sense about this case
    HALLUCINATED_FINDING = "hallucinated_finding"  #: the reasoning tells of what is not there
    TEXT_IN_IMAGE = "text_in_image"  #: something is written in the picture


class ReasoningError(StrEnum):
    """What is wrong with the model's reasoning, if anything is."""

    NONE = "none"
    PERCEPTION = "perception"  #: it describes what is not there, or misses what is
    LOCALIZATION = "localization"  #: it is there, and elsewhere
    KNOWLEDGE = "knowledge"  #: it is seen rightly, and taken for something else
    LOGIC = "logic"  #: the answer does not follow from what it says
    OFF_TOPIC = "off_topic"  #: it speaks of another question
