"""show: the pixels that a reader gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

import pydicom
from pydicom import Dataset

from medr1_pacs.records.planned import VoiWindow
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.rendering import ReaderFrame, build_reader_frame
from medr1_pacs.steps.rendering import Decoder
from medr1_pacs.storage.instances import InstanceStore, StoredName

_VALUE_MAX_BYTES = 1 << 20
"""A longer value of a header is read when it is asked for: a private element may hold anything."""
_OPENED_MAX = 16
"""How many instances stay open: as many multi-frame objects are read through at the same time."""


def show_frame(
    instances: InstanceStore,
    decoder: Decoder,
    shown: ShownFrame,
    presets: Mapping[str, VoiWindow],
) -> ReaderFrame:
    """Return one frame as a reader's browser windows it.

    Every pixel that a reader gets comes from here: what must not be seen (a mask over text in the
    picture, a crop) is taken away here, before anything leaves the service.

    Parameters
    ----------
    presets
        Windows in HU by their names; offered where the frame's values are HU.

    Raises
    ------
    InstanceDamaged
        The stored file is missing, or is no longer what was received: nothing is shown of it.
    PixelDataUnusable
        The instance has no such frame, or it cannot be decoded.
    TransientError
        The file cannot be read at the moment.
    """
    stored, frame_index = StoredName(shown.stored_name), shown.frame_number - 1
    path = instances.instance_path(stored)
    opened = _open(instances, stored, shown.sha256, _identity_of(path))
    decoded = decoder.decode(path, frame_index)
    with opened.lock:
        return build_reader_frame(
            decoded.stored_values,
            opened.header,
            frame_index,
            request=shown.window_request,
            modality=shown.modality,
            presets=presets,
            photometric_interpretation=decoded.photometric_interpretation,
        )


@dataclass(frozen=True, slots=True)
class _OpenedInstance:
    header: Dataset
    lock: Lock = field(default_factory=Lock)
    """A Dataset converts its values when they are first asked for."""


@lru_cache(maxsize=_OPENED_MAX)
def _open(
    instances: InstanceStore, stored: StoredName, sha256: str, identity: tuple[int, ...]
) -> _OpenedInstance:
    """Verify an instance and read its header, once for all frames while the file is the same.

    A multi-frame object of some hundred MiB is stepped through: hashing it for each of its frames
    would take longer than showing them.
    """
    instances.verify(stored, sha256)
    path = instances.instance_path(stored)
    return _OpenedInstance(
        pydicom.dcmread(path, stop_before_pixels=True, defer_size=_VALUE_MAX_BYTES)
    )


def _identity_of(path: Path) -> tuple[int, ...]:
    """Return what changes whenever the file is replaced or written to; nothing of a missing one."""
    try:
        status = path.stat()
    except OSError:
        return ()  # `verify` says what it is
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
