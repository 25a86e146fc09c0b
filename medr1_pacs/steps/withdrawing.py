"""study -> nothing: take away what must go, and see that it stays gone.

    request -> certificate -> list -> exports -> vault -> rows -> files, pictures -> finished

The list outside comes before anything goes: a crash anywhere, or a backup that is restored, lets
the same withdrawal be carried out again, and doing any of it again changes nothing. One process at
a time does this, the one that records arrivals; commands and pages ask it to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.audit import SERVICE
from medr1_pacs.db.instances import hashes_of_rows
from medr1_pacs.db.quarantine import list_dropped
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.taking import (
    count_snapshot_answers,
    drop_quarantined_files,
    find_orphans,
    forget_words,
    is_used,
    list_files,
    list_quarantined_as,
    list_withdrawn_pictures,
    list_withdrawn_studies,
    take_inventory,
    take_study,
    take_use,
)
from medr1_pacs.db.vault import (
    count_identities,
    delete_identities,
    find_named_studies,
    iterate_identity_keys,
)
from medr1_pacs.db.withdrawals import (
    begin,
    find_live,
    find_project_id,
    find_studies_of_patients,
    find_study_uids,
    finish,
    iterate_study_uids,
    list_entries,
    list_keys,
    list_unfinished,
    request_withdrawal,
)
from medr1_pacs.errors import StorageUnavailable
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.withdrawals import (
    NamedIn,
    RequestedKey,
    UnfinishedWithdrawal,
    WithdrawnEntry,
)
from medr1_pacs.records.words import JsonObject, WithdrawnKind
from medr1_pacs.steps.carrying_out_exports import remove_withdrawn
from medr1_pacs.steps.withholding import Withholding
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore, StoredName
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.storage.withdrawn_list import WithdrawnList

logger = logging.getLogger(__name__)

SETTLE = timedelta(seconds=60)
"""How long a withdrawal stays open that met a picture being drawn: a worker that died between the
file and its row leaves a picture that no row knows, which is told by its age."""
FROM_THE_LIST = "it stands in the list of withdrawals"
_FILES_AT_ONCE = 500
_TURN_S = 2.0
"""How long withdrawals are begun before the sweep does something else."""


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
    mixed: frozenset[int]
    """Studies of which some headers name another patient too."""

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
    exports: ExportStore
    settle: timedelta = SETTLE
    _taken: set[int] = field(default_factory=set)
    """Withdrawals of which everything went already in this process."""
    _quarantine: dict[str, NamedIn] = field(default_factory=dict)
    """Stored name -> whom a file in quarantine names: to read a broken header can take long."""

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
        in_list, in_database = set(listed), set(known)
        if unlisted := [entry for entry in known if entry not in in_list]:
            logger.warning("the list of withdrawals lacked %d that the database has", len(unlisted))
            self.withdrawn_list.add(unlisted)
        missing = [entry for entry in listed if entry not in in_database]
        if missing:
            logger.warning(
                "%d withdrawals of the list are not in the database: they are carried out again",
                len(missing),
            )
            # The files may be younger than the rows: what has none is read again, and turned away.
            # First, so that a crash between the two does both again.
            self._return_files_without_rows()
            self._request_again(missing)
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
        """Carry out what is asked for, some of it; returns how many withdrawals came to an end.

        One that met work in progress comes to an end a minute later, and one with older files in
        the backlog when these were read: call it again.

        Raises
        ------
        TransientError
            Something is away; what is done already is not undone, and the others were tried.
        """
        with self.database.read() as session:
            waiting = list_unfinished(session)
        if not waiting:
            return 0
        ends_at, failure = time.monotonic() + _TURN_S, None
        for withdrawal in waiting:
            if withdrawal.withdrawal_id in self._taken:
                continue
            try:
                self._take(withdrawal)
                self._taken.add(withdrawal.withdrawal_id)
            except Exception as error:  # noqa: BLE001 - it holds up itself alone
                failure = failure or error
            if time.monotonic() > ends_at:
                break
        with self.database.read() as session:
            due = [each for each in list_unfinished(session) if self._may_finish(each)]
        if due:
            self._finish(due)
        if failure is not None:
            raise failure
        return len(due)

    def _take(self, withdrawal: UnfinishedWithdrawal) -> None:
        named = self._name(withdrawal)
        certificate = withdrawal.certificate
        if withdrawal.began_at is None:
            certificate = self._begin(withdrawal, named)
        self.withdrawn_list.add(
            WithdrawnEntry(each.kind, each.key, withdrawal.project)
            for each in named.keys
            if each.key is not None
        )
        now = datetime.now(UTC)
        # Before the rows: an export that is being written then begins anew, without them.
        projects = {use["project"] for study in certificate["studies"] for use in study["uses"]}
        remove_withdrawn(self.database, self.exports, projects, now)
        # As it stood when it began: after a crash the rows say less.
        key_of = {study["study_id"]: study["key"] for study in certificate["studies"]}
        whole = set(key_of)
        if withdrawal.project is not None:
            for study_id, key in sorted(key_of.items()):
                with self.database.write() as session:
                    if take_use(session, study_id, key, withdrawal, now):
                        whole.discard(study_id)
        self._take_whole(withdrawal, named, {each: key_of[each] for each in whole}, now)

    def _take_whole(
        self,
        withdrawal: UnfinishedWithdrawal,
        named: _Named,
        key_of: Mapping[int, str],
        now: datetime,
    ) -> None:
        """Take studies that no project uses any more out of the vault, the rows and the store."""
        is_of_all = withdrawal.project is None
        uids = {uid for study_id, uid in named.uids.items() if study_id in key_of}
        delete_identities(
            self.vault,
            study_instance_uids=uids | named.vault_uids,
            patient_keys=named.patient_keys if is_of_all else (),
        )
        with self.database.read() as session:
            files = list_files(session, key_of)
            sent_as = list_quarantined_as(session, key_of)
        for study_id, key in sorted(key_of.items()):
            with self.database.write() as session:
                take_study(session, study_id, key, withdrawal, now)
        if key_of:
            with self.database.write() as session:
                forget_words(session)
        keys = set(key_of.values())
        if is_of_all:
            keys |= {each.key for each in named.keys if each.key is not None}
        self._delete_files(files | self._find_quarantined(keys, sent_as))
        self._delete_pictures(key_of)

    def _name(self, withdrawal: UnfinishedWithdrawal) -> _Named:
        """Find out which studies are meant: by row, by hash, or by whom their headers name."""
        with self.database.read() as session:
            keys = list_keys(session, withdrawal.withdrawal_id)
        patients = frozenset(
            k.key for k in keys if k.kind is WithdrawnKind.PATIENT and k.key is not None
        )
        wanted = {
            k.key for k in keys if k.kind is WithdrawnKind.STUDY and k.key and k.study_id is None
        }
        named_in = find_named_studies(self.vault, patients)
        key_of_uid = {uid: study_key(self.site_key, uid) for uid in named_in}
        with self.database.read() as session:
            ids = {k.study_id for k in keys if k.study_id is not None}
            ids |= find_studies_of_patients(session, patients)
            if wanted or key_of_uid:
                any_of = wanted | set(key_of_uid.values())
                ids |= {
                    study_id
                    for study_id, uid in iterate_study_uids(session)
                    if study_key(self.site_key, uid) in any_of
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
        elsewhere = (wanted | set(key_of_uid.values())) - set(known.values())
        study = WithdrawnKind.STUDY
        complete = [
            *(k for k in keys if k.kind is WithdrawnKind.PATIENT),
            *(RequestedKey(kind=study, key=key, study_id=i) for i, key in sorted(known.items())),
            *(RequestedKey(kind=study, key=key) for key in sorted(elsewhere)),
        ]
        mixed = {i for i, uid in uids.items() if named_in.get(uid, set()) - patients}
        return _Named(
            tuple(complete),
            uids,
            patients,
            self._known_to_the_vault_alone(elsewhere, named_in),
            frozenset(mixed),
        )

    def _known_to_the_vault_alone(
        self, study_keys: Collection[str], named_in: Collection[str]
    ) -> frozenset[str]:
        """Find identities whose study has no row: a crash came between the two."""
        if not study_keys:
            return frozenset()
        uids = set(named_in) | {
            uid
            for _, uid in iterate_identity_keys(self.vault)
            if study_key(self.site_key, uid) in study_keys
        }
        with self.database.read() as session:
            return frozenset(uids - find_live(session, uids))

    def _begin(self, withdrawal: UnfinishedWithdrawal, named: _Named) -> JsonObject:
        """Write down what goes; returns the certificate."""
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
            certificate: JsonObject = {
                "studies": [
                    each.values
                    | {"key": named.key_of[each.study_id]}
                    | {"names_others_too": each.study_id in named.mixed}
                    for each in studies
                ],
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
        return certificate

    def _may_finish(self, withdrawal: UnfinishedWithdrawal) -> bool:
        if withdrawal.began_at is None or withdrawal.withdrawal_id not in self._taken:
            return False
        now = datetime.now(UTC)
        if withdrawal.certificate.get("in_work") and now < withdrawal.began_at + self.settle:
            return False
        # What came before it began may be of these studies, also where the disk does not give it:
        # who indexes turns it away.
        oldest = self.store.incoming(1)
        return not oldest or oldest[0].received_at > withdrawal.began_at

    def _finish(self, due: Sequence[UnfinishedWithdrawal]) -> None:
        orphans = self._delete_orphans()
        for database in (self.database, self.vault):
            database.empty_log()
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

    def _find_quarantined(self, keys: Collection[str], sent_as: Collection[str]) -> set[str]:
        """Find the files in quarantine that name a withdrawn study or patient, and say so.

        `sent_as`: those that came under the UID of an instance of them, which says so of a file
        that names nobody else.

        Raises
        ------
        StorageUnavailable
            The disk does not give one: whom it names is not known yet.
        """
        withholding = Withholding(self.database, self.site_key, self.headers)
        found = set()
        stored_names = self.store.quarantined()
        for gone in self._quarantine.keys() - {stored.name for stored in stored_names}:
            del self._quarantine[gone]
        for stored in stored_names:
            if stored.name not in self._quarantine:
                try:
                    path = self.store.quarantine_path(stored)
                    self._quarantine[stored.name] = withholding.look_into(path)
                except OSError as error:
                    raise StorageUnavailable(
                        f"{stored.name} in quarantine cannot be read: {error.strerror}"
                    ) from error
            names = self._quarantine[stored.name]
            if not names.keys.isdisjoint(keys) or (stored.name in sent_as and not names.is_certain):
                found.add(stored.name)
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
