import math

import pytest

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import Coverage, Modality
from medr1_pacs.routing.series import route_series
from medr1_pacs.routing.synonyms import load_synonyms

SYNONYMS = load_synonyms()
STORAGE = "1.2.840.10008.5.1.4.1.1."
FUNDUS_CAMERA = [{"CodeValue": "409898007", "CodingSchemeDesignator": "SCT"}]
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def make_attributes(modality="CT", **others):
    attributes = {"Modality": modality, "Rows": 8, "Columns": 8} | others
    return {keyword: value for keyword, value in attributes.items() if value is not None}


def route(*instances, synonyms=SYNONYMS):
    return route_series(instances, synonyms)


def code(value, scheme="SCT"):
    return [{"CodeValue": value, "CodingSchemeDesignator": scheme}]


def write_site(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("code", "modality"),
    [
        ("CT", "CT"), ("MR", "MRI"), ("CR", "X-Ray"), ("DX", "X-Ray"), ("RG", "X-Ray"),
        ("MG", "X-Ray"), ("RF", "X-Ray"), ("XA", "X-Ray"), ("US", "Ultrasound"),
        ("DMS", "Dermoscopy"), ("OPT", "OCT"), ("SM", "Microscopy"), ("GM", "Microscopy"),
    ],
)  # fmt: skip
def test_a_modality_goes_to_its_checkpoint(code, modality):
    found = route(make_attributes(code))

    assert found.modality == modality
    assert found.reason.startswith(f"Modality {code} goes to {modality}")


@pytest.mark.parametrize(
    "code",
    ["PX", "IO", "BMD", "BDUS", "IVUS", "OCT", "IVOCT", "OPTENF", "OPTBSV", "ES", "NM", "PT", "XC",
     "OP", "SR", "PR", "KO", "SEG", "RTSTRUCT", "DOC", "ZZ"],
)  # fmt: skip
def test_other_modalities_have_no_route_and_say_why(code):
    found = route(make_attributes(code))

    assert found.modality is None
    assert found.reason.startswith(f"Modality {code}")
    assert found.reason.endswith(".")


@pytest.mark.parametrize(
    ("modality", "sop_class", "expected"),
    [
        ("XC", "77.1.7", Modality.DERMOSCOPY),  # dermoscopic photography, whatever the device says
        ("OT", "77.1.7", Modality.DERMOSCOPY),
        (None, "4.1", Modality.MRI),
        ("OT", "2", Modality.CT),
        ("CT", "66.4", None),  # a segmentation that kept the modality of its images
        ("OPT", "77.1.5.7", None),  # en face
        ("OPT", "77.1.5.4", Modality.OCT),
        ("CR", "7", Modality.XRAY),  # a secondary capture has no modality of its own
        ("CR", "1.1", Modality.XRAY),
        (None, "7", None),
        ("OCT", "77.1.5.4", None),  # never: non-ophthalmic by definition
    ],
)
def test_the_sop_class_decides_where_modality_is_wrong_or_absent(modality, sop_class, expected):
    assert route(make_attributes(modality, SOPClassUID=STORAGE + sop_class)).modality is expected


def test_the_reason_names_the_sop_class_that_decided():
    found = route(make_attributes("XC", SOPClassUID=STORAGE + "77.1.7"))

    assert found.reason == (
        "SOP Class UID Dermoscopic Photography Image Storage (Modality XC) goes to Dermoscopy."
    )


@pytest.mark.parametrize("code", ["RF", "XA"])
def test_fluoroscopy_and_angiography_are_out_of_coverage(code):
    assert route(make_attributes(code)).coverage is Coverage.OUT


@pytest.mark.parametrize(
    ("device", "modality"),
    [
        ("409898007", Modality.FUNDUS),  # fundus camera
        ("392001008", Modality.FUNDUS),  # scanning laser ophthalmoscope
        ("397247004", None),  # slit lamp
        ("409903006", None),  # external camera
        ("409899004", None),  # specular microscope
    ],
)
def test_an_ophthalmic_photograph_is_fundus_by_its_device_alone(device, modality):
    attributes = make_attributes("OP", AcquisitionDeviceTypeCodeSequence=code(device))

    found = route(attributes)

    assert found.modality is modality
    assert device in found.reason


@pytest.mark.parametrize(
    "others",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "FA"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "ICG"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "AUTOFLUORESCENCE"]},
        {"ContrastBolusAgentSequence": code("350086004")},
        {"LightPathFilterTypeStackCodeSequence": code("445169002")},
        {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
    ],
)
def test_other_than_color_photographs_of_the_fundus_are_out_of_coverage(others):
    color = make_attributes(
        "OP", AcquisitionDeviceTypeCodeSequence=FUNDUS_CAMERA, SamplesPerPixel=3
    )

    assert route(color).coverage is None
    found = route(color, color | others)
    assert (found.modality, found.coverage) == (Modality.FUNDUS, Coverage.OUT)


def test_site_rules_admit_photographs_and_unnamed_cameras(tmp_path):
    path = write_site(
        tmp_path,
        "[site]\nexternal_camera_is_dermoscopy = true\n"
        "unnamed_ophthalmic_camera_is_fundus = true\nfundus_devices = ['99X:1']\n",
    )
    site = load_synonyms(path)
    own_device = make_attributes("OP", AcquisitionDeviceTypeCodeSequence=code("1", "99X"))

    assert route(make_attributes("XC"), synonyms=site).modality is Modality.DERMOSCOPY
    assert route(make_attributes("OP"), synonyms=site).modality is Modality.FUNDUS
    assert route(own_device, synonyms=site).modality is Modality.FUNDUS
    assert route(make_attributes("ES"), synonyms=site).modality is None


def test_a_site_adds_its_own_words(tmp_path):
    site = load_synonyms(write_site(tmp_path, "[anatomy.words]\nchest = ['Lunge']\n"))

    assert route(make_attributes(BodyPartExamined="LUNGE"), synonyms=site).anatomy == "chest"
    assert route(make_attributes(BodyPartExamined="THORAX"), synonyms=site).anatomy == "chest"


@pytest.mark.parametrize(
    "text",
    ["[anatomy", "[planes]\n", "[site]\nxc = true\n", "[anatomy.words]\nchest = 'Lunge'\n",
     "[site]\nexternal_camera_is_dermoscopy = 'no'\n"],
)  # fmt: skip
def test_a_wrong_site_file_is_refused_by_name(tmp_path, text):
    with pytest.raises(SettingInvalid, match=r"site\.toml: "):
        load_synonyms(write_site(tmp_path, text))


def test_instances_without_pixels_have_no_route():
    assert route({"Modality": "CT"}) == Route(
        None, "Rows is absent in every instance: Modality CT has no pictures here."
    )
    assert route().reason == "Modality is absent: no route."


def test_a_series_of_two_modalities_has_no_route():
    assert route(make_attributes("CT"), make_attributes("PT")).reason == (
        "Modality differs inside the series: Modality CT, Modality PT: no route."
    )


@pytest.mark.parametrize(
    ("attributes", "anatomy"),
    [
        ({"BodyPartExamined": "CHEST"}, "chest"),
        ({"BodyPartExamined": "L_SPINE"}, "lumbar spine"),
        ({"BodyPartExamined": "CHESTABDPELV"}, None),
        ({"AnatomicRegionSequence": code("69536005")}, "head"),
        ({"AnatomicRegionSequence": code("T-D9200", "SRT")}, "knee"),
        # a code is meant, a word may be a protocol's default
        ({"AnatomicRegionSequence": code("69536005"), "BodyPartExamined": "CHEST"}, "head"),
        ({"AnatomicRegionSequence": code("999"), "BodyPartExamined": "CHEST"}, "chest"),
        ({}, None),
    ],
)
def test_anatomy_becomes_the_word_of_the_bank(attributes, anatomy):
    assert route(make_attributes(**attributes)).anatomy == anatomy


def test_a_series_over_two_regions_has_no_anatomy():
    regions = [make_attributes(BodyPartExamined=part) for part in ("CHEST", "ABDOMEN")]

    assert route(*regions).anatomy is None


def test_a_mammogram_shows_the_breast():
    assert route(make_attributes("MG")).anatomy == "breast"


def test_a_specimen_says_its_tissue_and_stain():
    def using(*codes):
        items = [
            {"ConceptNameCodeSequence": code("424361007"), "ConceptCodeSequence": code(value)}
            for value in codes
        ]
        step = {"SpecimenPreparationStepContentItemSequence": items}
        return make_attributes(
            "SM",
            SpecimenDescriptionSequence=[
                {
                    "PrimaryAnatomicStructureSequence": code("71854001"),
                    "SpecimenPreparationSequence": [step],
                }
            ],
        )

    hematoxylin, eosin, giemsa, schiff = "12710003", "36879007", "373646006", "255808002"
    assert route(using(hematoxylin, eosin)).anatomy == "colon"
    assert route(using(hematoxylin, eosin)).stain == "H&E"
    assert route(using(hematoxylin, schiff)).stain == "PAS"
    assert route(using(giemsa)).stain == "Giemsa"
    assert route(using(hematoxylin)).stain is None
    assert route(using(eosin, schiff)).stain is None
    assert route(using("999")).stain is None


@pytest.mark.parametrize(
    ("tilt_degrees", "plane"), [(0, "axial"), (19, "axial"), (21, "oblique"), (71, "coronal")]
)
def test_a_plane_is_named_within_twenty_degrees(tilt_degrees, plane):
    tilt = math.radians(tilt_degrees)
    orientation = [1.0, 0.0, 0.0, 0.0, math.cos(tilt), math.sin(tilt)]

    assert route(make_attributes("MR", ImageOrientationPatient=orientation)).plane == plane


@pytest.mark.parametrize(
    "orientation", [[1.0, 0.0, 0.0], [0.0] * 6, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [9.0] * 6]
)
def test_an_unusable_orientation_is_no_plane(orientation):
    assert route(make_attributes("MR", ImageOrientationPatient=orientation)).plane is None


def test_a_localizer_does_not_hide_the_plane_of_the_slices():
    scout = make_attributes(
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
    )
    assert route(scout, make_attributes(ImageOrientationPatient=AXIAL)).plane == "axial"


SE = {"ScanningSequence": "SE"}


@pytest.mark.parametrize(
    ("attributes", "weighting"),
    [
        ({"AcquisitionContrast": "T1"}, "T1-weighted"),
        ({"AcquisitionContrast": "FLUID_ATTENUATED", "EchoTime": 120.0}, "T2 FLAIR"),
        ({"AcquisitionContrast": "FLUID_ATTENUATED", "EchoTime": 10.0}, None),
        (SE | {"EchoTime": 12.0, "RepetitionTime": 500.0}, "T1-weighted"),
        (SE | {"EchoTime": 100.0, "RepetitionTime": 4000.0}, "T2-weighted"),
        (SE | {"EchoTime": 20.0, "RepetitionTime": 3000.0}, "PD-weighted"),
        (SE | {"EchoTime": 60.0, "RepetitionTime": 1500.0}, None),
        (
            {"ScanningSequence": ["SE", "IR"], "EchoTime": 90.0, "RepetitionTime": 9000.0,
             "InversionTime": 2500.0},
            "T2 FLAIR",
        ),
        (
            {"ScanningSequence": ["SE", "IR"], "EchoTime": 60.0, "RepetitionTime": 4000.0,
             "InversionTime": 150.0},
            None,  # STIR
        ),
        ({"ScanningSequence": "GR", "EchoTime": 4.0, "RepetitionTime": 500.0}, None),
        ({"ScanningSequence": ["SE", "EP"], "EchoTime": 90.0, "RepetitionTime": 4000.0}, None),
        ({"DiffusionBValue": 1000.0}, "diffusion-weighted"),
        ({"DiffusionBValue": 50.0}, None),
        ({"DiffusionBValue": 1000.0, "ImageType": ["DERIVED", "PRIMARY", "ADC"]}, None),
        (SE, None),
    ],
)  # fmt: skip
def test_an_mr_weighting_is_named_only_without_doubt(attributes, weighting):
    assert route(make_attributes("MR", **attributes)).weighting == weighting


def test_a_dual_echo_series_has_no_weighting():
    echoes = [
        make_attributes("MR", **SE, EchoTime=echo, RepetitionTime=3000.0) for echo in (20.0, 90.0)
    ]
    assert route(*echoes).weighting is None
