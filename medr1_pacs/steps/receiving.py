"""receive -> store: keep one instance as it came, from the network or from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medr1_pacs.errors import InstanceUnreadable, SourceUnreadable
from medr1_pacs.part10 import (
    FileMeta,
    encode_file_meta,
    is_uid,
    read_file_meta,
)
from medr1_pacs.storage.instances import NO_ASSOCIATION, InstanceStore, StoredName
from medr1_pacs.transfer_syntaxes import ACCEPTED_TRANSFER_SYNTAXES

_CHUNK_BYTES = 1 << 20


def receive_instance(
    store: InstanceStore,
    meta: FileMeta,
    dataset: bytes | memoryview,
    *,
    association_token: str = NO_ASSOCIATION,
) -> StoredName:
    """Keep a data set durably under the UIDs of its command.

    Raises
    ------
    InstanceUnreadable
        A UID of the command is not one, or there is no data set.
    StorageFull, StorageUnavailable
        As `InstanceStore.put` says; nothing was kept.
    """
    for name in ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"):
        if not is_uid(getattr(meta, name)):
            raise InstanceUnreadable(f"{name} is not a UID")
    if not dataset:
        raise InstanceUnreadable("the data set is empty")
    return store.put([encode_file_meta(meta), dataset], association_token=association_token)


def ingest_file(store: InstanceStore, path: Path, *, called_ae_title: str) -> StoredName:
    """Keep an instance from a file, as if its file meta's sender had sent it.

    Raises
    ------
    InstanceUnreadable
        The file is no DICOM instance, or its transfer syntax is one we do not keep.
    SourceUnreadable
        The file cannot be read.
    StorageFull, StorageUnavailable
        As `InstanceStore.put` says; nothing was kept.
    """
    with _named_source_failures(), path.open("rb") as file:
        meta, _ = read_file_meta(file)
        _check_transfer_syntax(UID(meta.transfer_syntax_uid))
        own = replace(
            meta,
            calling_ae_title=meta.calling_ae_title or "FILE",
            called_ae_title=called_ae_title,
        )
        return store.put(_parts(encode_file_meta(own), file))


def _check_transfer_syntax(transfer_syntax_uid: UID) -> None:
    if transfer_syntax_uid in ACCEPTED_TRANSFER_SYNTAXES:
        return
    is_deflated = transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    raise InstanceUnreadable(
        f"the transfer syntax {transfer_syntax_uid.name} is not accepted; convert it "
        + ("with `dcmconv +te IN OUT`" if is_deflated else "to Explicit VR Little Endian")
    )


def _parts(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield head
    # Named here: the writer that consumes this would take it for a failure of its own disk.
    with _named_source_failures():
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def _named_source_failures() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceUnreadable(f"it cannot be read: {error.strerror}") from error
