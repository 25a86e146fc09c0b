"""Files that hold one instance, and pools of decoders."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom import Dataset, dcmwrite, uid
from pydicom.dataset import FileMetaDataset

from medr1_pacs.decoding import DecoderPool


@pytest.fixture(scope="module")
def pool():
    with DecoderPool() as pool:
        yield pool


@pytest.fixture
def write_instance(tmp_path):
    """Write an instance of `stored_values`, the pixel data already encoded; return its path."""

    def write(
        stored_values: np.ndarray,
        transfer_syntax_uid: str = uid.ExplicitVRLittleEndian,
        pixel_data: bytes | None = None,
        pixel_data_vr: str = "",
        **elements: object,
    ) -> Path:
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = transfer_syntax_uid
        header.SOPClassUID = uid.SecondaryCaptureImageStorage
        header.SOPInstanceUID = "1.2.3"
        header.PatientName = "Nobody^Must^See"
        header.Rows, header.Columns = stored_values.shape[:2]
        header.SamplesPerPixel = stored_values.shape[2] if stored_values.ndim == 3 else 1
        color = stored_values.ndim == 3
        header.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
        header.PlanarConfiguration = 0
        header.BitsAllocated = header.BitsStored = 8 * stored_values.dtype.itemsize
        header.PixelRepresentation = int(stored_values.dtype.kind == "i")
        header.PixelData = stored_values.tobytes() if pixel_data is None else pixel_data
        header["PixelData"].VR = pixel_data_vr or ("OB" if header.BitsAllocated == 8 else "OW")
        for keyword, value in elements.items():
            setattr(header, keyword, value)
        path = tmp_path / "instance.dcm"
        syntax = uid.UID(transfer_syntax_uid)
        dcmwrite(
            path,
            header,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            force_encoding=True,
        )
        content = path.read_bytes()
        path.write_bytes(
            b"\0" * 128 + b"DICM" + content if content[128:132] != b"DICM" else content
        )
        return path

    return write


def children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if is_decoder(process)]


def is_decoder(process: psutil.Process) -> bool:
    try:
        return "medr1_pacs.decoding.child" in process.cmdline()
    except psutil.Error:  # it ended between the listing and the question
        return False


@pytest.fixture
def own_pool():
    """Only this test's children are to be seen: the module's pool hides behind `before`."""
    before = {child.pid for child in children()}

    def the_child() -> psutil.Process:
        (child,) = (child for child in children() if child.pid not in before)
        return child

    def is_gone() -> bool:
        return {child.pid for child in children()} <= before

    return the_child, is_gone
