"""answer: what a generation says, or why it says nothing.

    raw output -> reasoning, choice

The rule is the authors' own: the first `<answer>` tag with one word in it is the answer, and the
word must be an offered letter, in upper case. Whatever is not that counts as wrong in their score,
so nothing is repaired here: no lower case, no `A) Chest`, no letter without its tag.
"""

from __future__ import annotations

import re
import string

from medr1_pacs.records.answers import ParsedAnswer
from medr1_pacs.records.words import ParseStatus

_ANSWER = re.compile(r"<answer>\s*(\w+)\s*</answer>")
"""From the authors' evaluation script, used with `search`: of several tags the first counts."""

CUT_OFF = "length"
"""`finish_reason` of a generation that met its token limit."""


def parse_generation(raw_output: str, option_count: int, finish_reason: str) -> ParsedAnswer:
    """Parse one generation. Never raises.

    Parameters
    ----------
    option_count
        How many letters were offered: the first `option_count` of the alphabet.
    finish_reason
        `stop` or `length`. A generation that met the limit is `truncated` only if no answer tag
        was closed before.
    """
    match = _ANSWER.search(raw_output)
    reasoning = _reasoning(raw_output, match)
    if match is None:
        was_cut = finish_reason == CUT_OFF and "</answer>" not in raw_output
        status = ParseStatus.TRUNCATED if was_cut else ParseStatus.NO_ANSWER
        return ParsedAnswer(status, reasoning, None)
    letter = match[1]
    # a tuple: in a string, `AB` and the empty word would be found too
    if letter not in tuple(string.ascii_uppercase[:option_count]):
        return ParsedAnswer(ParseStatus.NOT_AN_OPTION, reasoning, None)
    return ParsedAnswer(ParseStatus.PARSED, reasoning, letter)


def _reasoning(raw_output: str, match: re.Match[str] | None) -> str | None:
    """Return the think tag's text, closed or cut off; without one, what precedes the answer.

    None where that is empty, or where there is neither tag to tell reasoning from anything else.
    """
    answer_start = match.start() if match else raw_output.find("<answer>")
    head = raw_output if answer_start < 0 else raw_output[:answer_start]
    before, opening, inside = head.partition("<think>")
    if answer_start < 0 and not opening and "</think>" not in head:
        return None
    text = inside if opening else before
    # the last closing tag: tags that the model nested inside its thinking stay as they are
    closed, closing, _ = text.rpartition("</think>")
    return (closed if closing else text).strip() or None
