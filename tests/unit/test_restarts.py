"""A child that does not keep running is started again later each time."""

from __future__ import annotations

import pytest

from medr1_pacs.processes import DEVICE_BROKEN
from medr1_pacs.restarts import (
    DEVICE_STEADY_S,
    DEVICE_WAIT_MAX_S,
    STEADY_S,
    WAIT_MAX_S,
    RestartWaits,
)


@pytest.fixture
def waits() -> RestartWaits:
    return RestartWaits()


def test_the_wait_of_a_child_that_crashes_at_once_doubles_to_its_limit(waits):
    assert [waits.next_wait_s(1, 0.5) for _ in range(6)] == [2, 4, 8, 16, WAIT_MAX_S, WAIT_MAX_S]


def test_a_child_that_ran_for_a_while_is_started_again_at_once(waits):
    waits.next_wait_s(1, 0.5)

    assert waits.next_wait_s(1, STEADY_S + 1) == 1


def test_the_wait_for_a_broken_device_doubles_however_long_the_weights_took_to_load(waits):
    found = [waits.next_wait_s(DEVICE_BROKEN, 120) for _ in range(11)]

    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 256, DEVICE_WAIT_MAX_S, DEVICE_WAIT_MAX_S]


def test_a_crash_in_between_does_not_make_a_device_sound(waits):
    waits.next_wait_s(DEVICE_BROKEN, 120)
    waits.next_wait_s(1, 120)

    assert waits.next_wait_s(DEVICE_BROKEN, 120) == 2


def test_a_device_that_worked_for_ten_minutes_is_sound_again(waits):
    for _ in range(5):
        waits.next_wait_s(DEVICE_BROKEN, 120)

    assert waits.next_wait_s(DEVICE_BROKEN, DEVICE_STEADY_S + 1) == 1
