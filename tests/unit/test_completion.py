from datetime import timedelta

from factories import NOON
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.completion import OpenAssociation, find_complete_studies


def ago(seconds):
    return NOON - timedelta(seconds=seconds)


def complete(last_received_at, associations=()):
    return find_complete_studies(
        last_received_at, associations, now=NOON, quiet_s=300, heartbeat_limit_s=15
    )


def test_a_study_is_complete_once_it_was_quiet_for_long_enough():
    assert complete({1: ago(299.9), 2: ago(300), 3: ago(9000)}) == [2, 3]


def test_a_living_association_holds_its_study_open():
    assert complete({1: ago(2900), 2: ago(2900)}, [OpenAssociation(1, ago(2))]) == [2]


def test_an_association_that_stays_open_and_brings_nothing_holds_its_study_ten_quiet_times():
    assert complete({1: ago(3000)}, [OpenAssociation(1, ago(2))]) == [1]


def test_an_association_without_a_heartbeat_holds_nothing():
    assert complete({1: ago(9000)}, [OpenAssociation(1, ago(15.1))]) == [1]


def test_one_living_association_of_several_is_enough():
    associations = [OpenAssociation(1, ago(500)), OpenAssociation(1, ago(1))]

    assert complete({1: ago(2900)}, associations) == []


def test_nothing_received_is_nothing_complete():
    assert complete({}, [OpenAssociation(1, NOON)]) == []


def test_a_clock_that_ran_ahead_keeps_a_study_open():
    assert complete({1: NOON + timedelta(hours=1)}) == []


@given(
    st.dictionaries(st.integers(1, 20), st.floats(0, 1000)),
    st.lists(st.tuples(st.integers(1, 20), st.floats(0, 100))),
)
def test_every_study_is_either_held_or_still_arriving_or_complete(quiet, associations):
    found = complete(
        {study_id: ago(seconds) for study_id, seconds in quiet.items()},
        [OpenAssociation(study_id, ago(seconds)) for study_id, seconds in associations],
    )

    held = {study_id for study_id, seconds in associations if seconds <= 15}
    for study_id, seconds in quiet.items():
        assert (study_id in found) == (study_id not in held and seconds >= 300)
    assert found == sorted(found)
