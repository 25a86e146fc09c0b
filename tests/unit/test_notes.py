"""Signed notes, cosignatures and checkpoints: published ones, our own, and what is none."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from medr1_pacs.audit.notes import (
    COSIGNATURE,
    ED25519,
    MAX_SIGNATURES,
    NoteInvalid,
    NoteSignature,
    SignedNote,
    TreeHead,
    VerifiedSignature,
    VerifierKey,
    cosignature_message,
    format_note,
    key_id_of,
    parse_note,
    verify_note,
)

# The example of golang.org/x/mod/sumdb/note
PETER_NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501 - a signature is one line

# A checkpoint of a public test log, with its own signature, one of a type that we do not know,
# and those of four public test witnesses.
WITNESSED_CHECKPOINT = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501 - a signature is one line
LOG = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
WITNESSES = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
]

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC_KEY = SIGNING_KEY.public_key().public_bytes_raw()
KEY = VerifierKey("pacs.example/log", PUBLIC_KEY)
WITNESS = VerifierKey("witness.example", PUBLIC_KEY, COSIGNATURE)
TEXT = "pacs.example/log\n2\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
ROOT = base64.b64decode("U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=")
NOON = 1_700_000_000


def signed_by(key: VerifierKey, text: str = TEXT, with_key=SIGNING_KEY) -> NoteSignature:
    return NoteSignature(key.name, key.key_id, with_key.sign(text.encode()))


def cosigned_by(key: VerifierKey, timestamp: int, text: str = TEXT) -> NoteSignature:
    signature = SIGNING_KEY.sign(cosignature_message(text, timestamp))
    return NoteSignature(key.name, key.key_id, timestamp.to_bytes(8, "big") + signature)


# -- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [PETER_NEUMANN, LOG, *WITNESSES])
def test_a_published_key_is_given_back_as_it_was_read(text):
    key = VerifierKey.parse(text)

    assert str(key) == text
    assert f"+{key.key_id:08x}+" in text


def test_a_key_knows_how_it_signs():
    assert VerifierKey.parse(PETER_NEUMANN).algorithm == ED25519
    assert VerifierKey.parse(WITNESSES[0]).algorithm == COSIGNATURE


def test_the_same_public_key_has_another_id_for_another_use():
    assert key_id_of("a", PUBLIC_KEY) != key_id_of("a", PUBLIC_KEY, COSIGNATURE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is a name"),
        ("PeterNeumann", "is a name"),
        ("PeterNeumann+c74f20a3", "is a name"),
        (PETER_NEUMANN.replace("c74f20a3", "C74F20A3"), "eight hex digits"),
        (PETER_NEUMANN.replace("c74f20a3", "0c74f20a3"), "eight hex digits"),
        (PETER_NEUMANN.replace("c74f20a3", "c74f20a4"), "is not that of"),
        (PETER_NEUMANN.replace("Peter", "Piotr"), "is not that of"),
        (PETER_NEUMANN.replace("+ARpc", "+ARpd"), "is not that of"),
        (PETER_NEUMANN + "\n", "is no base64"),
        (PETER_NEUMANN + "=", "base64"),
        (PETER_NEUMANN.replace("+ARpc", "+AhEc"), "key of type 2"),
        (PETER_NEUMANN[:-4], "32 bytes"),
        (PETER_NEUMANN + "AAAA", "32 bytes"),
        ("a+00000000+", "key of type 0"),
        (PETER_NEUMANN.replace("PeterNeumann", ""), "name of a key"),
        (PETER_NEUMANN.replace("PeterNeumann", "Peter Neumann"), "name of a key"),
        (PETER_NEUMANN.replace("PeterNeumann", "Peter\u00a0Neumann"), "name of a key"),
        (PETER_NEUMANN.replace("PeterNeumann", "Peter\x00Neumann"), "control character"),
    ],
)
def test_what_is_no_key_is_refused(text, says):
    with pytest.raises(NoteInvalid, match=says):
        VerifierKey.parse(text)


def test_no_key_is_made_with_a_plus_in_its_name():
    with pytest.raises(NoteInvalid, match="neither a plus"):
        VerifierKey("a+b", PUBLIC_KEY)


# -- reading and writing notes -----------------------------------------------------------------


@pytest.mark.parametrize("text", [PUBLISHED_NOTE, WITNESSED_CHECKPOINT])
def test_a_published_note_is_written_as_it_was_read(text):
    assert format_note(parse_note(text)) == text
    assert parse_note(text.encode()) == parse_note(text)


def test_a_note_is_its_text_and_its_signatures():
    note = parse_note(PUBLISHED_NOTE)

    assert note.text.startswith("If you think")
    assert note.text.endswith("problem is.\n")
    assert [(one.name, one.key_id) for one in note.signatures] == [("PeterNeumann", 0xC74F20A3)]
    assert len(note.signatures[0].signature) == 64


def test_the_last_empty_line_ends_the_text():
    note = SignedNote("\n\none\n\ntwo\n\n", (signed_by(KEY),))

    assert parse_note(format_note(note)) == note


def test_only_a_newline_ends_a_line():
    note = SignedNote("one\u2028two\u0085\n", (signed_by(KEY),))

    assert parse_note(format_note(note)) == note


GOOD_LINE = "— a " + base64.b64encode(bytes(68)).decode() + "\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No empty line"),
        ("text\n", "No empty line"),
        ("text\n" + GOOD_LINE, "No empty line"),
        ("text\n\n", "at least one signature"),
        ("text\n\n" + GOOD_LINE + "\n", "at least one signature"),
        ("text\n\n" + GOOD_LINE[:-1], "ends in a newline"),
        ("text\n\n" + GOOD_LINE.replace("—", "-"), "em dash"),
        ("text\n\n" + GOOD_LINE.replace("—", "–"), "em dash"),  # an en dash
        ("text\n\n" + GOOD_LINE.replace("— ", "—"), "em dash"),
        ("text\n\n" + GOOD_LINE.replace("— ", " — "), "em dash"),
        ("text\n\n" + GOOD_LINE.replace("— a ", "— a  "), "em dash"),
        ("text\n\n" + GOOD_LINE[:-1] + " \n", "em dash"),
        ("text\n\n— a\n", "em dash"),
        ("text\n\n" + GOOD_LINE + "more\n", "em dash"),
        ("text\n\n" + GOOD_LINE.replace("a", "a+b", 1), "name of a key"),
        ("text\n\n" + GOOD_LINE.replace("a", "a\u2003b", 1), "name of a key"),
        ("text\n\n— a ####\n", "is no base64"),
        ("text\n\n— a äöüß\n", "is no base64"),
        ("text\n\n— a AAAAAAAA\u2028AAAA\n", "is no base64"),
        ("text\n\n— a AAAAAAA\n", "is no base64"),
        ("text\n\n— a AAAAAAF=\n", "one form"),
        ("text\n\n— a AAAA\n", "is empty"),
        ("text\n\n— a AAAAAA==\n", "is empty"),
        ("te\txt\n\n" + GOOD_LINE, "control character"),
        ("text\r\n\n" + GOOD_LINE, "control character"),
        ("te\x00xt\n\n" + GOOD_LINE, "control character"),
        ("te\x1fxt\n\n" + GOOD_LINE, "control character"),
        ("te\ud800xt\n\n" + GOOD_LINE, "UTF-8"),
        (b"te\xffxt\n\n" + GOOD_LINE.encode(), "no UTF-8"),
        (b"te\xed\xa0\x80xt\n\n" + GOOD_LINE.encode(), "no UTF-8"),
    ],
)
def test_what_is_no_note_is_refused(text, says):
    with pytest.raises(NoteInvalid, match=says):
        parse_note(text)


def test_a_note_may_have_many_signatures_but_not_any_number():
    assert len(parse_note("text\n\n" + GOOD_LINE * MAX_SIGNATURES).signatures) == MAX_SIGNATURES
    with pytest.raises(NoteInvalid, match="more than 100 signatures"):
        parse_note("text\n\n" + GOOD_LINE * (MAX_SIGNATURES + 1))


@pytest.mark.parametrize(
    ("text", "signatures", "says"),
    [
        ("no newline", (signed_by(KEY),), "ends in a newline"),
        ("", (signed_by(KEY),), "ends in a newline"),
        ("a\rb\n", (signed_by(KEY),), "control character"),
        (TEXT, (), "at least one signature"),
    ],
)
def test_no_note_is_made_that_could_not_be_read(text, signatures, says):
    with pytest.raises(NoteInvalid, match=says):
        SignedNote(text, signatures)


@pytest.mark.parametrize(
    ("name", "key_id", "signature", "says"),
    [
        ("a b", 1, b"s", "name of a key"),
        ("", 1, b"s", "name of a key"),
        ("a", -1, b"s", "no key ID"),
        ("a", 1 << 32, b"s", "no key ID"),
        ("a", 1, b"", "is empty"),
    ],
)
def test_no_signature_is_made_that_could_not_be_read(name, key_id, signature, says):
    with pytest.raises(NoteInvalid, match=says):
        NoteSignature(name, key_id, signature)


characters = st.characters(exclude_categories=("Cs", "Cc"))
texts = st.text(st.one_of(characters, st.just("\n"))).map(lambda text: text + "\n")
names = st.text(characters, min_size=1).filter(
    lambda name: "+" not in name and not any(character.isspace() for character in name)
)
signatures = st.builds(
    NoteSignature, names, st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=80)
)


@settings(deadline=None)
@given(texts, st.lists(signatures, min_size=1, max_size=5))
def test_every_note_is_read_as_it_was_written(text, of_it):
    note = SignedNote(text, tuple(of_it))

    assert parse_note(format_note(note)) == note
    assert parse_note(format_note(note).encode()) == note


@settings(deadline=None)
@given(st.text() | st.binary())
def test_anything_else_is_refused_or_written_as_it_was_read(given_text):
    try:
        note = parse_note(given_text)
    except NoteInvalid:
        return
    assert format_note(note) == (given_text if isinstance(given_text, str) else given_text.decode())


# -- who signed --------------------------------------------------------------------------------


def test_the_published_note_verifies():
    key = VerifierKey.parse(PETER_NEUMANN)

    assert verify_note(parse_note(PUBLISHED_NOTE), [key]) == [VerifiedSignature(key, None)]


def test_the_published_checkpoint_is_signed_by_its_log_and_all_witnesses():
    log, *witnesses = [VerifierKey.parse(text) for text in (LOG, *WITNESSES)]

    # 2026-05-23 21:50:24 UTC, all in the same second
    assert verify_note(parse_note(WITNESSED_CHECKPOINT), [*witnesses, log]) == [
        VerifiedSignature(log, None),
        *[VerifiedSignature(witness, 1779573024) for witness in witnesses],
    ]


def test_a_changed_text_is_signed_by_nobody():
    note = parse_note(PUBLISHED_NOTE.replace("problem is", "answer is"))

    with pytest.raises(NoteInvalid, match="signature of PeterNeumann is not of this text"):
        verify_note(note, [VerifierKey.parse(PETER_NEUMANN)])


@pytest.mark.parametrize("witness", WITNESSES)
def test_a_changed_checkpoint_is_cosigned_by_nobody(witness):
    note = parse_note(WITNESSED_CHECKPOINT.replace("1432088532", "1432088533"))

    with pytest.raises(NoteInvalid, match="is not of this text"):
        verify_note(note, [VerifierKey.parse(witness)])


def test_signatures_of_unknown_keys_are_ignored():
    stranger = VerifierKey("stranger", OTHER_SIGNING_KEY.public_key().public_bytes_raw())
    namesake = replace(stranger, name=KEY.name)
    wrong = [NoteSignature(one.name, one.key_id, b"?") for one in (stranger, namesake)]
    note = SignedNote(TEXT, (wrong[0], signed_by(KEY), wrong[1]))

    assert verify_note(note, [KEY]) == [VerifiedSignature(KEY, None)]
    assert verify_note(note, []) == []


def test_a_key_is_known_by_name_and_id_together():
    note = SignedNote(TEXT, (NoteSignature("other", KEY.key_id, b"?"),))

    assert verify_note(note, [KEY]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        signed_by(KEY, with_key=OTHER_SIGNING_KEY),
        signed_by(KEY, text=TEXT[:-1]),
        signed_by(KEY, text=TEXT + "\n"),
        NoteSignature(KEY.name, KEY.key_id, b"?"),
        NoteSignature(KEY.name, KEY.key_id, signed_by(KEY).signature + b"?"),
        NoteSignature(KEY.name, KEY.key_id, cosigned_by(WITNESS, NOON).signature),
    ],
)
@pytest.mark.parametrize("before", [[], [signed_by(KEY)], [cosigned_by(WITNESS, NOON)]])
def test_one_wrong_signature_of_a_known_key_makes_the_note_worthless(wrong, before):
    with pytest.raises(NoteInvalid, match=r"signature of pacs\.example/log is not"):
        verify_note(SignedNote(TEXT, (*before, wrong)), [KEY, WITNESS])


def test_a_key_that_signed_twice_is_returned_once():
    note = SignedNote(TEXT, (cosigned_by(WITNESS, NOON), cosigned_by(WITNESS, NOON + 1)))

    assert verify_note(note, [WITNESS, WITNESS]) == [VerifiedSignature(WITNESS, NOON)]


def test_keys_that_no_line_could_tell_apart_are_refused(monkeypatch):
    monkeypatch.setattr("medr1_pacs.audit.notes.key_id_of", lambda *_: 7)
    other = replace(KEY, public_key=OTHER_SIGNING_KEY.public_key().public_bytes_raw())

    with pytest.raises(ValueError, match=r"Two keys are pacs.example/log\+00000007"):
        verify_note(SignedNote(TEXT, (signed_by(KEY),)), [KEY, other])


# -- cosignatures ------------------------------------------------------------------------------


def test_a_cosignature_signs_its_time_and_the_whole_text():
    # The example of C2SP tlog-cosignature
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

    assert cosignature_message(text, 1679315147) == (
        b"cosignature/v1\n"
        b"time 1679315147\n"
        b"example.com/behind-the-sofa\n"
        b"20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_a_log_and_its_witness_may_sign_the_same_note():
    note = SignedNote(TEXT, (signed_by(KEY), cosigned_by(WITNESS, NOON)))

    assert verify_note(note, [KEY, WITNESS]) == [
        VerifiedSignature(KEY, None),
        VerifiedSignature(WITNESS, NOON),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        signed_by(WITNESS),  # of the text alone
        NoteSignature(WITNESS.name, WITNESS.key_id, b"?"),
        NoteSignature(
            WITNESS.name,
            WITNESS.key_id,
            (NOON + 1).to_bytes(8, "big") + cosigned_by(WITNESS, NOON).signature[8:],
        ),
        cosigned_by(WITNESS, NOON, text=TEXT + "more\n"),
    ],
)
def test_a_cosignature_of_another_time_or_text_is_refused(wrong):
    with pytest.raises(NoteInvalid, match=r"signature of witness\.example is"):
        verify_note(SignedNote(TEXT, (wrong,)), [WITNESS])


def test_a_cosignature_has_a_time_that_fits_a_signed_number():
    last = 2**63 - 1

    assert verify_note(SignedNote(TEXT, (cosigned_by(WITNESS, last),)), [WITNESS])
    with pytest.raises(NoteInvalid, match="past all bounds"):
        verify_note(SignedNote(TEXT, (cosigned_by(WITNESS, last + 1),)), [WITNESS])


# -- checkpoints -------------------------------------------------------------------------------


def test_the_published_checkpoint_is_read_and_written():
    note = parse_note(WITNESSED_CHECKPOINT)
    checkpoint = TreeHead.parse(note.text)

    assert checkpoint == TreeHead("arche2025h1.staging.ct.transparency.dev", 1432088532, ROOT)
    assert checkpoint.text() == note.text


@pytest.mark.parametrize("size", [0, 1, 10, 2**64 - 1])
def test_a_checkpoint_is_read_as_it_was_written(size):
    checkpoint = TreeHead("a log of ours", size, ROOT)

    assert TreeHead.parse(checkpoint.text()) == checkpoint


def test_further_lines_are_allowed_and_not_kept():
    checkpoint = TreeHead.parse(TEXT + "one more\nand another\n")

    assert checkpoint == TreeHead("pacs.example/log", 2, ROOT)
    assert checkpoint.text() == TEXT


ROOT_LINE = TEXT.split("\n")[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "three lines"),
        ("log\n2\n", "three lines"),
        (TEXT[:-1], "three lines"),
        (TEXT + "more", "three lines"),
        (f"\n2\n{ROOT_LINE}\n", "none empty"),
        (TEXT + "\n", "none empty"),
        (TEXT + "\nmore\n", "none empty"),
        (f"log\n02\n{ROOT_LINE}\n", "leading zeros"),
        (f"log\n00\n{ROOT_LINE}\n", "leading zeros"),
        (f"log\n+2\n{ROOT_LINE}\n", "decimal"),
        (f"log\n-2\n{ROOT_LINE}\n", "decimal"),
        (f"log\n2 \n{ROOT_LINE}\n", "decimal"),
        (f"log\n2_0\n{ROOT_LINE}\n", "decimal"),
        (f"log\n٢\n{ROOT_LINE}\n", "decimal"),
        (f"log\n{'9' * 5000}\n{ROOT_LINE}\n", "decimal"),
        (f"log\n{2**64}\n{ROOT_LINE}\n", "2^64"),
        (f"log\n2\n{ROOT_LINE[:-1]}\n", "is no base64"),
        (f"log\n2\n{ROOT_LINE} \n", "is no base64"),
        (f"log\n2\n{ROOT_LINE.replace('o=', 'p=')}\n", "one form"),
        (f"log\n2\n{ROOT_LINE.replace('/', '_')}\n", "is no base64"),
        ("log\n2\nAAAA\n", "32 bytes"),
        (f"log\n2\n{base64.b64encode(bytes(33)).decode()}\n", "32 bytes"),
        (f"l\tog\n2\n{ROOT_LINE}\n", "control character"),
        (TEXT.replace("\n", "\r\n"), "control character"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text, says):
    with pytest.raises(NoteInvalid, match=says.replace("^", r"\^")):
        TreeHead.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 2, ROOT), ("a\nb", 2, ROOT), ("a\rb", 2, ROOT), ("a", -1, ROOT), ("a", 2, ROOT[:-1])],
)
def test_no_checkpoint_is_made_that_could_not_be_read(origin, size, root):
    with pytest.raises(NoteInvalid):
        TreeHead(origin, size, root)
