from dataclasses import dataclass, fields

import pytest

from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.research import ResearchAnswer


def test_every_field_of_a_research_answer_is_described_in_order():
    entries = describe_fields(ResearchAnswer)

    assert [entry.name for entry in entries] == [field.name for field in fields(ResearchAnswer)]
    assert all(entry.meaning.endswith(".") for entry in entries)


def test_a_comment_of_two_lines_is_one_sentence():
    [entry] = [e for e in describe_fields(ResearchAnswer) if e.name == "scanner_key"]

    assert entry.type == "str | None"
    assert "the same in every project of the site;" in entry.meaning


@dataclass
class Undescribed:
    a: int
    b: int
    """Described."""


def test_a_field_without_a_comment_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Undescribed\.a has no comment below it"):
        describe_fields(Undescribed)
