import pytest

from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.questions.truths import truth_of
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import Modality, TruthSource

BANK = load_bank(PACKAGED_BANK)
NOWHERE = Route(None, "")


def code(value, scheme="SCT"):
    return [{"CodeValue": value, "CodingSchemeDesignator": scheme}]


def regions(*pairs):
    return {
        "SequenceOfUltrasoundRegions": [
            {"RegionSpatialFormat": spatial, "RegionDataType": data} for spatial, data in pairs
        ]
    }


def truth(question_id, attributes, route=NOWHERE):
    found = truth_of(BANK.find(question_id), attributes, route)
    return found and found[0]


@pytest.mark.parametrize(
    ("question_id", "attributes", "expected"),
    [
        ("ct-technique", {"Modality": "CT"}, "Computed tomography"),
        ("xr-technique", {"Modality": "RG"}, "Plain radiograph"),
        ("xr-technique", {"Modality": "XA"}, "Angiogram"),
        ("xr-chest-projection", {"ViewPosition": "PA"}, "Posteroanterior"),
        ("xr-chest-projection", {"ViewPosition": "RL"}, "Lateral"),
        ("xr-chest-projection", {"ViewPosition": "RLO"}, None),
        ("xr-chest-projection", {}, None),
        ("xr-breast-view", {"ViewCodeSequence": code("R-10226", "SRT")}, "Mediolateral oblique"),
        ("xr-breast-view", {"ViewCodeSequence": code("399162004")}, "Craniocaudal"),
        ("xr-breast-view", {"ViewCodeSequence": code("999")}, None),
        ("fp-eye", {"ImageLaterality": "R"}, "Right eye"),
        ("fp-eye", {"ImageLaterality": "B"}, None),
        ("dm-technique", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.7"}, "With a dermatoscope"),
        ("dm-technique", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}, None),
        ("us-display", regions((1, 1)), "B-mode grayscale"),
        ("us-display", regions((1, 1), (4, 10)), "B-mode grayscale"),  # an ECG trace beside it
        ("us-display", regions((1, 1)) | {"UltrasoundColorDataPresent": 1}, None),
        ("us-display", regions((1, 1), (1, 2)), "Color Doppler"),
        ("us-display", regions((1, 1), (3, 3)), "Spectral Doppler"),
        ("us-display", regions((1, 1), (2, 1)), "M-mode tracing"),
        ("us-display", regions((1, 2), (3, 3)), None),  # both kinds of Doppler
        ("us-display", {}, None),
        ("fp-technique", {"ImageType": ["DERIVED", "PRIMARY", "", "FA"]}, "Fluorescein angiogram"),
        ("fp-technique", {"SamplesPerPixel": 3}, "Color photograph"),
        ("fp-technique", {"SamplesPerPixel": 1}, None),
        (
            "fp-technique",
            {"SamplesPerPixel": 1, "ContrastBolusAgentSequence": code("350086004")},
            "Fluorescein angiogram",
        ),
        ("fp-technique", {"ContrastBolusAgentSequence": code("7292004")}, None),  # ICG
        (
            "mi-technique",
            {"OpticalPathSequence": [{"IlluminationTypeCodeSequence": code("111743", "DCM")}]},
            "Fluorescence",
        ),
        (
            "mi-technique",
            {"OpticalPathSequence": [{"IlluminationTypeCodeSequence": code("111741", "DCM")}]},
            None,  # transmission alone
        ),
        (
            "ct-contrast",
            {"ContrastBolusAgent": "PRESENT", "ContrastBolusRoute": "INTRAVENOUS"},
            "Contrast is present",
        ),
        ("ct-contrast", {"ContrastBolusAgent": "PRESENT", "ContrastBolusRoute": "ORAL"}, None),
        ("ct-contrast", {"ContrastBolusAgent": "PRESENT"}, None),
        ("ct-contrast", {}, None),  # silence is not absence
        ("ct-lung-pattern", {"Modality": "CT"}, None),  # a reader's to say
    ],
)  # fmt: skip
def test_the_header_says_what_is_right_or_nothing(question_id, attributes, expected):
    assert truth(question_id, attributes) == expected


@pytest.mark.parametrize(
    ("question_id", "facts", "expected"),
    [
        ("ct-region", {"anatomy": "brain"}, "Head or neck"),
        ("ct-region", {"anatomy": "knee"}, None),
        ("xr-skeletal-region", {"anatomy": "wrist"}, "Hand or wrist"),
        ("mr-joint", {"anatomy": "knee"}, "Knee"),
        ("mr-plane", {"plane": "coronal"}, "Coronal"),
        ("mr-plane", {"plane": "oblique"}, None),
        ("mr-weighting", {"weighting": "T2 FLAIR"}, "T2 FLAIR"),
        ("mr-weighting", {"weighting": "diffusion-weighted"}, "Diffusion-weighted"),
        ("mr-weighting", {"weighting": "PD-weighted"}, None),
        ("mi-stain", {"stain": "H&E"}, "Hematoxylin and eosin"),
        ("mi-tissue", {"anatomy": "lymph node"}, "Lymph node"),
        ("us-abdominal-organ", {"anatomy": "liver"}, "Liver"),
        ("us-abdominal-organ", {"anatomy": "abdomen"}, None),
    ],
)
def test_a_routed_fact_is_a_truth_too(question_id, facts, expected):
    assert truth(question_id, {}, Route(Modality.CT, "", **facts)) == expected


def test_values_that_mean_different_options_are_no_truth():
    both = code("399162004") + code("399368009")

    assert truth("xr-breast-view", {"ViewCodeSequence": both}) is None


@pytest.mark.parametrize(
    ("fields", "attributes", "expected"),
    [
        (
            {"truth": {"header": "PhantomMarkerQuadrant"}, "options": ["Upper left", "Lower left"]},
            {"PhantomMarkerQuadrant": "Lower left"},
            ("Lower left", TruthSource.PHANTOM),
        ),
        (
            {"truth": {"function": "modality_name"}, "options": ["CT", "X-Ray"]},
            {"PhantomMarkerShape": "Cross"},
            ("CT", TruthSource.PHANTOM),
        ),
        (
            {"truth": {"function": "modality_name"}, "options": ["CT", "X-Ray"]},
            {},
            ("CT", TruthSource.HEADER),
        ),
        ({"truth": {"function": "modality_name"}, "options": ["MRI", "X-Ray"]}, {}, None),
        ({"truth": {"header": "PhantomMarkerQuadrant"}}, {}, None),
    ],
)
def test_a_phantoms_truth_is_marked_as_such(make_question, fields, attributes, expected):
    question = make_question(**fields)

    assert truth_of(question, attributes, Route(Modality.CT, "")) == expected
