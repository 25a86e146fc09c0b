"""Passwords: which are good enough, and Argon2id.

Pure: what is stored is handed in and out as a text. Checking takes the same time for a name that
nobody has, so that the time tells nobody which names exist.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from medr1_pacs.errors import PasswordRefused
from medr1_pacs.tokens import make_token

LENGTH_MIN = 12
LENGTH_MAX = 1_024
"""Characters; a megabyte would keep the hash busy for whoever sends it."""
_DISTINCT_MIN = 5
_OWN_MIN = 8
"""Characters that must remain when commonplace words are left out."""
_NAME_MIN = 3
_COMMONPLACE = re.compile(
    "password|passwort|passw0rd|p@ssw0rd|kennwort|qwerty|qwertz|asdfgh|yxcvbn|zxcvbn|letmein|"
    "welcome|willkommen|changeme|administrator|admin|hospital|radiology|radiologie|medr1|pacs|"
    "0?123456789?0?|987654321|abcdefg?h?|(.)\\1{3,}|(19|20)\\d\\d"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password was right, and the hash to store instead of one with old parameters."""

    is_right: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and checks passwords.

    Parameters
    ----------
    hasher
        By default with the parameters of argon2-cffi (RFC 9106, low memory: 64 MiB a check).
    """

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        self._hasher = PasswordHash((hasher or Argon2Hasher(),))
        self._nobodys_hash = self._hasher.hash(make_token())

    def hash(self, password: str) -> str:
        return self._hasher.hash(_normalise(password))

    def verify(self, password: str, password_hash: str | None) -> Verdict:
        """Check a password; None: against the hash of nobody's, at the same cost."""
        given = _normalise(password)[:LENGTH_MAX]
        is_right, new_hash = self._hasher.verify_and_update(
            given, password_hash or self._nobodys_hash
        )
        if not is_right or password_hash is None or len(password) > LENGTH_MAX:
            return Verdict(is_right=False)
        return Verdict(is_right=True, new_hash=new_hash)


def check_password(password: str, account: str) -> None:
    """Raise `PasswordRefused` for a password that a guesser tries early."""
    if len(password) < LENGTH_MIN:
        raise PasswordRefused(f"a password has at least {LENGTH_MIN} characters")
    if len(password) > LENGTH_MAX:
        raise PasswordRefused(f"a password has at most {LENGTH_MAX} characters")
    plain = _normalise(password).casefold()
    if len(account) >= _NAME_MIN and account.casefold() in plain:
        raise PasswordRefused("a password does not hold the account's name")
    if len(set(plain)) < _DISTINCT_MIN or len(_COMMONPLACE.sub("", plain)) < _OWN_MIN:
        raise PasswordRefused(
            "this password is among those that are tried first: take some words that do not belong "
            "together"
        )


def _normalise(password: str) -> str:
    # One keyboard sends an umlaut as one character, another as two.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace").decode("utf-8")
