import logging
import os
import subprocess
import sys
import traceback
from dataclasses import replace

import pytest
from factories import make_identity, make_indexed_instance, make_instance, put_instance
from sqlalchemy import MetaData, select

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Instance, Patient, Study
from medr1_pacs.db.vault import record_identities
from medr1_pacs.errors import SchemaMismatch

CANARIES = {
    "PatientName": "Kanarienvogel^Tweety",
    "PatientID": "CANARY-4711",
    "IssuerOfPatientID": "CANARYISSUER",
    "PatientBirthDate": "19011231",
    "AccessionNumber": "CANARYACCESSION",
    "OtherPatientIDs": "CANARYOTHER",
    "PatientAddress": "Canary Wharf 1",
    "ReferringPhysicianName": "Canary^Doctor",
    "PatientComments": "canary comment",
    "InstitutionName": "Canary Hospital",
    "StudyDescription": "canary study",
    "SeriesDescription": "canary series",
    "StudyID": "CANARYSTUDY",
    "DeviceSerialNumber": "CANARYDEVICE",
}
WORDS = ("canar", "kanarien", "tweety", "4711", "19011231")

# Values that break their VR: pydicom's warnings and errors quote what they stumble over.
BAD_VALUES = {
    "PatientBirthDate": "CANARYBIRTHDAY",
    "PatientAge": "CANARYAGE",
    "StudyDate": "CANARYDATE",
    "PatientSex": "CANARY",
    "SpecificCharacterSet": "CANARY_SET",
}
BAD_NUMBERS = {
    "WindowCenter": "CANARY",
    "KVP": "CANARY",
    "InstanceNumber": "CANARY",
    "SliceThickness": "CANARY",
}


def quotes(text):
    """Return which canaries a text sings of."""
    return [word for word in WORDS if word in str(text).lower()]


def canary_instances():
    """Make instances with identities everywhere, well formed and not."""
    plain = make_instance(**CANARIES)
    bad = make_instance(**(CANARIES | BAD_VALUES))
    for keyword, value in BAD_NUMBERS.items():
        bad[keyword] = type(bad[keyword])(bad[keyword].tag, "LO", value)
    no_uid = make_instance(**CANARIES, StudyInstanceUID="CANARY^UID")
    return [plain, bad, no_uid]


def everything_in(database):
    """Yield every cell of every table of a database."""
    with database.connection() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        assert len(metadata.tables) > 10
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                yield from ((f"{table.name}.{name}", value) for name, value in row.items())


def test_no_table_outside_the_vault_holds_an_identity(store, index, database, rows):
    for ds in canary_instances():
        put_instance(store, ds)
    assert index().total == 3

    cells = list(everything_in(database))

    assert [(name, value) for name, value in cells if quotes(value)] == []
    assert len(rows(Study)) == len(rows(Patient)) == 1
    assert len(rows(Instance)) == 2


SCRIPT = """
import sys
from pathlib import Path
from medr1_pacs.db.sessions import Database
from medr1_pacs.logs import configure_logs
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.projects import ProjectRules
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.storage.instances import InstanceStore

configure_logs(verbose=True)
root, research, vault = sys.argv[1:]
store = InstanceStore(Path(root))
databases = [Database(url) for url in (research, vault)]
with HeaderReader() as headers:
    report = Indexer(store, *databases, b"k", ProjectRules(), headers).index()
print(report.total)
"""


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_process_that_indexes_writes_no_identity_to_its_output(store, site, tmp_path):
    for ds in canary_instances():
        put_instance(store, ds)

    site_urls = [site.database_url, site.vault_url]
    done = subprocess.run(
        [sys.executable, "-Walways", "-c", SCRIPT, tmp_path / "storage", *site_urls],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )

    assert done.stdout == "3\n"
    assert quotes(done.stderr) == []


def test_no_log_record_of_indexing_names_a_patient(store, index, caplog):
    for ds in canary_instances():
        put_instance(store, ds)

    with caplog.at_level(logging.DEBUG, "medr1_pacs"):
        index()

    ours = [record for record in caplog.records if record.name.startswith("medr1_pacs")]
    assert [record for record in ours if quotes(vars(record))] == []


def test_an_error_of_the_vault_names_nobody(store, indexer, tmp_path):
    put_instance(store, make_instance(**CANARIES))
    empty = Database(f"sqlite:///{tmp_path / 'not migrated.sqlite'}")

    with pytest.raises(SchemaMismatch) as caught:
        replace(indexer, vault=empty).index()
    empty.dispose()

    assert quotes("".join(traceback.format_exception(caught.value))) == []


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)  # SQLite refuses no text
def test_a_value_that_the_vault_refuses_is_not_quoted(vault):
    identity = make_identity(patient_name="CANARY\x00", identity_key="k" * 99)

    with pytest.raises(Exception) as caught:
        record_identities(vault, [identity], make_indexed_instance().received_at)

    assert quotes("".join(traceback.format_exception(caught.value))) == []


def test_no_representation_names_a_patient():
    identity = make_identity(patient_name="CANARY", patient_id="CANARY", accession_number="CANARY")
    item = make_indexed_instance(identity=identity)

    for value in (identity, item, replace(item, number_of_frames=2)):
        assert quotes(repr(value)) == quotes(str(value)) == []
