"""Ed25519 verification: published cases, another program's verdict, what must be refused."""

from __future__ import annotations

import hashlib
import random
from itertools import count

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from medr1_pacs.audit import ed25519
from medr1_pacs.audit.ed25519 import verify

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

# RFC 8032 7.1, TEST 1, 2, 3 and SHA(abc): public key, message, signature
PUBLISHED = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
        "1cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
        "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
        "984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c6"
        "6431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
BASE = b"\x58" + b"\x66" * 31
# The eight points whose order divides eight: of order 1, 2, 4 and 8.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = SIGNING_KEY.public_key().public_bytes_raw()
MESSAGE = b"the message"
SIGNATURE = SIGNING_KEY.sign(MESSAGE)


def their_verdict(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def flips(given: bytes) -> list[bytes]:
    """Return all that differ from this in one bit."""
    number = int.from_bytes(given, "little")
    return [(number ^ 1 << bit).to_bytes(len(given), "little") for bit in range(8 * len(given))]


def secret_scalar(seed: bytes) -> int:
    """Return s of RFC 8032 5.1.5."""
    half = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return half & ((1 << 254) - 8) | 1 << 254


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    """Return k of RFC 8032 5.1.7."""
    digest = hashlib.sha512(r + public_key + message).digest()
    return int.from_bytes(digest, "little") % L


def fitting_s(r: bytes, public_key: bytes) -> bytes:
    """Return S of a signature of MESSAGE of which R is the neutral point: k times the secret."""
    s = challenge(r, public_key, MESSAGE) * secret_scalar(bytes(range(32))) % L
    return s.to_bytes(32, "little")


# -- what is verified --------------------------------------------------------------------------


@pytest.mark.parametrize(("public_key", "message", "signature"), PUBLISHED)
def test_the_published_signatures_verify(public_key, message, signature):
    assert verify(bytes.fromhex(public_key), bytes.fromhex(message), bytes.fromhex(signature))


def test_every_ordinary_signature_has_the_verdict_of_another_program():
    rng = random.Random(8032)
    for _ in range(300):
        signing_key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public_key = signing_key.public_key().public_bytes_raw()
        message = rng.randbytes(rng.randrange(300))
        signature = signing_key.sign(message)

        assert verify(public_key, message, signature)
        assert not verify(public_key, message + b"\x00", signature)
        assert not verify(PUBLIC_KEY, message, signature)


def test_what_is_no_signature_has_the_verdict_of_another_program():
    rng = random.Random(1)
    for _ in range(100):
        signature = rng.randbytes(63) + b"\x00"  # s below L

        assert verify(PUBLIC_KEY, MESSAGE, signature) is their_verdict(
            PUBLIC_KEY, MESSAGE, signature
        )


# -- what is refused ---------------------------------------------------------------------------


def test_no_bit_of_a_signature_can_change():
    assert not [one for one in flips(SIGNATURE) if verify(PUBLIC_KEY, MESSAGE, one)]


def test_no_bit_of_a_public_key_can_change():
    assert not [one for one in flips(PUBLIC_KEY) if verify(one, MESSAGE, SIGNATURE)]


def test_no_bit_of_a_message_can_change():
    assert not [one for one in flips(MESSAGE) if verify(PUBLIC_KEY, one, SIGNATURE)]


@pytest.mark.parametrize(
    ("public_key", "signature"),
    [
        (PUBLIC_KEY[:-1], SIGNATURE),
        (PUBLIC_KEY + b"\x00", SIGNATURE),
        (b"", SIGNATURE),
        (PUBLIC_KEY, SIGNATURE[:-1]),
        (PUBLIC_KEY, SIGNATURE + b"\x00"),
        (PUBLIC_KEY, b""),
    ],
)
def test_a_wrong_length_is_refused(public_key, signature):
    assert not verify(public_key, MESSAGE, signature)


@pytest.mark.parametrize("times", range(1, 16))
def test_a_signature_is_not_accepted_in_a_second_form(times):
    # 5.1.7: S is below L; S + L would fit the equation as well.
    s = int.from_bytes(SIGNATURE[32:], "little") + times * L

    assert not verify(PUBLIC_KEY, MESSAGE, SIGNATURE[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("public_key", [bytes.fromhex(point) for point in SMALL_ORDER])
def test_a_public_key_of_small_order_is_refused_where_the_equation_holds(public_key):
    # With S = 1 and R the base point it holds where k is a multiple of eight.
    fitting = next(b"%d" % n for n in count() if challenge(BASE, public_key, b"%d" % n) % 8 == 0)
    signature = BASE + (1).to_bytes(32, "little")

    assert their_verdict(public_key, fitting, signature)
    assert not verify(public_key, fitting, signature)


def test_r_is_accepted_in_its_canonical_form_alone():
    # R the neutral point, y = 1. The same with y = P + 1, or with a sign, is another text.
    verdicts = []
    for y in (1, P + 1, 1 | 1 << 255):
        r = y.to_bytes(32, "little")
        verdicts.append(verify(PUBLIC_KEY, MESSAGE, r + fitting_s(r, PUBLIC_KEY)))

    assert verdicts == [True, False, False]


def test_a_longer_public_key_is_refused_where_the_equation_holds():
    r, longer = (1).to_bytes(32, "little"), PUBLIC_KEY + b"\x00"

    assert not verify(longer, MESSAGE, r + fitting_s(r, longer))


@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_no_point_is_read_of_a_number_from_p_on(sign):
    for y in range(P, 2**255):
        assert ed25519._decode((y | sign).to_bytes(32, "little")) is None


@pytest.mark.parametrize("y", [1, P - 1])
def test_no_point_is_read_of_x_0_with_a_sign(y):
    assert ed25519._decode(y.to_bytes(32, "little")) is not None
    assert ed25519._decode((y | 1 << 255).to_bytes(32, "little")) is None


def test_a_public_key_off_the_curve_is_refused():
    # y = 2 has no x: (4 - 1) / (4 d + 1) is no square.
    off = (2).to_bytes(32, "little")

    assert ed25519._decode(off) is None
    assert not verify(off, MESSAGE, SIGNATURE)


def test_a_point_is_written_as_it_was_read():
    rng = random.Random(2)
    keys = [Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)) for _ in range(20)]
    for text in [one.public_key().public_bytes_raw() for one in keys]:
        assert ed25519._encode(ed25519._decode(text)) == text
