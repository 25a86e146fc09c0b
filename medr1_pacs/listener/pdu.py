"""PDUs as far as they are looked at before pynetdicom sees them (PS3.8 9.3).

A peer states the length of a PDU in 32 bits: that is held against a limit before a byte is read.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER_BYTES = 6
"""PDU type, reserved, PDU length: in front of every PDU (PS3.8 9.3.1)."""

MAXIMUM_LENGTH_RECEIVED = 262_144
"""Bytes that we offer for the variable field of one P-DATA-TF (PS3.8 D.1); larger PDUs mean fewer
wake-ups an instance."""

_PDV_HEADER_BYTES = 6  # PS3.8 9.3.5.1 and E.2; some senders count the fragment without it
_P_DATA_TF_BYTES_MAX = MAXIMUM_LENGTH_RECEIVED + _PDV_HEADER_BYTES
# 128 contexts of 20 transfer syntaxes are 71,507 bytes; role selection and identities come on top.
_A_ASSOCIATE_RQ_BYTES_MAX = 1 << 20
_OTHER_BYTES_MAX = 1 << 16
_A_ASSOCIATE_RQ_FIXED_BYTES = 68  # PS3.8 Table 9-11, from Protocol-version to the variable items
_AE_TITLE_BYTES = 16


class PduType(IntEnum):
    """PS3.8 9.3.2 to 9.3.8."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


class AbortReason(IntEnum):
    """Reason/Diag. of an A-ABORT whose source is the service provider (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0x00
    UNRECOGNIZED_PDU = 0x01
    UNEXPECTED_PDU = 0x02
    INVALID_PDU_PARAMETER = 0x06


class PduRefused(Exception):
    """A PDU that is not read; `reason` is what the peer is told."""

    def __init__(self, message: str, reason: AbortReason) -> None:
        super().__init__(message)
        self.reason = reason


def check_header(header: bytes | bytearray, *, is_associated: bool) -> int:
    """Return the length in bytes of what follows a PDU's header.

    Raises
    ------
    PduRefused
        An unknown type, a length that nobody was offered, or anything but an A-ASSOCIATE-RQ before
        an association.
    """
    number, length = struct.unpack(">BxL", header)
    try:
        kind = PduType(number)
    except ValueError:
        raise PduRefused(f"PDU type {number:02X}H is none", AbortReason.UNRECOGNIZED_PDU) from None
    if not is_associated and kind is not PduType.A_ASSOCIATE_RQ:
        raise PduRefused(f"{kind.name} came before an A_ASSOCIATE_RQ", AbortReason.UNEXPECTED_PDU)
    if length > (limit := _length_max(kind, is_associated)):
        raise PduRefused(
            f"{kind.name} says {length} bytes, {limit} is the most",
            AbortReason.INVALID_PDU_PARAMETER,
        )
    return int(length)


def _length_max(kind: PduType, is_associated: bool) -> int:
    if kind is PduType.P_DATA_TF:
        return _P_DATA_TF_BYTES_MAX
    return _OTHER_BYTES_MAX if is_associated else _A_ASSOCIATE_RQ_BYTES_MAX


def read_titles(request: bytes | bytearray) -> tuple[str, str]:
    """Return called and calling AE title of a whole A-ASSOCIATE-RQ (PS3.8 Table 9-11).

    Leading and trailing spaces are not significant.

    Raises
    ------
    PduRefused
        It is too short to hold them.
    """
    if len(request) < HEADER_BYTES + _A_ASSOCIATE_RQ_FIXED_BYTES:
        raise PduRefused("A_ASSOCIATE_RQ is too short", AbortReason.INVALID_PDU_PARAMETER)
    called, calling = struct.unpack_from(f"{_AE_TITLE_BYTES}s{_AE_TITLE_BYTES}s", request, 10)
    return called.decode("latin-1").strip(" "), calling.decode("latin-1").strip(" ")


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxLxBBB", PduType.A_ASSOCIATE_RJ, 4, result, source, reason)


def encode_abort(reason: AbortReason) -> bytes:
    """Return an A-ABORT of the service provider (PS3.8 9.3.8)."""
    service_provider = 0x02
    return struct.pack(">BxLxxBB", PduType.A_ABORT, 4, service_provider, reason)
