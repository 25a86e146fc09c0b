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
from medr1_pacs.projects import ProjectRules
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.received import IndexedInstance, PatientIdentity
from medr1_pacs.records.withdrawals import Withheld
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
        if not found:
            return None
        projects = frozenset(project for _, project in found if project is not None)
        from_all = [withdrawal_id for withdrawal_id, project in found if project is None]
        if from_all:
            return Withheld(WITHDRAWN, projects, from_all[0])
        if not rules.without(projects).match(arrival_of(item)):
            return Withheld(WITHDRAWN, projects, next(iter(found))[0])
        return Withheld(projects=projects)

    def judge_unusable(self, path: Path) -> Withheld | None:
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
        identity = self._identify(path)
        if identity is not None and self.opt_out is not None and self.opt_out.has(identity):
            return Withheld(OPTED_OUT)
        keys = self.keys_in(path, identity)
        with self.database.read() as session:
            known = find_withheld(session, keys)
        for found in known.values():
            for withdrawal_id, project in found:
                if project is None:
                    return Withheld(WITHDRAWN, withdrawal_id=withdrawal_id)
        return None

    def keys_in(self, path: Path, identity: PatientIdentity | None = None) -> set[str]:
        """Return the hashes of what a file names: its patient, if its header says who that is, and
        everything in it that looks like a UID."""
        identity = identity or self._identify(path)
        keys = self._keys_of(identity) if identity is not None else set()
        with path.open("rb") as file:
            found = set(_UID.findall(file.read(_SEARCHED_BYTES)))
        return keys | {
            study_key(self.site_key, uid.decode()) for uid in found if len(uid) <= _UID_MAX
        }

    def _identify(self, path: Path) -> PatientIdentity | None:
        try:
            return identify(self.headers.read(path, is_last_try=True), self.site_key)
        except InstanceUnreadable:
            return None

    def _keys_of(self, identity: PatientIdentity) -> set[str]:
        return {identity.patient_key, study_key(self.site_key, identity.study_instance_uid)}
