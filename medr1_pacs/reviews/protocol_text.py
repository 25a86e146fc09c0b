"""A reading protocol as text: the file that it could have come from, and one to begin with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medr1_pacs.reviews.protocols import ReadingProtocol

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_TEMPLATE = """\
# A reading protocol: which cases are read, by whom, and in which order they meet what.
# It never changes once it is started: another wording is another version.

name = "reading"              # small letters, digits and dashes
version = 1
title = ""

# Questions that are asked in this project, and of how many studies:
{questions}

# Readers of this project: {accounts}
readers = {readers}
adjudicators = []             # who decides where readers disagree, and reads nothing else

# blind: the case alone. sequential: the case, locked, then the model's side, and a final answer.
# assisted: the case with the model's side from the start.
arm = "sequential"
# crossover = ["blind", "assisted"]   # in place of arm: every reader reads each case in both

# cases = 200                 # the most cases, drawn by the seed; else all that there are
# one_a_patient = true        # so that the cases are independent
# controls = 10               # hidden among the others, with a known truth
# practice = 5                # read first, with feedback

# reads = 1                   # how many readers read a case; else all of them
# overlap = 0.2               # share of the cases that all readers read nevertheless
# repeats = 10                # cases that each reader reads once more, after the washout
# washout_days = 28           # nobody reads a case again within them

# minutes_a_read = 2.0        # for the estimate alone
# claim_minutes = 60          # how long a case waits for the one who has it open
# reference = true            # a blind panel: what it agrees on becomes a reference standard
# seed = 0

# [filters]                   # which answers' studies are meant, as on the page of answers
# modality = ["CT"]
"""


def write_template(readers: Sequence[str], questions: Mapping[str, int]) -> str:
    """Return a commented file to begin with.

    Parameters
    ----------
    readers
        Names of the accounts that may read in the project.
    questions
        Question id -> number of studies that it is asked of.
    """
    offered = [
        f"#   {question_id}: {studies} {'study' if studies == 1 else 'studies'}"
        for question_id, studies in questions.items()
    ]
    chosen = _value(list(questions)[:1])
    return _TEMPLATE.format(
        questions="\n".join([*(offered or ["#   none yet"]), f"questions = {chosen}"]),
        accounts=", ".join(readers) or "none yet; an administrator gives the role `reader`",
        readers=_value(readers),
    )


def write_protocol(protocol: ReadingProtocol) -> str:
    """Return the TOML that a protocol could have come from, defaults left out."""
    said = protocol.model_dump(mode="json", exclude_defaults=True)
    return "".join(f"{line}\n" for line in _lines(said))


def _lines(definition: Mapping[str, Any]) -> Iterator[str]:
    filters = definition.get("filters", {})
    for name, value in definition.items():
        if name != "filters":
            yield f"{name} = {_value(value)}"
    if filters:
        yield ""
        yield "[filters]"
    for name, values in filters.items():
        key = name if _BARE_KEY.fullmatch(name) else _value(name)
        yield f"{key} = {_value(values)}"


def _value(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # A text, a number, a boolean or a list of texts is the same in JSON and in TOML, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
