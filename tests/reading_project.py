"""A project of four studies of each of five kinds, answered, and readers who judge them.

CT of two series, MR, radiographs, an ultrasound cine and dermoscopy: only the engine is a fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import numpy as np
from factories import SITE_KEY, make_uid, put_instance
from fakes import InProcessDecoder
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundMultiFrameImageStorage
from readers import make_protocol, start_regardless
from whole_site import PASSWORD, WholeSite, answer_planned, index_all

from medr1_pacs.db.accounts import add_account, give_role, set_password
from medr1_pacs.demo.studies import make_study
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.passwords import Passwords
from medr1_pacs.records.words import Modality, Role
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.naming import declare

PROJECT = "lung"
QUESTIONS = {
    Modality.CT: "ct-lung-pattern",
    Modality.MRI: "mr-weighting",
    Modality.XRAY: "xr-chest-finding",
    Modality.ULTRASOUND: "us-liver-echo",
    Modality.DERMOSCOPY: "dm-suspicion",
}
"""Modality -> the question of its studies that the protocols of these tests ask."""
STUDIES_EACH = 4
CINE_FRAMES = 6
READERS = ("anna", "ben", "carla")
TITLE = "Findings before and after the model"


def make_read_study(modality: Modality, seed: int) -> Sequence[Dataset]:
    """Make a study of somebody of their own: CT with a second series, ultrasound as a cine."""
    instances = list(make_study(modality, seed))
    if modality is Modality.CT:
        instances += _make_second_series(instances)
    if modality is Modality.ULTRASOUND:
        instances = [_make_cine(instances[0])]
    for ds in instances:
        ds.PatientID = f"{modality.name}-{seed}"
    return instances


def _make_second_series(instances: Sequence[Dataset]) -> list[Dataset]:
    """Return the same slices at half the height, as a series of its own."""
    series_uid, second = make_uid(), []
    for ds in instances[::2]:
        other = deepcopy(ds)
        other.SeriesInstanceUID, other.SeriesNumber = series_uid, 2
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = make_uid()
        other.SliceThickness = 10.0
        second.append(other)
    return second


def _make_cine(ds: Dataset) -> Dataset:
    """Return an ultrasound picture as a loop in which it sways."""
    picture = np.frombuffer(ds.PixelData, np.uint8).reshape(ds.Rows, ds.Columns, 3)
    frames = [np.roll(picture, 4 * frame, axis=1) for frame in range(CINE_FRAMES)]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    ds.NumberOfFrames, ds.FrameTime = CINE_FRAMES, 100
    ds.PixelData = np.stack(frames).tobytes()
    return ds


def fill_reading_project(site: WholeSite, studies_each: int = STUDIES_EACH) -> None:
    """Receive the studies, let them be answered, and let the readers in."""
    declare(site.database, site.rules)
    with HeaderReader() as headers:
        indexer = Indexer(site.store, site.database, site.vault, SITE_KEY, site.rules, headers)
        for modality in QUESTIONS:
            for seed in range(1, studies_each + 1):
                for ds in make_read_study(modality, seed):
                    put_instance(site.store, ds, called_ae_title="LUNG")
        index_all(indexer)
    answer_planned(site, InProcessDecoder())
    _let_readers_in(site)


def _let_readers_in(site: WholeSite) -> None:
    now = datetime.now(UTC)
    password_hash = Passwords().hash(PASSWORD)
    with site.database.write() as session:
        for name in READERS:
            account_id = add_account(session, name, actor="test", now=now)
            set_password(session, account_id, password_hash, actor="test", now=now)
            give_role(session, name, Role.READER, PROJECT, rules=site.rules, actor="test", now=now)


def begin_protocol(site: WholeSite, name: str, **fields: Any) -> str:
    """Start a protocol, of all questions and read sequentially unless told; returns its page."""
    values = {"questions": list(QUESTIONS.values()), "arm": "sequential", "title": TITLE}
    protocol = make_protocol(name=name, **(values | fields))
    start_regardless(site.database, protocol, PROJECT)
    return f"/projects/{PROJECT}/reading/{name}/1/read"
