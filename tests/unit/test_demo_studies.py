from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale, apply_windowing

from medr1_pacs.attributes.phantom import PHANTOM_PRIVATE_CREATOR, PHANTOM_PRIVATE_GROUP
from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.words import Modality

every_modality = pytest.mark.parametrize("modality", list(Modality))


def encode(instance: pydicom.Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, instance, enforce_file_format=True)
    return buffer.getvalue()


@every_modality
def test_the_same_study_is_made_twice_to_the_byte(modality):
    assert [encode(i) for i in make_study(modality, 1)] == [
        encode(i) for i in make_study(modality, 1)
    ]


@every_modality
def test_studies_of_two_seeds_share_no_uid(modality):
    first, second = make_study(modality, 1), make_study(modality, 2)

    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert not {i[keyword].value for i in first} & {i[keyword].value for i in second}


@pytest.mark.parametrize(
    ("modality", "sop_class", "dicom_modality"),
    [
        (Modality.CT, "CT Image Storage", "CT"),
        (Modality.MRI, "MR Image Storage", "MR"),
        (Modality.XRAY, "Digital X-Ray Image Storage - For Presentation", "DX"),
        (Modality.ULTRASOUND, "Ultrasound Image Storage", "US"),
        (Modality.DERMOSCOPY, "Dermoscopic Photography Image Storage", "DMS"),
        (Modality.FUNDUS, "Ophthalmic Photography 8 Bit Image Storage", "OP"),
        (Modality.OCT, "Ophthalmic Tomography Image Storage", "OPT"),
        (Modality.MICROSCOPY, "VL Whole Slide Microscopy Image Storage", "SM"),
    ],
)
def test_each_modality_travels_in_its_own_sop_class(modality, sop_class, dicom_modality):
    for instance in make_study(modality, 1):
        assert instance.SOPClassUID.name == sop_class
        assert instance.file_meta.MediaStorageSOPClassUID == instance.SOPClassUID
        assert instance.Modality == dicom_modality


@every_modality
def test_the_header_holds_the_truth_of_the_marker(modality):
    phantom = make_phantom(modality, 4)

    for instance in make_study(modality, 4):
        block = instance.private_block(PHANTOM_PRIVATE_GROUP, PHANTOM_PRIVATE_CREATOR)
        assert (block[0x01].value, block[0x02].value) == (
            phantom.marker_quadrant,
            phantom.marker_shape,
        )


@pytest.mark.parametrize("modality", [Modality.CT, Modality.MRI, Modality.XRAY])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_stated_window_shows_the_phantom_exactly(modality, seed):
    study = make_study(modality, seed)
    middle = study[len(study) // 2]
    offset = 0.0
    if len(study) > 1:
        offset = float(np.linspace(-1, 1, len(study))[len(study) // 2])

    values = apply_rescale(middle.pixel_array, middle)
    low = float(middle.WindowCenter) - 0.5 - (float(middle.WindowWidth) - 1) / 2
    display = np.rint((values - low) / (float(middle.WindowWidth) - 1) * 255)
    if middle.PhotometricInterpretation == "MONOCHROME1":
        display = 255 - display

    assert np.array_equal(display, make_phantom(modality, seed, slice_offset=offset).display)


def test_our_reading_of_the_window_is_pydicoms():
    middle = make_study(Modality.CT, 2)[3]

    values = apply_windowing(apply_rescale(middle.pixel_array, middle), middle)
    span = values.max() - values.min()

    expected = make_phantom(
        Modality.CT, 2, slice_offset=float(np.linspace(-1, 1, 7)[3])
    ).display.astype(float)
    assert np.abs((values - values.min()) / span * 255 - expected).max() <= 1


def test_every_second_radiograph_is_monochrome1():
    photometric = [make_study(Modality.XRAY, seed)[0].PhotometricInterpretation for seed in (1, 2)]

    assert photometric == ["MONOCHROME1", "MONOCHROME2"]


def test_ct_values_are_hounsfield_units():
    middle = make_study(Modality.CT, 1)[3]

    values = apply_rescale(middle.pixel_array, middle)

    assert values[0, 0] == -1000  # air in the corner
    assert middle.pixel_array.dtype == np.int16


@pytest.mark.parametrize(("modality", "least", "most"), [(Modality.CT, 5, 7), (Modality.MRI, 3, 5)])
def test_stacks_have_slices_at_rising_positions(modality, least, most):
    study = make_study(modality, 2)

    heights = [instance.ImagePositionPatient[2] for instance in study]
    assert least <= len(study) <= most
    assert heights == sorted(set(heights))


def test_the_oct_volume_is_one_instance_of_several_frames():
    (volume,) = make_study(Modality.OCT, 1)

    assert volume.pixel_array.shape == (5, volume.Rows, volume.Columns)
    assert len(volume.PerFrameFunctionalGroupsSequence) == 5


def test_no_study_names_a_person():
    for modality in Modality:
        for instance in make_study(modality, 1):
            assert str(instance.PatientName) == f"PHANTOM^{modality.name}"
            assert instance.PatientID == f"PHANTOM-{modality.name}-1"
            assert instance.PatientBirthDate == ""
