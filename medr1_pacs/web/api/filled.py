"""What a reader fills in on the reading page, as it comes: drafts, locks, amendments."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medr1_pacs.records.review_words import Phase, ReasoningError, ReviewFlag
from medr1_pacs.records.reviews import Judgement
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.judgements import GRADES, TEXT_MAX

_DAY_MS = 86_400_000


def _without_nul(text: str) -> str:
    """Return a text as it can be stored: PostgreSQL stores no NUL, and what is stored must be what
    was said. Half of a surrogate pair is refused by the type itself."""
    return text.replace("\x00", "")


Text = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(_without_nul)]


class Entries(BaseModel):
    """What the panel of the reading page has fields for."""

    model_config = ConfigDict(extra="forbid")

    choice_text: Annotated[str, Field(max_length=1_000), AfterValidator(_without_nul)] | None = None
    cannot_assess: Text | None = None
    confidence: Annotated[int, Field(ge=0, le=100)] | None = None
    flags: list[ReviewFlag] = Field(default_factory=list, max_length=100)
    reasoning_grade: Annotated[int, Field(ge=GRADES.start, lt=GRADES.stop)] | None = None
    reasoning_error: ReasoningError | None = None
    comment: Text | None = None


class Begun(Entries):
    """What is filled in of a phase that is not locked: nothing of it is needed yet."""

    phase: Phase | None = None


class Draft(BaseModel):
    """What a reader has filled in so far."""

    model_config = ConfigDict(extra="forbid")

    draft: Begun
    active_ms: Annotated[int, Field(ge=0, le=_DAY_MS)]


class Filled(Entries):
    """What a reader says of a case."""

    phase: Phase

    def judgement(self) -> Judgement:
        """Return it as it is locked: without empty texts, each flag once."""
        return Judgement(
            choice_text=self.choice_text or None,
            cannot_assess=_text(self.cannot_assess),
            confidence=self.confidence,
            flags=tuple(sorted(set(self.flags))),
            reasoning_grade=self.reasoning_grade,
            reasoning_error=self.reasoning_error,
            comment=_text(self.comment),
        )


class Locking(Filled):
    """What is locked of the running phase."""

    active_ms: Annotated[int, Field(ge=0, le=_DAY_MS)]
    goes_on: bool = False
    """Open the next case at once, where nothing is left to be shown of this one."""


class Amending(Filled):
    """What takes the place of a locked answer."""

    reason: Text


def draft_to_json(draft: JsonObject | None) -> JsonObject | None:
    """Return a draft that the panel can take; one that an earlier release kept of something else
    is gone."""
    try:
        return Begun.model_validate(draft).model_dump(mode="json", exclude_unset=True)
    except ValidationError:
        return None


def _text(text: str | None) -> str | None:
    return (text or "").strip() or None
