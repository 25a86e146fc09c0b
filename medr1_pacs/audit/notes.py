"""Signed notes and the checkpoints in them: how a log says what it contains, and who agrees.

    text, an empty line, signatures  ->  SignedNote  ->  who signed it
                                             text    ->  TreeHead

C2SP signed-note, tlog-checkpoint and tlog-cosignature, all v1, with Ed25519. Beside `verify` only
the standard library is imported: a verifier that stands alone carries a copy of this file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from medr1_pacs.audit.ed25519 import verify

ED25519 = 0x01
"""The type of a key that signs the text of a note."""
COSIGNATURE = 0x04
"""The type of a key that signs the text and the time of signing, as a witness does."""
MAX_SIGNATURES = 100
"""Of a note; every one of a known key costs a verification."""

_PUBLIC_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_TIMESTAMP_BYTES = 8
_ROOT_BYTES = 32
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE = re.compile("— ([^ ]+) ([^ ]+)")
_SIZE = re.compile(r"0|[1-9][0-9]{0,19}")


class NoteInvalid(ValueError):
    """A note, a key or a checkpoint has not its form, or a known key did not sign what it says."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key by its name, and how it signs: `NAME+KEY ID+base64(type || public key)`."""

    name: str
    public_key: bytes
    algorithm: int = ED25519  #: ED25519 or COSIGNATURE

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.algorithm not in (ED25519, COSIGNATURE):
            raise NoteInvalid(f"A key of type {self.algorithm} is not one that we can verify with.")
        if len(self.public_key) != _PUBLIC_KEY_BYTES:
            raise NoteInvalid(f"An Ed25519 public key has {_PUBLIC_KEY_BYTES} bytes.")

    @property
    def key_id(self) -> int:
        """What tells it from other keys of the same name."""
        return key_id_of(self.name, self.public_key, self.algorithm)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the one line in which a key is handed on.

        Raises
        ------
        NoteInvalid
            It is none, or its key ID is that of another key.
        """
        name, has_id, rest = text.partition("+")
        key_id, has_key, encoded = rest.partition("+")
        if not (has_id and has_key and re.fullmatch("[0-9a-f]{8}", key_id)):
            raise NoteInvalid("A verifier key is a name, eight hex digits and base64, joined by +.")
        decoded = _decode_base64(encoded, "The last part of a verifier key")
        key = cls(name, decoded[1:], int.from_bytes(decoded[:1], "big"))
        if key.key_id != int(key_id, 16):
            raise NoteInvalid(f"The key ID {key_id} is not that of this name and public key.")
        return key

    def __str__(self) -> str:
        encoded = _encode_base64(bytes([self.algorithm]) + self.public_key)
        return f"{self.name}+{self.key_id:08x}+{encoded}"


def key_id_of(name: str, public_key: bytes, algorithm: int = ED25519) -> int:
    """Return the first four bytes of SHA-256(name || newline || type || public key)."""
    digest = hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()
    return int.from_bytes(digest[:_KEY_ID_BYTES], "big")


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: whose it says to be, and the bytes, which are not verified yet."""

    name: str
    key_id: int
    signature: bytes  #: without the key ID; of a cosignature, its time first

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 0 <= self.key_id < 1 << 8 * _KEY_ID_BYTES:
            raise NoteInvalid(f"{self.key_id} is no key ID.")
        if not self.signature:
            raise NoteInvalid(f"The signature of {self.name} is empty.")


@dataclass(frozen=True)
class SignedNote:
    """A text with the signatures below it."""

    text: str  #: ends in a newline
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not self.text.endswith("\n"):
            raise NoteInvalid("The text of a note ends in a newline.")
        if not self.signatures:
            raise NoteInvalid("A note has at least one signature.")
        if len(self.signatures) > MAX_SIGNATURES:
            raise NoteInvalid(f"The note has more than {MAX_SIGNATURES} signatures.")


@dataclass(frozen=True)
class VerifiedSignature:
    """A key that signed a note, and when it says it did."""

    key: VerifierKey
    timestamp: int | None  #: POSIX seconds, of cosignatures alone


def parse_note(text: str | bytes) -> SignedNote:
    """Read a note; no signature is verified.

    Raises
    ------
    NoteInvalid
        It has not the form of one.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise NoteInvalid("The note is no UTF-8.") from error
    # The text may have empty lines of its own: the last one is where it ends.
    signed, has_blank_line, below = text.rpartition("\n\n")
    if not has_blank_line:
        raise NoteInvalid("No empty line parts the text of the note from its signatures.")
    if not below:
        raise NoteInvalid("A note has at least one signature.")
    if not below.endswith("\n"):
        raise NoteInvalid("The last line of a note ends in a newline.")
    # Cut by newlines alone: splitlines knows others, which may be in a text.
    lines = below[:-1].split("\n", MAX_SIGNATURES)
    return SignedNote(signed + "\n", tuple(_parse_signature(line) for line in lines))


def format_note(note: SignedNote) -> str:
    """Return the note as it is written; `parse_note` of it is the note again."""
    lines = [
        f"— {one.name} "
        + _encode_base64(one.key_id.to_bytes(_KEY_ID_BYTES, "big") + one.signature)
        + "\n"
        for one in note.signatures
    ]
    return note.text + "\n" + "".join(lines)


Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether a public key signed a message with a signature."""


def verify_note(
    note: SignedNote, keys: Iterable[VerifierKey], verify: Verify = verify
) -> list[VerifiedSignature]:
    """Return which of the keys signed a note, in the order of its lines, each key once.

    Signatures of other keys are ignored. Where nothing is returned, nobody known has signed the
    note and its text means nothing.

    Raises
    ------
    NoteInvalid
        A signature that says to be of one of the keys is not.
    ValueError
        Two of the keys have the same name and ID, so that no line says which of them it is of.
    """
    known: dict[tuple[str, int], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise ValueError(f"Two keys are {key.name}+{key.key_id:08x}.")
    verified: dict[VerifierKey, VerifiedSignature] = {}
    for one in note.signatures:
        if signer := known.get((one.name, one.key_id)):
            verified.setdefault(signer, _verify_signature(note.text, one, signer, verify))
    return list(verified.values())


def cosignature_message(text: str, timestamp: int) -> bytes:
    """Return what a cosignature signs.

    Parameters
    ----------
    text
        Of the note, all of it.
    timestamp
        When it is signed, POSIX seconds.
    """
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


@dataclass(frozen=True)
class TreeHead:
    """The head of a log: how many entries it has and the root of the tree of them. C2SP calls its
    text a checkpoint.

    A log may sign further lines, which nobody can verify. They are allowed when read and not kept:
    `text` is then not the text that was signed.
    """

    origin: str  #: which log it is
    size: int
    root: bytes

    def __post_init__(self) -> None:
        _check_text(self.origin)
        if not self.origin or "\n" in self.origin:
            raise NoteInvalid("The origin of a checkpoint is one line that is not empty.")
        if not 0 <= self.size < 1 << 64:
            raise NoteInvalid("The size of a checkpoint is from 0 to 2^64 - 1.")
        if len(self.root) != _ROOT_BYTES:
            raise NoteInvalid(f"The root of a checkpoint has {_ROOT_BYTES} bytes.")

    @classmethod
    def parse(cls, note_text: str) -> TreeHead:
        """Read the text of a note that is a checkpoint.

        Raises
        ------
        NoteInvalid
            It is none.
        """
        _check_text(note_text)
        *lines, after = note_text.split("\n")
        if after or len(lines) < 3 or not all(lines):
            raise NoteInvalid("A checkpoint has at least three lines, none empty.")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteInvalid("The size of a checkpoint is a decimal without leading zeros.")
        return cls(origin, int(size), _decode_base64(root, "The root of a checkpoint"))

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{_encode_base64(self.root)}\n"


def _parse_signature(line: str) -> NoteSignature:
    parts = _SIGNATURE_LINE.fullmatch(line)
    if not parts:
        raise NoteInvalid("A signature line is an em dash, a name and base64, parted by spaces.")
    name, encoded = parts.groups()
    decoded = _decode_base64(encoded, f"The signature of {name}")
    key_id = int.from_bytes(decoded[:_KEY_ID_BYTES], "big")
    return NoteSignature(name, key_id, decoded[_KEY_ID_BYTES:])


def _verify_signature(
    text: str, one: NoteSignature, key: VerifierKey, verify: Verify
) -> VerifiedSignature:
    timestamp, signature, message = None, one.signature, text.encode()
    if key.algorithm == COSIGNATURE:
        timestamp = int.from_bytes(signature[:_TIMESTAMP_BYTES], "big")
        signature = signature[_TIMESTAMP_BYTES:]
        message = cosignature_message(text, timestamp)
        if timestamp >= 1 << 63:
            raise NoteInvalid(f"The time of the cosignature of {key.name} is past all bounds.")
    if not verify(key.public_key, message, signature):
        raise NoteInvalid(f"The signature of {key.name} is not of this text by its key.")
    return VerifiedSignature(key, timestamp)


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteInvalid("The name of a key is not empty and has neither a plus nor a space.")
    _check_text(name)


def _check_text(text: str) -> None:
    if _CONTROL.search(text):
        raise NoteInvalid("There is a control character other than a newline.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteInvalid("There is a character that UTF-8 does not have.") from error


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode_base64(text: str, what: str) -> bytes:
    """Decode what has exactly one encoding: no other padding, no other last bits."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"{what} is no base64.") from error
    if _encode_base64(decoded) != text:
        raise NoteInvalid(f"{what} is no base64 in its one form.")
    return decoded
