"""The DICOM file format around a data set that is kept as received (PS3.10 section 7)."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from medr1_pacs.errors import InstanceUnreadable

IMPLEMENTATION_CLASS_UID = "2.25.231471903120745208311467201347985120937"
IMPLEMENTATION_VERSION_NAME = "MEDR1_PACS_0_1"

_PREFIX_OFFSET = 128
_VALUE_MAX_BYTES = 1024  # a UID has 64
# The VRs whose length has 32 bits (PS3.5 7.1.2).
_LONG_VRS = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
_MEDIA_STORAGE_SOP_CLASS_UID, _MEDIA_STORAGE_SOP_INSTANCE_UID = 0x0002, 0x0003
_TRANSFER_SYNTAX_UID, _SOURCE_AE_TITLE, _RECEIVING_AE_TITLE = 0x0010, 0x0016, 0x0018

# PS3.5 section 9.1 allows no leading zeros; senders do send them, and we never build a path from a
# UID, so only characters and length are checked.
_UID = re.compile(r"[0-9][0-9.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether a text has the characters and the length of a UID."""
    return bool(_UID.fullmatch(text))


def uid_name(uid: str) -> str:
    """Return what the standard calls a UID (PS3.6 Table A-1); one it does not know, as it is."""
    return str(UID(uid).name)


@dataclass(frozen=True, slots=True)
class FileMeta:
    """Who sent which instance in which encoding."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    called_ae_title: str


UNKNOWN_META = FileMeta(
    sop_class_uid="",
    sop_instance_uid="",
    transfer_syntax_uid="",
    calling_ae_title="",
    called_ae_title="",
)
"""Of a file that has none."""


def encode_file_meta(meta: FileMeta) -> bytes:
    """Return preamble, prefix and file meta information; the data set's bytes follow them."""
    elements = FileMetaDataset()
    elements.FileMetaInformationVersion = b"\x00\x01"
    elements.MediaStorageSOPClassUID = UID(meta.sop_class_uid)
    elements.MediaStorageSOPInstanceUID = UID(meta.sop_instance_uid)
    elements.TransferSyntaxUID = UID(meta.transfer_syntax_uid)
    elements.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    elements.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    elements.SourceApplicationEntityTitle = meta.calling_ae_title
    elements.SendingApplicationEntityTitle = meta.calling_ae_title
    elements.ReceivingApplicationEntityTitle = meta.called_ae_title
    encoded = DicomBytesIO()
    write_file_meta_info(encoded, elements, enforce_standard=True)
    return b"\x00" * 128 + b"DICM" + bytes(encoded.getvalue())


def read_file_meta(file: BinaryIO) -> tuple[FileMeta, int]:
    """Return the file meta information and the offset in bytes of the data set after it.

    Raises
    ------
    InstanceUnreadable
        The file is not in the DICOM file format, or its meta information is incomplete.
    """
    elements = _read_group_2(file)
    meta = FileMeta(
        sop_class_uid=_text(elements, _MEDIA_STORAGE_SOP_CLASS_UID),
        sop_instance_uid=_text(elements, _MEDIA_STORAGE_SOP_INSTANCE_UID),
        transfer_syntax_uid=_text(elements, _TRANSFER_SYNTAX_UID),
        calling_ae_title=_ae_title(elements, _SOURCE_AE_TITLE),
        called_ae_title=_ae_title(elements, _RECEIVING_AE_TITLE),
    )
    for name in ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"):
        if not is_uid(getattr(meta, name)):
            raise InstanceUnreadable(f"the file meta information has no usable {name}")
    return meta, file.tell()


def _read_group_2(file: BinaryIO) -> dict[int, bytes]:
    """Read preamble, prefix and the elements of group 2: element number -> value.

    They are Explicit VR Little Endian whatever the data set is (PS3.10 7.1); some programs write
    them as Implicit. Only the beginning of a long value is read. The file is left at the first
    element of the data set.
    """
    if file.read(_PREFIX_OFFSET + 4)[_PREFIX_OFFSET:] != b"DICM":
        raise InstanceUnreadable("not a DICOM file: the prefix DICM is missing at byte 128")
    elements: dict[int, bytes] = {}
    while True:
        start, head = file.tell(), file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            file.seek(start)
            return elements
        number, vr, length = struct.unpack_from("<2xH2sH", head)
        if not vr.isalpha():
            (length,) = struct.unpack_from("<4xI", head)
        elif vr in _LONG_VRS:
            length = int.from_bytes(file.read(4), "little")
        value = file.read(min(length, _VALUE_MAX_BYTES))
        if len(value) < min(length, _VALUE_MAX_BYTES):
            raise InstanceUnreadable("not a DICOM file: its meta information is damaged")
        file.seek(length - len(value), os.SEEK_CUR)
        elements[number] = value


def _ae_title(elements: Mapping[int, bytes], number: int) -> str:
    # Files of other programs say anything here; PS3.5 Table 6.2-1 has 16 characters for VR AE.
    return "".join(c for c in _text(elements, number) if c.isprintable())[:16]


def _text(elements: Mapping[int, bytes], number: int) -> str:
    return elements.get(number, b"").decode("latin-1").strip("\x00 ")
