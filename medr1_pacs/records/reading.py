"""What of the service is recorded when somebody reads it, and in which way they did."""

from __future__ import annotations

from enum import StrEnum


class Reading(StrEnum):
    """The actions of audit events that tell of reading alone: nothing changed."""

    ANSWERS_QUERIED = "answers.queried"  #: looked for, counted or taken away as a file
    ANSWERS_LISTED = "answers.listed"  #: of the whole site, with real UIDs
    ANSWER_VIEWED = "answer.viewed"
    ACCURACY_QUERIED = "accuracy.queried"
    RESULTS_VIEWED = "reading.results_viewed"  #: of a reading protocol, on the page or as a file
    SNAPSHOT_VIEWED = "snapshot.viewed"  #: or its answers, or whether they are unchanged
    STUDIES_LISTED = "studies.listed"  #: of the whole site, with real UIDs
    STUDY_VIEWED = "study.viewed"  #: with real UIDs
    AUDIT_VIEWED = "audit.viewed"  #: the log itself


class How(StrEnum):
    """In which way something was read."""

    PAGE = "page"
    API = "api"
    PICTURE = "picture"  #: by the API, without its answer
    IMRMC = "imrmc"  #: the results of a reading protocol, as that program takes them
    CSV = "csv"  #: by page, API or command
    JSONL = "jsonl"
    SQLITE = "sqlite"
    COMMAND = "command"  #: on the terminal
    VERIFICATION = "verification"  #: that nothing changed, without the answers
