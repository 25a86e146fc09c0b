"""store -> nothing: tell of arrivals which were withdrawn before they came, or opted out.

    IndexedInstance -> Withheld: kept, kept for some projects, or not kept at all

What cannot be read as an instance is looked at, too: a header that breaks off behind the patient's
name names somebody all the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from medr1_pacs.db.projects import arrival_of
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.withdrawals import find_withheld, has_keys
from medr1_pacs.errors import InstanceUnreadable
from medr1_pacs.headers import identify
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.part10 import is_uid
from medr1_pacs.projects import ProjectRules
from medr1_pacs.pseudonyms import patient_id_key, study_key
from medr1_pacs.records.received import IndexedInstance, PatientIdentity, RejectedInstance
from medr1_pacs.records.withdrawals import NamedIn, Withheld
from medr1_pacs.records.words import QuarantineReason
from medr1_pacs.storage.instances import StoredName

WITHDRAWN = "it was withdrawn before it came"
OPTED_OUT = "its patient opted out"
_SEARCHED_BYTES = 8 << 20
"""Of a file that does not parse; the study is named before the pixels (PS3.5 7.1)."""
_UID = re.compile(rb"[0-2](?:\.[0-9]+){3,}")
_UID_MAX = 64


@dataclass(frozen=True, slots=True)
class Withholding:
    """Knows what may not come in."""

    database: Database
    site_key: bytes
    headers: HeaderReader
    opt_out: OptOutList | None = None

    def refresh(self) -> None:
        """Look whether the opt-out list changed; raises `OptOutUnusable`."""
        if self.opt_out is not None:
            self.opt_out.refresh()

    def judge(
        self, items: Mapping[StoredName, IndexedInstance], rules: ProjectRules
    ) -> dict[StoredName, Withheld]:
        """Say of arrivals what is withheld; of the others, nothing."""
        keys = {stored: self._keys_of(item.identity) for stored, item in items.items()}
        with self.database.read() as session:
            known = find_withheld(session, {key for each in keys.values() for key in each})
        judged = {}
        for stored, item in items.items():
            found = [each for key in keys[stored] for each in known.get(key, ())]
            verdict = self._decide(item, found, rules)
            if verdict is not None:
                judged[stored] = verdict
        return judged

    def _decide(
        self,
        item: IndexedInstance,
        found: Collection[tuple[int, str | None]],
        rules: ProjectRules,
    ) -> Withheld | None:
        if self.opt_out is not None and self.opt_out.has(item.identity):
            return Withheld(OPTED_OUT)
        return self._weigh(arrival_of(item), found, rules)

    def _weigh(
        self,
        arrival: Mapping[str, str],
        found: Collection[tuple[int, str | None]],
        rules: ProjectRules,
    ) -> Withheld | None:
        if not found:
            return None
        projects = frozenset(project for _, project in found if project is not None)
        from_all = [withdrawal_id for withdrawal_id, project in found if project is None]
        if from_all:
            return Withheld(WITHDRAWN, projects, from_all[0])
        if not rules.without(projects).match(arrival):
            return Withheld(WITHDRAWN, projects, next(iter(found))[0])
        return Withheld(projects=projects)

    def judge_unusable(
        self, path: Path, item: RejectedInstance, rules: ProjectRules
    ) -> Withheld | None:
        """Say whether a file that is no usable instance is of somebody whose data may not be kept.

        Raises
        ------
        OSError, StorageUnavailable
            The disk does not give it.
        """
        with self.database.read() as session:
            is_anything_withdrawn = has_keys(session)
        if not is_anything_withdrawn and self.opt_out is None:
            return None
        # One that does not parse was tried already, and may have taken long.
        does_parse = item.reason is not QuarantineReason.UNREADABLE
        identity, _ = self._identify(path) if does_parse else (None, False)
        if identity is not None and self.opt_out is not None and self.opt_out.has(identity):
            return Withheld(OPTED_OUT)
        named = self.look_into(path, does_parse=does_parse)
        with self.database.read() as session:
            known = find_withheld(session, named.keys)
        arrival = {
            "called_ae_title": item.called_ae_title,
            "calling_ae_title": item.calling_ae_title,
        }
        return self._weigh(arrival, [each for found in known.values() for each in found], rules)

    def look_into(self, path: Path, *, does_parse: bool = True) -> NamedIn:
        """Say whom a file names: by its header where that says whose it is, else by everything in
        it that looks like a UID."""
        identity, has_study = self._identify(path) if does_parse else (None, False)
        keys = self._keys_of(identity) if identity is not None else set()
        if has_study:
            return NamedIn(frozenset(keys), is_certain=True)
        with path.open("rb") as file:
            found = set(_UID.findall(file.read(_SEARCHED_BYTES)))
        keys |= {study_key(self.site_key, uid.decode()) for uid in found if len(uid) <= _UID_MAX}
        return NamedIn(frozenset(keys), is_certain=False)

    def _identify(self, path: Path) -> tuple[PatientIdentity | None, bool]:
        """Return whom a header names, and whether it says of which study it is."""
        try:
            values = self.headers.read(path, is_last_try=True)
        except InstanceUnreadable:
            return None, False
        return identify(values, self.site_key), is_uid(values.uids["StudyInstanceUID"])

    def _keys_of(self, identity: PatientIdentity) -> set[str]:
        keys = {identity.patient_key, study_key(self.site_key, identity.study_instance_uid)}
        if identity.patient_id:
            keys.add(patient_id_key(self.site_key, identity.patient_id))
        return keys
