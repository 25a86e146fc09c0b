"""Why a study is where it is, in a sentence for the person who looks after the service. Pure."""

from __future__ import annotations

from datetime import datetime

from medr1_pacs.completion import PATIENCE_QUIET_TIMES
from medr1_pacs.records.operating import StudyRow, WaitingPrompts
from medr1_pacs.records.words import StudyState

_PLAN_MAX_S = 60.0
"""A plan takes seconds; one that is due for longer has nobody who makes it."""


def explain_waiting(study: StudyRow, *, now: datetime, quiet_s: float) -> str:
    """Say what a study waits for, or why it does not; empty where there is nothing to say."""
    sentences = [study.reason] if study.reason else []
    if study.state is StudyState.RECEIVING:
        sentences += _receiving(study, now, quiet_s)
    elif study.state is StudyState.COMPLETE and study.completed_at is not None:
        due_s = (now - study.completed_at).total_seconds()
        hint = ": is the sweep running?" if due_s > _PLAN_MAX_S else ""
        sentences.append(f"the plan of what to ask is due for {say_seconds(due_s)}{hint}")
    elif study.state is StudyState.ASKED:
        sentences += [_asked(prompts, now) for prompts in study.prompts]
    return "; ".join(sentences)


def _receiving(study: StudyRow, now: datetime, quiet_s: float) -> list[str]:
    is_patient = study.is_being_sent or study.set_aside > 0
    needed_s = quiet_s * (PATIENCE_QUIET_TIMES if is_patient else 1)
    so_far_s = max(0.0, (now - study.last_received_at).total_seconds())
    if so_far_s < needed_s:
        quiet = f"quiet for {say_seconds(so_far_s)} of {say_seconds(needed_s)}"
    else:
        quiet = (
            f"quiet for {say_seconds(so_far_s)}, which is enough: files that came before wait "
            "for their rows, or the sweep does not run"
        )
    sentences = [quiet]
    if study.is_being_sent:
        sentences.append("an association that sends it is open")
    if study.set_aside:
        sentences.append(f"files of it that are set aside: {study.set_aside}")
    return sentences


def _asked(prompts: WaitingPrompts, now: datetime) -> str:
    since = say_seconds((now - prompts.since).total_seconds())
    pictures = f", {prompts.not_ready} of them for their picture" if prompts.not_ready else ""
    return (
        f"{prompts.count} {'prompt waits' if prompts.count == 1 else 'prompts wait'} for "
        f"{prompts.checkpoint} for {since}{pictures}"
    )


def say_seconds(seconds: float) -> str:
    """Say how long something takes: `40 s`, `5 min`, `3 h`, `2 d`; never more exact than it is."""
    seconds = max(0.0, seconds)
    for unit, length_s, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
