from datetime import UTC, datetime

import pytest

from medr1_pacs.disclosure import shown_age, shown_date, shown_moment
from medr1_pacs.records.words import DatePolicy


@pytest.mark.parametrize(
    ("policy", "shown"),
    [(DatePolicy.NONE, None), (DatePolicy.YEAR, "2024"), (DatePolicy.SHIFTED, "2023-12-31")],
)
def test_a_date_is_shown_by_the_projects_policy(policy, shown):
    assert shown_date("20240117", policy, 17) == shown


@pytest.mark.parametrize("study_date", [None, "20241332", "0000", "00010101"])
def test_what_is_no_day_is_not_shown(study_date):
    assert shown_date(study_date, DatePolicy.SHIFTED, 17) is None


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (None, None),
        (0, 0),
        (89, 89),
        (90, None),
        (110, None),
    ],
)
def test_ages_over_89_are_not_shown(age, shown):
    assert shown_age(age) == shown


@pytest.mark.parametrize(
    ("policy", "shown"),
    [(DatePolicy.NONE, None), (DatePolicy.YEAR, "2024"), (DatePolicy.SHIFTED, None)],
)
def test_when_we_answered_tells_nobody_by_how_much_dates_are_moved(policy, shown):
    assert shown_moment(datetime(2024, 1, 17, 23, tzinfo=UTC), policy) == shown
