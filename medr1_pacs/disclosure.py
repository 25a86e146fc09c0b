"""export: what research is shown of when and how old; pure.

A project says how it shows dates. Of when we answered no more than the year is shown: a study that
is asked about on the day it was acquired would give its date away.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from medr1_pacs.records.words import DatePolicy

AGE_MAX = 89
"""Oldest age in years that is shown; above it few people share one (45 CFR 164.514(b)(2)(i)(C))."""
BAND_YEARS = 10


def shown_date(study_date: str | None, policy: DatePolicy, shift_days: int) -> str | None:
    """Return a DICOM date (`20240117`) as a project shows it: `2024`, `2023-11-02`, or None.

    One that is no day of the calendar is not shown.
    """
    if study_date is None:
        return None
    try:
        day = datetime.strptime(study_date, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None
    return _shown(day, policy, shift_days)


def shown_moment(moment: datetime, policy: DatePolicy) -> str | None:
    """Return when we did something as a project shows it: the year, or None.

    Shifted, it would tell who saw it happen by how many days the patient's dates are moved.
    """
    return f"{moment.year:04}" if policy is DatePolicy.YEAR else None


def _shown(day: date, policy: DatePolicy, shift_days: int) -> str | None:
    if policy is DatePolicy.NONE:
        return None
    if policy is DatePolicy.YEAR:
        return f"{day.year:04}"
    try:
        return (day - timedelta(days=shift_days)).isoformat()
    except OverflowError:  # the first year of the calendar
        return None


def shown_age(age_years: int | None) -> int | None:
    """Return an age in years; None above 89, which `age_band` tells from unknown."""
    return age_years if age_years is None or age_years <= AGE_MAX else None
