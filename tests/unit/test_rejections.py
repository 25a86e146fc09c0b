"""A flood cannot fill the log."""

import logging

from medr1_pacs.listener.rejections import RejectionLog


def test_of_many_rejections_one_line_a_second_is_logged_with_their_number(caplog):
    now = [0.0]
    log = RejectionLog(clock=lambda: now[0])

    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            log.note("not listed", f"10.0.0.{number % 10}")
        now[0] = 1.5
        log.flush()
        log.flush()

    assert [(r.action, r.peer_address, r.count) for r in caplog.records] == [
        ("reject", "10.0.0.0", 1),
        ("reject", "10.0.0.9", 999),
    ]


def test_another_reason_has_a_line_of_its_own(caplog):
    log = RejectionLog(clock=lambda: 0.0)

    with caplog.at_level(logging.WARNING):
        log.note("not listed", "10.0.0.1")
        log.note("unknown title", "10.0.0.2", titles="'A' called 'B'")

    assert caplog.messages == ["rejected: not listed", "rejected: unknown title: 'A' called 'B'"]
