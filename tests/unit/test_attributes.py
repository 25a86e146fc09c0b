import json
import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medr1_pacs.attributes.listed import (
    INDEXED_KEYWORDS,
    KNOWN_KEYWORDS,
    MAX_ITEMS,
    MAX_VALUES,
    NESTED_KEYWORDS,
)
from medr1_pacs.attributes.phantom import PHANTOM_PRIVATE_CREATOR, PHANTOM_PRIVATE_GROUP
from medr1_pacs.attributes.reading import read_attributes
from medr1_pacs.attributes.values import codes_of

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def make_dataset(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def raw(keyword, vr, value, *, is_little_endian=True):
    """A data set with one element as the wire gave it, not yet converted."""
    dataset, tag = Dataset(), Tag(pydicom.datadict.tag_for_keyword(keyword))
    dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, vr is None, is_little_endian)
    return dataset


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "expected"),
    [
        ("Modality", "CS", b"CT", "CT"),
        ("ImageType", "CS", b"ORIGINAL\\PRIMARY\\AXIAL ", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        ("InstanceNumber", "IS", b"12 ", 12),
        ("SliceThickness", "DS", b"2.50", 2.5),
        ("PixelSpacing", "DS", b"0.5\\0.25", [0.5, 0.25]),
        ("Rows", "US", struct.pack("<H", 512), 512),
        ("Rows", None, struct.pack("<H", 512), 512),  # implicit VR
        ("Rows", "UN", struct.pack("<H", 512), 512),
        ("DiffusionBValue", "FD", struct.pack("<d", 800.0), 800.0),
        ("SOPClassUID", "UI", b"1.2.840.10008.5.1.4.1.1.2\0", "1.2.840.10008.5.1.4.1.1.2"),
        ("BodyPartExamined", "CS", b"chest, Dr. M\xfcller tel 12345", "CHEST DR MLLER T"),
    ],
)
def test_an_element_becomes_a_json_value(keyword, vr, value, expected):
    assert read_attributes(raw(keyword, vr, value)) == {keyword: expected}


def test_big_endian_numbers_are_read_as_such():
    dataset = raw("Rows", "US", struct.pack(">H", 512), is_little_endian=False)

    assert read_attributes(dataset) == {"Rows": 512}


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("SliceThickness", "DS", b"thin"),
        ("SliceThickness", "DS", b"nan"),
        ("SliceThickness", "DS", b"1e999"),
        ("SliceThickness", "DS", b""),
        ("PixelSpacing", "DS", b"0.5\\wide"),
        ("InstanceNumber", "IS", b"1.5"),
        ("InstanceNumber", "IS", b"9" * 400),
        ("Rows", "US", b"\x01"),
        ("SOPClassUID", "UI", b"../../etc"),
        ("ViewCodeSequence", "SQ", b"\xfe\xff\x00\xe0\x08\x00\x00\x00garbage!"),
        ("ViewCodeSequence", "SQ", b"\xff" * 40),
        ("Modality", "CS", b"\\\\"),
    ],
)
def test_a_malformed_value_is_absent(keyword, vr, value):
    assert read_attributes(raw(keyword, vr, value)) == {}


def test_hostile_counts_are_capped():
    dataset = raw("ImageType", "CS", b"A\\" * 100_000)
    dataset.SequenceOfUltrasoundRegions = [make_dataset(RegionDataType=1)] * 10_000

    attributes = read_attributes(dataset)

    assert len(attributes["ImageType"]) <= MAX_VALUES
    assert len(attributes["SequenceOfUltrasoundRegions"]) == MAX_ITEMS


def test_a_sequence_in_itself_ends():
    item = make_dataset(CodeValue="1")
    for _ in range(50):
        item = make_dataset(ViewModifierCodeSequence=[item])

    assert json.dumps(read_attributes(make_dataset(ViewCodeSequence=[item]))).count("{") <= 6


def test_no_identity_passes():
    secret = "Doe^Jane"
    code = make_dataset(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning=secret)
    specimen = make_dataset(SpecimenIdentifier=secret, SpecimenShortDescription=secret)
    dataset = make_dataset(
        PatientName=secret, PatientID=secret, AccessionNumber="4711", StudyDescription=secret,
        ImageComments=secret, OperatorsName=secret, InstitutionName=secret,
        ContrastBolusAgent=secret, ContrastBolusRoute=secret,
        ViewCodeSequence=[code], SpecimenDescriptionSequence=[specimen],
    )  # fmt: skip

    assert read_attributes(dataset) == {
        "ContrastBolusAgent": "PRESENT",
        "ContrastBolusRoute": "OTHER",
        "ViewCodeSequence": [{"CodeValue": "1", "CodingSchemeDesignator": "SCT"}],
    }


def test_no_indexed_keyword_holds_a_name_a_date_or_long_text():
    vrs = {pydicom.datadict.dictionary_VR(k) for k in (*INDEXED_KEYWORDS, *NESTED_KEYWORDS)}

    assert vrs <= {"CS", "UI", "IS", "DS", "US", "UL", "SL", "FL", "FD", "SQ", "SH", "LO"}
    texts = {k for k in INDEXED_KEYWORDS if pydicom.datadict.dictionary_VR(k) in ("LO", "SH")}
    assert texts == {
        "Manufacturer", "ManufacturerModelName", "ContrastBolusAgent", "ContrastBolusRoute",
        "RescaleType",
    }  # fmt: skip


@pytest.mark.parametrize("agent", ["", "NONE", "no", "0"])
def test_an_agent_that_says_none_is_absent(agent):
    assert read_attributes(make_dataset(ContrastBolusAgent=agent)) == {}


@pytest.mark.parametrize(
    ("route", "expected"),
    [("I.V.", "INTRAVENOUS"), ("oral & IV", "INTRAVENOUS"), ("per os", "OTHER"), ("ORAL", "ORAL")],
)
def test_a_contrast_route_is_reduced_to_a_word(route, expected):
    assert read_attributes(make_dataset(ContrastBolusRoute=route)) == {
        "ContrastBolusRoute": expected
    }


def test_functional_groups_stand_in_for_missing_elements():
    orientation = make_dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared = make_dataset(
        PlaneOrientationSequence=[orientation],
        PixelMeasuresSequence=[make_dataset(PixelSpacing=[0.5, 0.5], SliceThickness=3)],
        MREchoSequence=[make_dataset(EffectiveEchoTime=90.0)],
    )
    frames = [
        make_dataset(PlanePositionSequence=[make_dataset(ImagePositionPatient=[0, 0, z])])
        for z in (7, 8)
    ]
    dataset = make_dataset(
        SliceThickness=1,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )

    assert read_attributes(dataset) == {
        "SliceThickness": 1.0,  # the element itself wins
        "PixelSpacing": [0.5, 0.5],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "EchoTime": 90.0,
        "ImagePositionPatient": [0.0, 0.0, 7.0],
    }


def test_a_phantom_says_what_its_marker_is():
    dataset = Dataset()
    block = dataset.private_block(PHANTOM_PRIVATE_GROUP, PHANTOM_PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "LO", "Upper left")
    block.add_new(0x02, "UN", b"Cross ")

    assert read_attributes(dataset) == {
        "PhantomMarkerQuadrant": "Upper left",
        "PhantomMarkerShape": "Cross",
    }


def test_codes_are_spelled_with_their_scheme():
    items = [
        {"CodeValue": "69536005", "CodingSchemeDesignator": "SCT"},
        {"CodeValue": "T-D1100", "CodingSchemeDesignator": "SNM3"},
        {"CodingSchemeDesignator": "SCT"},
    ]
    assert codes_of(items) == ("SCT:69536005", "SRT:T-D1100")


@pytest.mark.parametrize("path", sorted(BUNDLED.rglob("*.dcm")), ids=lambda path: path.name)
def test_pydicoms_own_odd_files_are_read_without_raising(path):
    dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)

    attributes = read_attributes(dataset)

    assert set(attributes) <= KNOWN_KEYWORDS
    json.dumps(attributes, allow_nan=False)


_VRS = st.sampled_from(["CS", "DS", "IS", "US", "FD", "SQ", "UI", "LO", "UN", "OB", None])


@settings(max_examples=300)
@given(st.sampled_from(INDEXED_KEYWORDS), _VRS, st.binary(max_size=60))
def test_no_bytes_make_it_raise(keyword, vr, value):
    json.dumps(read_attributes(raw(keyword, vr, value)), allow_nan=False)
