import random

import pytest

from medr1_pacs.records.planned import FrameChoice, InstanceFacts
from medr1_pacs.selection import MAX_FRAMES, Policy, parse_policy, select

PIXELS = {"Rows": 8, "Columns": 8}
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def make_instance(number, *, frames=1, **attributes):
    shown = PIXELS | {"InstanceNumber": number} | attributes
    return InstanceFacts(
        instance_id=number,
        sop_instance_uid=f"1.{number}",
        number_of_frames=frames,
        attributes={keyword: value for keyword, value in shown.items() if value is not None},
    )


def make_slices(*heights_mm):
    return [
        make_instance(
            number,
            ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            ImagePositionPatient=[0.0, 0.0, float(height)],
        )
        for number, height in enumerate(heights_mm, start=1)
    ]


def chosen_ids(text, instances):
    return [choice.instance_id for choice in select(parse_policy(text), instances).chosen]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("first", Policy("first")),
        (" evenly  7 ", Policy("evenly K", 7)),
        ("central slab 3", Policy("central slab K", 3)),
        ("all up to 9", Policy("all up to K", 9)),
        ("first of each view", Policy("first of each view")),
    ],
)
def test_a_policy_is_parsed_and_prints_as_written(text, policy):
    assert parse_policy(text) == policy
    assert str(policy) == " ".join(text.split())


@pytest.mark.parametrize(
    "text", ["", "last", "evenly", "evenly K", "evenly 0", f"evenly {MAX_FRAMES + 1}", "first 3",
             "evenly -1", "tiles 9 at 0.5 um", "evenly 3.5"],
)  # fmt: skip
def test_another_policy_is_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match="use"):
        parse_policy(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("first", [1]),
        ("middle", [6]),
        ("evenly 1", [6]),
        ("evenly 3", [2, 6, 9]),
        ("evenly 5", [2, 4, 6, 8, 10]),
        ("evenly 20", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("central slab 3", [4, 5, 6]),
        ("central slab 4", [4, 5, 6, 7]),
        ("all up to 3", [1, 2, 3]),
        ("overview", [6]),
    ],
)
def test_a_policy_chooses_frames_along_the_series(text, numbers):
    instances = [make_instance(number) for number in range(1, 11)]

    assert chosen_ids(text, instances) == numbers


def test_slices_are_ordered_along_their_normal():
    assert chosen_ids("all up to 4", make_slices(30, 10, 40, 20)) == [2, 4, 1, 3]


def test_phases_at_one_position_are_ordered_by_instance_number():
    assert chosen_ids("all up to 4", make_slices(10, 0, 10, 0)) == [2, 4, 1, 3]


def test_without_all_positions_instance_number_orders():
    slices = [*make_slices(30, 10), make_instance(3)]

    selection = select(parse_policy("all up to 3"), slices)

    assert [choice.instance_id for choice in selection.chosen] == [1, 2, 3]
    assert selection.reason == "`all up to 3` chose 3 frames of 3, ordered by Instance Number."


def test_without_numbers_uids_order():
    instances = [make_instance(n, InstanceNumber=None) for n in (3, 1, 2)]

    assert chosen_ids("all up to 3", instances) == [1, 2, 3]


def test_frames_of_a_multi_frame_instance_follow_each_other():
    instances = [make_instance(1), make_instance(2, frames=3), make_instance(3)]

    assert select(parse_policy("evenly 5"), instances).chosen == (
        FrameChoice(1, "1.1", 1),
        FrameChoice(2, "1.2", 1),
        FrameChoice(2, "1.2", 2),
        FrameChoice(2, "1.2", 3),
        FrameChoice(3, "1.3", 1),
    )


def test_a_header_that_claims_many_frames_costs_nothing():
    selection = select(parse_policy("middle"), [make_instance(1, frames=2**31)])

    assert selection.chosen == (FrameChoice(1, "1.1", 2**30 + 1),)
    assert selection.skipped == {"not chosen by `middle`": 2**31 - 1}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": None}, "no pixels"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"BurnedInAnnotation": "YES"}, "names may stand in the pixels"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "slide label"),
        ({"SpecimenLabelInImage": "YES"}, "slide label"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen save"),
        ({"SOPClassUID": CAPTURE, "ConversionType": "WSD", "Modality": "US"}, "screen save"),
        ({"SOPClassUID": CAPTURE, "Modality": "CT"}, "screen save"),
        ({"SOPClassUID": CAPTURE + ".4", "Modality": "MR"}, "screen save"),
    ],
)
def test_what_is_no_picture_of_the_patient_is_skipped_with_its_reason(attributes, reason):
    instances = [make_instance(1, frames=2, **attributes), make_instance(2)]

    selection = select(parse_policy("all up to 9"), instances)

    assert [choice.instance_id for choice in selection.chosen] == [2]
    assert [(text.startswith(reason), n) for text, n in selection.skipped.items()] == [(True, 2)]


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"], "Modality": "CT"},
        {"ImageType": ["DERIVED", "PRIMARY"], "Modality": "MG"},
        {"ImageType": ["DERIVED", "SECONDARY"], "Modality": "DX"},
        {"SOPClassUID": CAPTURE, "ConversionType": "DF", "Modality": "CR"},  # digitized film
        {"SOPClassUID": CAPTURE + "0", "Modality": "CT"},  # another class with the same beginning
    ],
)
def test_derived_pictures_and_digitized_films_stay(attributes):
    assert chosen_ids("first", [make_instance(1, **attributes)]) == [1]


def test_nothing_to_show_says_why():
    selection = select(parse_policy("first"), [make_instance(1, Rows=None)])

    assert selection.chosen == ()
    assert selection.reason == "No frame can be shown: 1 x no pixels (Rows is absent)."


def test_each_view_and_side_is_chosen_once():
    def view(value):
        return [{"CodeValue": value, "CodingSchemeDesignator": "SCT"}]

    views = [("399162004", "L"), ("399162004", "R"), ("399368009", "L"), ("399162004", "L")]
    instances = [
        make_instance(n, ViewCodeSequence=view(value), ImageLaterality=side)
        for n, (value, side) in enumerate(views, start=1)
    ]
    assert chosen_ids("first of each view", instances) == [1, 2, 3]


def test_view_position_serves_where_no_code_does():
    instances = [make_instance(n, ViewPosition=v) for n, v in enumerate(("PA", "LL", "PA"), 1)]

    assert chosen_ids("first of each view", instances) == [1, 2]


def test_unprocessed_twins_are_left_out():
    raw = make_instance(1, PresentationIntentType="FOR PROCESSING")
    shown = make_instance(2, PresentationIntentType="FOR PRESENTATION")

    assert chosen_ids("all up to 9", [raw, shown]) == [2]
    assert chosen_ids("all up to 9", [raw]) == [1]


def test_each_eye_is_chosen_once():
    eyes = [make_instance(n, ImageLaterality=eye) for n, eye in enumerate("RRLB", start=1)]

    assert chosen_ids("first of each eye", eyes) == [1, 3]
    assert chosen_ids("first of each eye", [make_instance(1), make_instance(2)]) == [1]


def make_slide():
    def level(number, flavor, columns, frames, spacing_mm):
        return make_instance(
            number,
            frames=frames,
            ImageType=["ORIGINAL", "PRIMARY", flavor, "NONE"],
            TotalPixelMatrixColumns=columns,
            TotalPixelMatrixRows=columns,
            PixelSpacing=[spacing_mm, spacing_mm],
        )

    return [
        level(1, "VOLUME", 40_000, 1600, 0.00025),
        level(2, "VOLUME", 20_000, 400, 0.0005),
        level(3, "VOLUME", 1_000, 1, 0.01),
        level(4, "LABEL", 500, 1, 0.02),
        level(5, "OVERVIEW", 800, 1, 0.02),
        level(6, "THUMBNAIL", 900, 1, 0.011),
    ]


def test_an_overview_is_the_thumbnail_else_the_smallest_level():
    slide = make_slide()

    assert chosen_ids("overview", slide) == [6]
    assert chosen_ids("overview", slide[:5]) == [3]
    assert chosen_ids("overview", slide[:2]) == [2]
    assert chosen_ids("overview", slide[3:4]) == []


def test_tiles_come_from_one_level_near_half_a_micrometer():
    selection = select(parse_policy("evenly 9"), make_slide())

    assert {choice.instance_id for choice in selection.chosen} == {2}
    assert selection.skipped == {
        "slide label (may show a name)": 1,
        "another level of the whole slide": 1603,
        "not chosen by `evenly 9`": 391,
    }


@pytest.mark.parametrize("text", ["middle", "evenly 4", "first of each view", "overview"])
def test_the_order_of_arrival_changes_nothing(text):
    instances = make_slices(*range(12))
    shuffled = random.Random(1).sample(instances, len(instances))

    assert select(parse_policy(text), shuffled) == select(parse_policy(text), instances)


def test_every_frame_is_chosen_or_counted():
    instances = [*make_slices(1, 2, 3), make_instance(4, frames=5), make_instance(5, Rows=None)]

    selection = select(parse_policy("evenly 2"), instances)

    assert len(selection.chosen) + sum(selection.skipped.values()) == 9
