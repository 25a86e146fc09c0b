"""Small valid values for tests; every `make_*` takes what the test is about by keyword."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.sop_class import Verification

from medr1_pacs.part10 import FileMeta, encode_file_meta, read_file_meta
from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.received import IndexedInstance, PatientIdentity
from medr1_pacs.records.words import Coverage, ParseStatus, PromptKind
from medr1_pacs.records.work import EngineIdentity, ModelOutput
from medr1_pacs.storage.instances import InstanceStore, StoredName

SITE_KEY = b"test key, 32 bytes, never random"
STUDY_UID, SERIES_UID = "1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.1.1"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

_numbers = itertools.count(1)


def make_uid() -> str:
    """Return a UID that no other test has."""
    return f"1.2.826.0.1.3680043.10.9.{next(_numbers)}"


def make_instance(*, transfer_syntax_uid: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """Make a CT slice of 8x8 pixels with its file meta; keywords set elements, None removes one."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, make_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY_UID, SERIES_UID
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName, ds.PatientID, ds.PatientSex = "Test^Patient", "T-1", "O"
    ds.PatientBirthDate, ds.StudyDate, ds.AccessionNumber = "19700401", "20260302", "A-1"
    ds.InstanceNumber = 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [1, 1], 5, 120
    ds.BodyPartExamined = "CHEST"
    ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = np.arange(64, dtype="<u2").tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or make_uid()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    ds.file_meta = meta
    return ds


def dataset_bytes(ds: Dataset) -> bytes:
    """Return the data set as it travels: encoded in its transfer syntax, without file meta."""
    syntax = ds.file_meta.TransferSyntaxUID
    encoded = pydicom.filebase.DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = (
        syntax.is_implicit_VR,
        syntax.is_little_endian,
    )
    write_dataset(encoded, ds)
    return encoded.getvalue()


def part10_bytes(ds: Dataset) -> bytes:
    """Return a whole file in the DICOM file format."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def make_file_meta(ds: Dataset | None = None, **fields: str) -> FileMeta:
    """Say who sent which instance."""
    meta = (ds or make_instance()).file_meta
    values = {
        "sop_class_uid": str(meta.MediaStorageSOPClassUID),
        "sop_instance_uid": str(meta.MediaStorageSOPInstanceUID),
        "transfer_syntax_uid": str(meta.TransferSyntaxUID),
        "calling_ae_title": "SCANNER",
        "called_ae_title": "MEDR1",
    }
    return FileMeta(**(values | fields))


def put_instance(store: InstanceStore, ds: Dataset, **fields: str) -> StoredName:
    """Keep an instance as the listener does; keywords are of `FileMeta`, or `association_token`."""
    token = {key: fields.pop(key) for key in ("association_token",) if key in fields}
    head = encode_file_meta(make_file_meta(ds, **fields))
    return store.put([head, dataset_bytes(ds)], **token)


def read_meta(path: Path) -> tuple[FileMeta, int]:
    """Return a file's meta information and the offset of its data set."""
    with path.open("rb") as file:
        return read_file_meta(file)


def association_request(calling_ae_title: str, called_ae_title: str) -> bytes:
    """Return an A-ASSOCIATE-RQ that proposes Verification alone."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16_382
    implementation.implementation_class_uid = UID("1.2.3")
    context = build_context(Verification)
    context.context_id = 1
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = calling_ae_title, called_ae_title
    primitive.user_information = [length, implementation]
    primitive.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def make_identity(**fields: str) -> PatientIdentity:
    """Say who a patient is."""
    values = {
        "identity_key": "i" * 32,
        "patient_key": "p" * 32,
        "study_instance_uid": STUDY_UID,
        "patient_name": "Test^Patient",
        "patient_id": "T-1",
        "issuer_of_patient_id": "",
        "patient_birth_date": "19700401",
        "accession_number": "A-1",
    }
    return PatientIdentity(**(values | fields))


def make_indexed_instance(**fields: Any) -> IndexedInstance:
    """Describe a received CT slice as its header, its file name and its bytes do."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "stored_name": f"{number}-{'0' * 16}-{number:016x}.dcm",
        "received_at": NOON,
        "association_token": "0" * 16,
        "calling_ae_title": "SCANNER",
        "called_ae_title": "MEDR1",
        "sop_instance_uid": make_uid(),
        "sop_class_uid": str(CTImageStorage),
        "transfer_syntax_uid": str(ExplicitVRLittleEndian),
        "sha256": f"{number:064x}",
        "size_bytes": 128,
        "study_instance_uid": STUDY_UID,
        "series_instance_uid": SERIES_UID,
        "number_of_frames": 1,
        "attributes": {"Modality": "CT"},
        "identity": make_identity(),
        "sex": "O",
        "age_years": 55,
        "study_date": "20260302",
    }
    return IndexedInstance(**(values | fields))


def make_engine_identity(**fields: Any) -> EngineIdentity:
    """Say what answered."""
    values: dict[str, Any] = {
        "checkpoint": "demo",
        "checkpoint_revision": "packaged",
        "checkpoint_sha256": "c" * 64,
        "is_demo": True,
        "engine": "fake",
        "dtype": "float32",
        "attention": "sdpa",
        "versions": {"fake-engine": "1", "torch": "2"},
    }
    return EngineIdentity(**(values | fields))


def make_output(**fields: Any) -> ModelOutput:
    """Say what an engine made of a prompt."""
    values: dict[str, Any] = {
        "chat_text": "<|im_start|>user",
        "raw_output": "<think>It is.</think><answer>A</answer>",
        "finish_reason": "stop",
        "prompt_tokens": 200,
        "completion_tokens": 10,
        "seconds": 0.5,
    }
    return ModelOutput(**(values | fields))


def make_answer(**fields: Any) -> StoredAnswer:
    """Say what was answered, with everything that made it."""
    values: dict[str, Any] = {
        "answer_id": 1,
        "kind": PromptKind.PROTOCOL,
        "run": 1,
        "is_demo": False,
        "is_current": True,
        "study_version": 1,
        "study_instance_uid": STUDY_UID,
        "series_instance_uid": SERIES_UID,
        "sop_instance_uid": make_uid(),
        "frame_number": 1,
        "modality": "CT",
        "coverage": Coverage.IN,
        "window_center": 40.0,
        "window_width": 400.0,
        "window_source": "object",
        "png_sha256": "f" * 64,
        "pixels_sha256": "e" * 64,
        "question_id": "q",
        "question_version": 1,
        "question_sha256": "q" * 64,
        "task": "Modality Recognition",
        "options": ("CT", "MRI"),
        "option_order": (0, 1),
        "prompt_text": "Which? A)CT, B)MRI",
        "chat_text": "<|im_start|>user",
        "requested_checkpoint": "ct",
        "checkpoint": "ct",
        "checkpoint_revision": "a" * 40,
        "checkpoint_sha256": "c" * 64,
        "engine": "fake",
        "versions": {"fake": "1"},
        "dtype": "float32",
        "attention": "sdpa",
        "decoding": Decoding(think=True, max_new_tokens=256),
        "raw_output": "<answer>A</answer>",
        "finish_reason": "stop",
        "prompt_tokens": 200,
        "completion_tokens": 10,
        "reasoning": None,
        "choice": "A",
        "choice_text": "CT",
        "parse_status": ParseStatus.PARSED,
        "truth": "CT",
        "is_correct": True,
        "seconds": 0.5,
        "answered_at": NOON,
    }
    return StoredAnswer(**(values | fields))


def real_file(name: str) -> Path:
    """Return one of the real DICOM files that pydicom's package carries."""
    found = pydicom.data.get_testdata_file(name, download=False)
    assert isinstance(found, str), f"pydicom no longer carries {name}"
    return Path(found)
