"""The model's letters, as people read them.

The model meets the options in an order of its own, each behind a letter, and its reasoning speaks
of "option B". Readers see the options in the question's order without letters, so that a letter
would mislead them: it becomes the text of its option.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LETTER = r"\(?[A-D]\)?(?![A-Za-z'’])"
_NAMED = re.compile(
    r"\b(?P<word>[Oo]ptions?|[Cc]hoices?|[Aa]nswers?)(?P<is>\s+is|\s+are|:)?\s+"
    rf"(?P<letters>{_LETTER}"
    # Of more than one; "A" before another word is an article: "option B and A nodule".
    rf"(?:(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+)(?!A\s+[a-z]){_LETTER})*)"
)
_NAMED_LETTER = re.compile(r"\(?\b([A-D])\b\)?")
_BRACKETED = re.compile(r"(?<![A-Za-z0-9])\((?P<letter>[A-D])\)")
_LISTED = re.compile(r"(?<![A-Za-z0-9(])(?P<letter>[A-D])\)\s*(?P<text>[^,;\n)]*)")


def letters_to_texts(text: str, options: Sequence[str]) -> str:
    """Replace the letters of options by their texts.

    Parameters
    ----------
    options
        In the order in which the model met them: the first stands behind A.

    A letter that stands for no option, or is an article ("A nodule"), stays.
    """

    def quoted(letter: str) -> str | None:
        index = ord(letter) - ord("A")
        return f"“{options[index]}”" if index < len(options) else None

    def name(match: re.Match[str]) -> str:
        if match["letters"][-1] == ")" and "(" not in match["letters"]:
            return match[0]  # "option B) Chest" is of a list
        letters = _NAMED_LETTER.sub(lambda found: quoted(found[1]) or found[0], match["letters"])
        return f"{match['word']}{match['is'] or ''} {letters}"

    def bracket(match: re.Match[str]) -> str:
        return quoted(match["letter"]) or match[0]

    def listed(match: re.Match[str]) -> str:
        before = match.string[: match.start()]
        option = quoted(match["letter"])
        if option is None or before.count("(") > before.count(")"):
            return match[0]  # "(of vitamin D)" is no list
        said = match["text"].strip().rstrip(".").casefold()
        if said == option[1:-1].casefold():
            trailing = match["text"].rstrip()[len(match["text"].strip().rstrip(".")) :]
            return option + ("." if trailing.endswith(".") else "")
        return f"{option} {match['text']}".rstrip() if match["text"].strip() else option

    return _LISTED.sub(listed, _BRACKETED.sub(bracket, _NAMED.sub(name, text)))
