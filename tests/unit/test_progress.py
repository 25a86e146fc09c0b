"""A process is hung when it changes nothing while the database answers, by nobody's wall clock."""

from __future__ import annotations

import pytest

from medr1_pacs.processes import HUNG_S, START_MAX_S
from medr1_pacs.progress import GAP_MAX_S, Progress

CHECK_S = 10.0


class Checks:
    """Feeds a `Progress` as its supervisor does: one look each ten seconds."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.now_s = 1000.0

    def look(self, heartbeats, *, times=1, after_s=CHECK_S) -> list[int]:
        """Look again and again; returns which are hung after the last look."""
        hung: list[int] = []
        for _ in range(times):
            self.now_s += after_s
            hung = self.progress.observe(self.now_s, heartbeats)
        return hung


@pytest.fixture
def checks() -> Checks:
    return Checks()


def looks(seconds: float) -> int:
    """How many looks it takes until so many seconds were counted; the first counts none."""
    return int(seconds / CHECK_S) + 1


def test_a_process_that_changes_nothing_for_a_minute_is_hung(checks):
    assert checks.look({7: "a"}, times=looks(HUNG_S) - 1) == []
    assert checks.look({7: "a"}) == [7]


def test_a_process_whose_heartbeat_changes_is_not_hung(checks):
    assert not any(checks.look({7: beat}) for beat in range(50))


def test_a_heartbeat_that_goes_back_is_progress_too(checks):
    assert not any(checks.look({7: beat}) for beat in range(50, 0, -1))


def test_only_the_one_that_stopped_is_hung_while_the_others_beat(checks):
    hung = [checks.look({7: "stopped", 8: beat}) for beat in range(looks(HUNG_S))]

    assert hung[-1] == [7]


def test_time_without_an_answer_of_the_database_does_not_count(checks):
    checks.look({7: "a"}, times=3)

    assert checks.look(None, times=60) == []
    assert checks.look({7: "a"}) == []


def test_an_outage_does_not_count_even_between_two_looks_that_were_answered(checks):
    checks.look({7: "a"}, times=3)

    # the look in between hung for ten minutes, and was never answered
    assert checks.look({7: "a"}, after_s=600) == []


def test_a_suspend_counts_no_more_than_its_look(checks):
    checks.look({7: "a"}, times=3)

    assert checks.look({7: "a"}, after_s=86_400) == []
    assert checks.look({7: "b"}) == []


def test_a_look_that_is_always_slow_still_finds_who_hangs(checks):
    times = int(HUNG_S / GAP_MAX_S) + 1

    assert checks.look({7: "a"}, times=times, after_s=60) == [7]


def test_a_first_heartbeat_may_take_longer(checks):
    limit_s = HUNG_S + START_MAX_S

    assert checks.look({7: None}, times=looks(limit_s) - 1) == []
    assert checks.look({7: None}) == [7]


def test_after_its_first_heartbeat_a_process_has_no_more_time_than_others(checks):
    checks.look({7: None}, times=3)
    checks.look({7: "a"})

    assert checks.look({7: "a"}, times=looks(HUNG_S) - 1) == [7]


def test_a_row_that_vanishes_is_no_progress(checks):
    checks.look({7: "a"}, times=4)

    assert checks.look({7: None}, times=3) == [7]


def test_a_process_with_the_id_of_one_that_ended_starts_anew(checks):
    checks.look({7: "a"}, times=looks(HUNG_S) - 1)
    checks.progress.forget(7)

    assert checks.look({7: None}) == []


def test_a_process_that_was_not_looked_at_is_forgotten(checks):
    checks.look({7: "a"}, times=looks(HUNG_S) - 1)
    checks.look({})

    assert checks.look({7: "a"}) == []
