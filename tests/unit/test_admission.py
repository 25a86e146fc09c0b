"""The allow list: who may connect, associate, and call which AE title."""

import pytest

from medr1_pacs.admission import (
    Rejection,
    find_rejection,
    known_called_titles,
    may_connect,
    parse_allowed_peers,
    plain_address,
)
from medr1_pacs.errors import SettingInvalid

KNOWN = frozenset({"MEDR1", "LUNG", "HEART"})
CALLING, CALLED = (
    Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED,
    Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED,
)


def reject(lines, calling, address, called="MEDR1"):
    return find_rejection(
        parse_allowed_peers(lines),
        KNOWN,
        calling_ae_title=calling,
        called_ae_title=called,
        address=address,
    )


@pytest.mark.parametrize(
    ("line", "calling", "address", "rejection"),
    [
        ("PACS1@10.1.2.3", "PACS1", "10.1.2.3", None),
        ("PACS1@10.1.2.3", "PACS2", "10.1.2.3", CALLING),
        ("PACS1@10.1.2.3", "pacs1", "10.1.2.3", CALLING),
        ("PACS1@10.1.2.3", "PACS1", "10.1.2.4", CALLING),
        ("*@10.1.0.0/16", "ANY", "10.1.99.1", None),
        ("*@10.1.0.0/16", "ANY", "10.2.0.1", CALLING),
        ("A@B@10.0.0.1", "A@B", "10.0.0.1", None),
        ("*@fd00::/8", "ANY", "fd00::1", None),
        ("*@10.0.0.0/8", "ANY", "fd00::1", CALLING),
        (" PACS1 @ 10.1.2.3 ", "PACS1", "10.1.2.3", None),
    ],
)
def test_a_line_of_the_allow_list_admits(line, calling, address, rejection):
    assert reject([line], calling, address) is rejection


@pytest.mark.parametrize("line", ["PACS1@10.1.2.3", "*@10.1.0.0/16", "*@::ffff:10.1.2.3"])
def test_an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer(line):
    assert reject([line], "PACS1", "::ffff:10.1.2.3") is None
    assert may_connect(parse_allowed_peers([line]), "::ffff:10.1.2.3")
    assert not may_connect(parse_allowed_peers([line]), "::ffff:10.99.2.3")
    assert plain_address("::ffff:10.1.2.3") == "10.1.2.3"


@pytest.mark.parametrize(
    ("line", "called", "rejection"),
    [
        ("PACS1@10.1.2.3", "HEART", None),  # bound to none: every known one
        ("PACS1@10.1.2.3", "WHATEVER", CALLED),
        ("PACS1@10.1.2.3", "lung", CALLED),
        ("PACS1@10.1.2.3->LUNG+HEART", "HEART", None),
        ("PACS1@10.1.2.3 -> LUNG + HEART", "LUNG", None),
        ("PACS1@10.1.2.3->LUNG", "HEART", CALLED),
        ("PACS1@10.1.2.3->LUNG", "MEDR1", CALLED),
        ("PACS1@10.1.0.0/16->LUNG", "LUNG", None),
        ("PACS1@10.9.9.9->LUNG", "LUNG", CALLING),
    ],
)
def test_a_peer_may_call_what_its_line_says(line, called, rejection):
    assert reject([line], "PACS1", "10.1.2.3", called) is rejection


def test_several_lines_of_a_peer_add_up():
    lines = ["PACS1@10.1.2.3->LUNG", "PACS1@10.1.0.0/16->HEART", "*@10.1.0.0/16->HEART"]

    assert reject(lines, "PACS1", "10.1.2.3", "LUNG") is None
    assert reject(lines, "PACS1", "10.1.2.3", "HEART") is None
    assert reject(lines, "PACS1", "10.1.2.3", "MEDR1") is CALLED
    assert reject(lines, "PACS2", "10.1.2.3", "LUNG") is CALLED


def test_without_a_list_this_machine_may_call_every_known_title():
    assert reject([], "ANY", "127.0.0.2", "LUNG") is None
    assert reject([], "ANY", "127.0.0.2", "WHATEVER") is CALLED
    assert reject([], "ANY", "10.1.2.3", "LUNG") is CALLING
    assert may_connect((), "::1")
    assert may_connect((), "::ffff:127.0.0.1")
    assert not may_connect((), "10.1.2.3")


def test_known_titles_are_our_own_those_of_rules_and_those_of_the_list():
    peers = parse_allowed_peers(["PACS1@10.1.2.3->LUNG", "PACS2@10.1.2.5"])

    titles = known_called_titles(peers, "MEDR1 ", rules=frozenset({"HEART"}))

    assert titles == {"MEDR1", "LUNG", "HEART"}


@pytest.mark.parametrize(
    "line",
    ["PACS1", "@10.0.0.1", "PACS1@host", "*@10.0.0.1/8", "", "PACS1@10.0.0.1->", "A\\B@10.0.0.1",
     "PACS1@10.0.0.1->LUNG+", "PACS1@10.0.0.1->*", "A_TITLE_TOO_LONG_@10.0.0.1",
     "PACS1@10.0.0.1->A_TITLE_TOO_LONG_", "PACS1@10.0.0.1->A\\B", "  @10.0.0.1"],
)  # fmt: skip
def test_a_line_of_the_allow_list_that_cannot_be_read_is_named(line):
    with pytest.raises(SettingInvalid, match=r"MEDR1_ALLOWED_PEERS.*AE_TITLE@ADDRESS"):
        parse_allowed_peers([line])


def test_nobody_may_take_the_title_of_a_peer_with_a_line_of_its_own():
    peers = parse_allowed_peers(["SCANNER@10.1.2.3->LUNG", "*@10.1.0.0/16->HEART"])
    known = known_called_titles(peers)

    def rejection(calling, address):
        return find_rejection(
            peers, known, calling_ae_title=calling, called_ae_title="HEART", address=address
        )

    assert rejection("OTHER", "10.1.9.9") is None
    assert rejection("SCANNER", "10.1.9.9") is Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED
