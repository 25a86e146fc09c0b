"""The DICOM file format around a data set that is kept as received (PS3.10 section 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from medr1_pacs.errors import InstanceUnreadable

IMPLEMENTATION_CLASS_UID = "2.25.231471903120745208311467201347985120937"
IMPLEMENTATION_VERSION_NAME = "MEDR1_PACS_0_1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"

# PS3.5 section 9.1 allows no leading zeros; senders do send them, and we never build a path from a
# UID, so only characters and length are checked.
_UID = re.compile(r"[0-9][0-9.]{0,63}")


def is_uid(text: str) -> bool:
    """Whether a text has the characters and the length of a UID."""
    return bool(_UID.fullmatch(text))


@dataclass(frozen=True, slots=True)
class FileMeta:
    """Who sent which instance in which encoding."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    called_ae_title: str


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


def read_file_meta(path: Path) -> tuple[FileMeta, int]:
    """Return the file meta information and the offset in bytes of the data set after it.

    Raises
    ------
    InstanceUnreadable
        The file is not in the DICOM file format, or its meta information is incomplete.
    """
    with path.open("rb") as file:
        try:
            read_preamble(file, force=False)
            meta = _file_meta(_read_file_meta_info(file))
        except OSError:
            raise
        except Exception as error:  # whatever a parser makes of damaged bytes (struct.error, ...)
            raise InstanceUnreadable(
                "not a DICOM file: the prefix DICM is missing at byte 128 or its meta "
                "information is damaged"
            ) from error
        offset = file.tell()
    for name in ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"):
        if not is_uid(getattr(meta, name)):
            raise InstanceUnreadable(f"the file meta information has no usable {name}")
    return meta, offset


def _file_meta(elements: pydicom.Dataset) -> FileMeta:
    return FileMeta(
        sop_class_uid=_text(elements, "MediaStorageSOPClassUID"),
        sop_instance_uid=_text(elements, "MediaStorageSOPInstanceUID"),
        transfer_syntax_uid=_text(elements, "TransferSyntaxUID"),
        calling_ae_title=_ae_title(elements, "SourceApplicationEntityTitle"),
        called_ae_title=_ae_title(elements, "ReceivingApplicationEntityTitle"),
    )


def _ae_title(elements: pydicom.Dataset, keyword: str) -> str:
    # Files of other programs say anything here; PS3.5 Table 6.2-1 has 16 characters for VR AE.
    return "".join(c for c in _text(elements, keyword) if c.isprintable())[:16]


def _text(elements: pydicom.Dataset, keyword: str) -> str:
    value = elements.get(keyword)
    return str(value).strip("\x00 ") if value is not None else ""
