"""study -> nothing: take away what must go, and see that it stays gone.

    request -> certificate -> list -> vault -> rows -> files, pictures -> finished

The list outside comes before anything goes: a crash anywhere, or a backup that is restored, lets
the same withdrawal be carried out again, and doing any of it again changes nothing. One process at
a time does this, the one that records arrivals; commands and pages ask it to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.audit import SERVICE
from medr1_pacs.db.instances import hashes_of_rows
from medr1_pacs.db.quarantine import list_dropped
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.set_aside import list_set_aside
from medr1_pacs.db.vault import (
    count_identities,
    delete_identities,
    find_studies_in_vault,
    iterate_identity_keys,
)
from medr1_pacs.db.withdrawals import (
    begin,
    count_snapshot_answers,
    drop_quarantined_files,
    find_live,
    find_orphans,
    find_project_id,
    find_studies_of_patients,
    find_study_uids,
    finish,
    forget_words,
    is_used,
    iterate_study_uids,
    list_entries,
    list_files,
    list_keys,
    list_unfinished,
    list_withdrawn_pictures,
    list_withdrawn_studies,
    request_withdrawal,
    take_inventory,
    take_study,
    take_use,
)
from medr1_pacs.errors import StorageUnavailable
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.withdrawals import RequestedKey, UnfinishedWithdrawal, WithdrawnEntry
from medr1_pacs.records.words import WithdrawnKind
from medr1_pacs.steps.withholding import Withholding
from medr1_pacs.storage.instances import InstanceStore, StoredName
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.storage.withdrawn_list import WithdrawnList

logger = logging.getLogger(__name__)

SETTLE = timedelta(seconds=60)
"""How long a withdrawal stays open that met a picture being drawn: a worker that died between the
file and its row leaves a picture that no row knows, which is told by its age."""
FROM_THE_LIST = "it stands in the list of withdrawals"
_FILES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Named:
    """Which studies a withdrawal takes."""

    keys: tuple[RequestedKey, ...]
    """Complete: every study has its own."""
    uids: dict[int, str]
    """Row id -> Study Instance UID, of studies that are still there."""
    patient_keys: frozenset[str]
    vault_uids: frozenset[str]
    """Of studies that the vault alone knows."""

    @property
    def key_of(self) -> dict[int, str]:
        return {k.study_id: k.key for k in self.keys if k.study_id is not None and k.key}


@dataclass(slots=True)
class Withdrawer:
    """Carries out withdrawals, one after the other."""

    database: Database
    vault: Database
    store: InstanceStore
    pictures: PictureStore
    withdrawn_list: WithdrawnList
    site_key: bytes
    headers: HeaderReader
    settle: timedelta = SETTLE
    _taken: set[int] = field(default_factory=set)
    """Withdrawals of which everything went already in this process."""

    # -- at the start ------------------------------------------------------------------------------

    def apply_list(self) -> int:
        """Let list and database know of each other's withdrawals, and delete what a restored
        backup brought back; returns how many withdrawals the list adds.

        Raises
        ------
        WithdrawnListUnusable
            Until it can be read, nobody knows what may come in.
        TransientError
            A database or the storage is away.
        """
        listed = self.withdrawn_list.read()
        with self.database.read() as session:
            known = list_entries(session)
        if unlisted := [entry for entry in known if entry not in set(listed)]:
            logger.warning("the list of withdrawals lacked %d that the database has", len(unlisted))
            self.withdrawn_list.add(unlisted)
        missing = [entry for entry in listed if entry not in set(known)]
        if missing:
            logger.warning(
                "%d withdrawals of the list are not in the database: they are carried out again",
                len(missing),
            )
            self._request_again(missing)
            # The files may be younger than the rows: what has none is read again, and turned away.
            self._return_files_without_rows()
        self._delete_what_came_back(listed)
        return len(missing)

    def _request_again(self, missing: Iterable[WithdrawnEntry]) -> None:
        by_project: dict[str | None, list[RequestedKey]] = {}
        for entry in missing:
            by_project.setdefault(entry.project, []).append(
                RequestedKey(kind=entry.kind, key=entry.key)
            )
        with self.database.write() as session:
            for project, keys in by_project.items():
                request_withdrawal(
                    session,
                    keys,
                    project=project,
                    reason=FROM_THE_LIST,
                    actor=SERVICE,
                    now=datetime.now(UTC),
                )

    def _return_files_without_rows(self) -> None:
        files = list(self.store.settled())
        for first in range(0, len(files), _FILES_AT_ONCE):
            batch = files[first : first + _FILES_AT_ONCE]
            with self.database.read() as session:
                known = hashes_of_rows(session, [stored.name for stored, _ in batch])
            for stored, path in batch:
                if stored.name not in known:
                    self.store.return_to_incoming(stored, path)

    def _delete_what_came_back(self, listed: Sequence[WithdrawnEntry]) -> None:
        """Delete files, pictures and identities of withdrawn studies that a backup restored."""
        with self.database.read() as session:
            studies = list_withdrawn_studies(session)
            quarantined = [stored.name for stored in self.store.quarantined()]
            dropped = list_dropped(session, quarantined)
            files = list_files(session, studies)
        self._delete_files(files | dropped)
        self._delete_pictures(studies)
        of_all = [entry for entry in listed if entry.project is None]
        studies_gone = {e.key for e in of_all if e.kind is WithdrawnKind.STUDY}
        studies_gone |= set(studies.values())
        patients_gone = {e.key for e in of_all if e.kind is WithdrawnKind.PATIENT}
        if not (studies_gone or patients_gone):
            return
        uids, patients = set(), set()
        for patient_key, uid in iterate_identity_keys(self.vault):
            if patient_key in patients_gone:
                patients.add(patient_key)
            elif study_key(self.site_key, uid) in studies_gone:
                uids.add(uid)
        with self.database.read() as session:
            # It came again for another project, or is about to be withdrawn with its rows.
            uids -= find_live(session, uids)
        delete_identities(self.vault, study_instance_uids=uids, patient_keys=patients)

    # -- carrying out ------------------------------------------------------------------------------

    def carry_out(self) -> int:
        """Carry out what is asked for; returns how many withdrawals came to an end.

        One that met work in progress comes to an end a minute later, and one with older files in
        the backlog when these were read: call it again.

        Raises
        ------
        TransientError
            Something is away; what is done already is not undone.
        """
        with self.database.read() as session:
            waiting = list_unfinished(session)
        if not waiting:
            return 0
        for withdrawal in waiting:
            if withdrawal.withdrawal_id not in self._taken:
                self._take(withdrawal)
                self._taken.add(withdrawal.withdrawal_id)
        with self.database.read() as session:
            due = [each for each in list_unfinished(session) if self._may_finish(each)]
        if due:
            self._finish(due)
        return len(due)

    def _take(self, withdrawal: UnfinishedWithdrawal) -> None:
        named = self._name(withdrawal)
        if withdrawal.began_at is None:
            self._begin(withdrawal, named)
        self.withdrawn_list.add(
            WithdrawnEntry(each.kind, each.key, withdrawal.project)
            for each in named.keys
            if each.key is not None
        )
        now, whole = datetime.now(UTC), set(named.key_of)
        if withdrawal.project is not None:
            for study_id, key in sorted(named.key_of.items()):
                with self.database.write() as session:
                    if take_use(session, study_id, key, withdrawal, now):
                        whole.discard(study_id)
        self._take_whole(withdrawal, named, whole, now)

    def _take_whole(
        self, withdrawal: UnfinishedWithdrawal, named: _Named, whole: set[int], now: datetime
    ) -> None:
        """Take studies that no project uses any more out of the vault, the rows and the store."""
        is_of_all = withdrawal.project is None
        delete_identities(
            self.vault,
            study_instance_uids={uid for study_id, uid in named.uids.items() if study_id in whole}
            | (named.vault_uids if is_of_all else frozenset()),
            patient_keys=named.patient_keys if is_of_all else (),
        )
        with self.database.read() as session:
            files = list_files(session, whole)
        for study_id in sorted(whole):
            with self.database.write() as session:
                take_study(session, study_id, named.key_of[study_id], withdrawal, now)
        if whole:
            with self.database.write() as session:
                forget_words(session)
        keys = {named.key_of[study_id] for study_id in whole}
        if is_of_all:
            keys |= {each.key for each in named.keys if each.key is not None}
        self._delete_files(files | self._find_quarantined(keys))
        self._delete_pictures(whole)

    def _name(self, withdrawal: UnfinishedWithdrawal) -> _Named:
        """Find out which studies are meant: by row, by hash, or by whose they are."""
        with self.database.read() as session:
            keys = list_keys(session, withdrawal.withdrawal_id)
        patient_keys = frozenset(
            k.key for k in keys if k.kind is WithdrawnKind.PATIENT and k.key is not None
        )
        study_keys = {
            k.key for k in keys if k.kind is WithdrawnKind.STUDY and k.key and k.study_id is None
        }
        vault_uids = frozenset(find_studies_in_vault(self.vault, patient_keys))
        study_keys |= {study_key(self.site_key, uid) for uid in vault_uids}
        with self.database.read() as session:
            ids = {k.study_id for k in keys if k.study_id is not None}
            ids |= find_studies_of_patients(session, patient_keys)
            if study_keys:
                ids |= {
                    study_id
                    for study_id, uid in iterate_study_uids(session)
                    if study_key(self.site_key, uid) in study_keys
                }
            uids = find_study_uids(session, ids)
            if withdrawal.project is not None and withdrawal.began_at is None:
                uids = {
                    study_id: uid
                    for study_id, uid in uids.items()
                    if is_used(session, study_id, withdrawal.project)
                }
        known = {k.study_id: k.key for k in keys if k.study_id is not None and k.key}
        known |= {study_id: study_key(self.site_key, uid) for study_id, uid in uids.items()}
        of_study = {key: study_id for study_id, key in known.items()}
        complete = [
            *(k for k in keys if k.kind is WithdrawnKind.PATIENT),
            *(
                RequestedKey(kind=WithdrawnKind.STUDY, key=key, study_id=of_study.get(key))
                for key in sorted(study_keys | of_study.keys())
            ),
        ]
        return _Named(tuple(complete), uids, patient_keys, vault_uids)

    def _begin(self, withdrawal: UnfinishedWithdrawal, named: _Named) -> None:
        with self.database.write() as session:
            project_id = None
            if withdrawal.project is not None:
                project_id = find_project_id(session, withdrawal.project)
            studies = [take_inventory(session, each, project_id) for each in sorted(named.uids)]
            identities = count_identities(
                self.vault,
                study_instance_uids=[named.uids[e.study_id] for e in studies if e.is_whole],
                patient_keys=named.patient_keys if project_id is None else (),
            )
            snapshots = count_snapshot_answers(session, named.uids, project_id)
            certificate = {
                "studies": [each.values | {"key": named.key_of[each.study_id]} for each in studies],
                "patients": sorted(named.patient_keys),
                "identities": identities,
                "snapshots": snapshots,
                "in_work": sum(each.renderings_in_work for each in studies),
            }
            begin(session, withdrawal.withdrawal_id, named.keys, certificate, datetime.now(UTC))
        logger.info(
            "withdrawal %d takes %d studies",
            withdrawal.withdrawal_id,
            len(studies),
            extra={"action": "withdraw"},
        )

    def _may_finish(self, withdrawal: UnfinishedWithdrawal) -> bool:
        if withdrawal.began_at is None or withdrawal.withdrawal_id not in self._taken:
            return False
        now = datetime.now(UTC)
        if withdrawal.certificate.get("in_work") and now < withdrawal.began_at + self.settle:
            return False
        # What came before it began may be of these studies: who indexes turns it away.
        with self.database.read() as session:
            set_aside = {file.name for file in list_set_aside(session)}
        oldest = self.store.incoming(1, but_not=set_aside)
        return not oldest or oldest[0].received_at > withdrawal.began_at

    def _finish(self, due: Sequence[UnfinishedWithdrawal]) -> None:
        orphans = self._delete_orphans()
        for withdrawal in due:
            with self.database.write() as session:
                keys = list_keys(session, withdrawal.withdrawal_id)
                studies = {k.study_id for k in keys if k.study_id is not None}
                _, shared = list_withdrawn_pictures(session, studies)
                more = {"pictures_shared": shared}
                finish(session, withdrawal.withdrawal_id, more, datetime.now(UTC))
            self._taken.discard(withdrawal.withdrawal_id)
        logger.info(
            "%d withdrawals are finished; %d pictures that no row knew went with them",
            len(due),
            orphans,
            extra={"action": "withdraw"},
        )

    # -- files -------------------------------------------------------------------------------------

    def _delete_files(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            stored = StoredName.parse(name)
            if stored is not None:
                self.store.delete(stored)

    def _find_quarantined(self, keys: Collection[str]) -> set[str]:
        """Find the files in quarantine that name a withdrawn study or patient, and say so."""
        withholding = Withholding(self.database, self.site_key, self.headers)
        found = set()
        for stored in self.store.quarantined():
            try:
                if not withholding.keys_in(self.store.quarantine_path(stored)).isdisjoint(keys):
                    found.add(stored.name)
            except (OSError, StorageUnavailable) as error:
                logger.warning("%s cannot be searched: %s", stored.name, error)
        with self.database.write() as session:
            drop_quarantined_files(session, found, datetime.now(UTC))
        return found

    def _delete_pictures(self, study_ids: Collection[int]) -> None:
        with self.database.read() as session:
            own, _ = list_withdrawn_pictures(session, study_ids)
        for png_sha256 in sorted(own):
            self.pictures.discard(png_sha256)

    def _delete_orphans(self) -> int:
        """Delete pictures that no row stands on, but for those that are just being recorded."""
        settled = time.time() - self.settle.total_seconds()
        deleted = 0
        for pictures in self.pictures.list_stored():
            old = [
                png_sha256 for png_sha256, changed_at in pictures.items() if changed_at < settled
            ]
            with self.database.read() as session:
                orphans = find_orphans(session, old)
            for png_sha256 in sorted(orphans):
                deleted += self.pictures.discard(png_sha256)
        return deleted
