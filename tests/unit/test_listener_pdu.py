"""Which PDU is read at all (PS3.8 9.3)."""

import struct

import pytest

from medr1_pacs.listener.pdu import (
    AbortReason,
    PduRefused,
    check_header,
    encode_abort,
    encode_reject,
    read_titles,
)


def header(kind: int, length: int) -> bytes:
    return struct.pack(">BxL", kind, length)


@pytest.mark.parametrize(
    ("kind", "length", "is_associated"),
    [(0x01, 1 << 20, False), (0x04, 262_144, True), (0x05, 4, True), (0x07, 65_536, True)],
)
def test_a_pdu_up_to_its_limit_is_read(kind, length, is_associated):
    assert check_header(header(kind, length), is_associated=is_associated) == length


@pytest.mark.parametrize(
    ("kind", "length", "is_associated", "reason"),
    [
        (0x01, (1 << 20) + 1, False, AbortReason.INVALID_PDU_PARAMETER),
        (0x01, 0xFFFFFFFF, False, AbortReason.INVALID_PDU_PARAMETER),
        (0x04, 262_144 + 7, True, AbortReason.INVALID_PDU_PARAMETER),
        (0x04, 0xFFFFFFFF, True, AbortReason.INVALID_PDU_PARAMETER),
        (0x05, 65_537, True, AbortReason.INVALID_PDU_PARAMETER),
        (0x01, 65_537, True, AbortReason.INVALID_PDU_PARAMETER),
        (0x04, 100, False, AbortReason.UNEXPECTED_PDU),
        (0x00, 4, False, AbortReason.UNRECOGNIZED_PDU),
        (0x47, 0x45542F20, False, AbortReason.UNRECOGNIZED_PDU),  # `GET /`
        (0x08, 4, True, AbortReason.UNRECOGNIZED_PDU),
    ],
)
def test_a_pdu_that_nobody_was_offered_is_refused(kind, length, is_associated, reason):
    with pytest.raises(PduRefused) as refusal:
        check_header(header(kind, length), is_associated=is_associated)

    assert refusal.value.reason is reason


def test_titles_are_read_without_their_padding():
    fixed = struct.pack(">HH16s16s32x", 1, 0, b"MEDR1".ljust(16), b"  PACS 1".ljust(16))

    assert read_titles(header(0x01, len(fixed)) + fixed) == ("MEDR1", "PACS 1")


def test_a_request_too_short_for_titles_is_refused():
    with pytest.raises(PduRefused):
        read_titles(header(0x01, 60) + bytes(60))


def test_answers_are_encoded_as_the_standard_says():
    # PS3.8 Tables 9-21 and 9-26
    assert encode_reject(1, 1, 7).hex(" ") == "03 00 00 00 00 04 00 01 01 07"
    assert encode_abort(AbortReason.INVALID_PDU_PARAMETER).hex(" ") == (
        "07 00 00 00 00 04 00 00 02 06"
    )
