"""Signing notes: the log's own key, and the keys of witnesses."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from medr1_pacs.audit.notes import (
    COSIGNATURE,
    ED25519,
    NoteInvalid,
    NoteSignature,
    VerifierKey,
    cosignature_message,
)

_PREFIX = "PRIVATE+KEY"
_SEED_BYTES = 32


def verify_quickly(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a key signed a message: as `ed25519.verify`, for who checks thousands."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key by its name."""

    name: str
    seed: bytes
    algorithm: int = ED25519  #: or COSIGNATURE, of a witness

    @classmethod
    def generate(cls, name: str, algorithm: int = ED25519) -> SigningKey:
        """Make a new key."""
        return cls(name, os.urandom(_SEED_BYTES), algorithm)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `PRIVATE+KEY+NAME+KEY ID+base64(type || seed)`, as Go's signer keys are written.

        Raises
        ------
        NoteInvalid
            It is none.
        """
        try:
            prefix, key, name, key_id, encoded = text.strip().split("+", 4)
            decoded = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise NoteInvalid("This is no private key of a signed note.") from None
        if f"{prefix}+{key}" != _PREFIX or len(decoded) != _SEED_BYTES + 1:
            raise NoteInvalid("This is no private key of a signed note.")
        made = cls(name, decoded[1:], decoded[0])
        if f"{made.verifier.key_id:08x}" != key_id:
            raise NoteInvalid(f"The key ID {key_id} is not that of this private key.")
        return made

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.algorithm]) + self.seed).decode()
        return f"{_PREFIX}+{self.name}+{self.verifier.key_id:08x}+{encoded}"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"

    @property
    def verifier(self) -> VerifierKey:
        """Return the public half."""
        public = (
            self._private()
            .public_key()
            .public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        )
        return VerifierKey(self.name, public, self.algorithm)

    def sign(self, text: str, timestamp: int | None = None) -> NoteSignature:
        """Sign the text of a note; `timestamp`: POSIX seconds, of a witness's signature."""
        verifier = self.verifier
        if self.algorithm == COSIGNATURE:
            assert timestamp is not None, "a witness says when it signed"
            signed = self._private().sign(cosignature_message(text, timestamp))
            signature = timestamp.to_bytes(8, "big") + signed
        else:
            signature = self._private().sign(text.encode())
        return NoteSignature(self.name, verifier.key_id, signature)

    def sign_bytes(self, data: bytes) -> bytes:
        """Return the signature of what is no note."""
        return self._private().sign(data)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)
