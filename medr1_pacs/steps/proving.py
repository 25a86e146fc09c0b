"""audit: that the log goes on from a head that somebody kept; and the witness who checks it.

head then + head now + proof -> the one begins with the other -> cosignature
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from medr1_pacs.audit.keys import OpenedHead, open_head
from medr1_pacs.audit.merkle import verify_consistency
from medr1_pacs.audit.notes import (
    NoteInvalid,
    SignedNote,
    TreeHead,
    VerifierKey,
    format_note,
    parse_note,
)
from medr1_pacs.audit.proofs import consistency_proof
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.sealing import iterate_leaves
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import WitnessRefused


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the tree of one head begins with the tree of an earlier one (RFC 9162 2.1.4)."""

    first_head: str
    head: str
    proof: tuple[bytes, ...]

    def to_json(self) -> str:
        """Return it as a file holds it."""
        values = {
            "first_head": self.first_head,
            "head": self.head,
            "proof": [each.hex() for each in self.proof],
        }
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> ConsistencyProof:
        """Read what `to_json` wrote.

        Raises
        ------
        WitnessRefused
            It is something else.
        """
        try:
            values = json.loads(text)
            proof = tuple(bytes.fromhex(each) for each in values["proof"])
            return cls(str(values["first_head"]), str(values["head"]), proof)
        except (ValueError, KeyError, TypeError) as error:
            raise WitnessRefused(f"the proof is damaged: {error!r}") from error


def prove(database: Database, first_head: str, head: str) -> ConsistencyProof:
    """Prove that a head goes on from an earlier one.

    Raises
    ------
    WitnessRefused
        It does not: another log's, a later one's, or another history.
    """
    first, now = _read(first_head), _read(head)
    if first.origin != now.origin:
        raise WitnessRefused(f"the head is of the log {first.origin}, this one is {now.origin}")
    if first.size > now.size:
        raise WitnessRefused(
            f"the head is of {first.size} events, and the log has {now.size}: it was cut off, or "
            "an older copy was put back"
        )
    proof: tuple[bytes, ...] = ()
    if 0 < first.size < now.size:
        with database.read() as session, closing(iterate_leaves(session, 0)) as leaves:
            proof = tuple(consistency_proof(leaves, first.size, now.size))
    _check(first, now, proof)
    return ConsistencyProof(first_head, head, proof)


def witness(
    proof: ConsistencyProof | None,
    head: str,
    *,
    key: SigningKey,
    log_keys: list[VerifierKey],
    state: Path,
    timestamp: int,
) -> str:
    """Cosign a head of a log, after checking that it goes on from the last one that was cosigned.

    Parameters
    ----------
    proof
        None: there was none before, or it is the same head.
    state
        The file that holds the last cosigned head; made by the first.
    timestamp
        Now, POSIX seconds.

    Returns
    -------
    str
        The note with the signature of the log and the cosignature.

    Raises
    ------
    WitnessRefused
        The head is not signed by the log, or does not go on.
    """
    opened = _signed(head, log_keys)
    note, now = opened.note, opened.head
    if state.exists():
        last = _signed(state.read_text("utf-8"), log_keys).head
        if last.origin != now.origin:
            raise WitnessRefused(f"{state} holds a head of the log {last.origin}")
        if (last.size, last.root) != (now.size, now.root):
            if proof is None:
                raise WitnessRefused(
                    f"the last head that was cosigned has {last.size} events: a proof from it is "
                    "needed (`medr1-pacs audit proof --since-head FILE`)"
                )
            first = _signed(proof.first_head, log_keys).head
            proven = _signed(proof.head, log_keys).head
            if (first.size, first.root) != (last.size, last.root) or proven != now:
                raise WitnessRefused("the proof is from another head, or of another one")
            _check(last, now, proof.proof)
    cosigned = format_note(
        SignedNote(note.text, (*note.signatures, key.sign(note.text, timestamp)))
    )
    unfinished = state.with_name(f"{state.name}.part")
    unfinished.write_text(head, "utf-8")
    unfinished.rename(state)
    return cosigned


def _check(first: TreeHead, now: TreeHead, proof: tuple[bytes, ...]) -> None:
    if first.size == 0 and first.root != now.root:
        return  # whatever follows an empty log goes on from it
    if not verify_consistency(first.size, now.size, proof, first.root, now.root):
        raise WitnessRefused(
            f"the log of {now.size} events does not go on from the head of {first.size} events: "
            "two histories"
        )


def _read(head: str) -> TreeHead:
    try:
        return TreeHead.parse(parse_note(head).text)
    except NoteInvalid as error:
        raise WitnessRefused(f"this is no head of a log: {error}") from error


def _signed(head: str, log_keys: list[VerifierKey]) -> OpenedHead:
    try:
        opened = open_head(head, log_keys)
    except NoteInvalid as error:
        raise WitnessRefused(f"this is no head of a log: {error}") from error
    if not opened.signers:
        size = opened.head.size
        raise WitnessRefused(f"the head of {size} events is not signed by the log's key")
    return opened
