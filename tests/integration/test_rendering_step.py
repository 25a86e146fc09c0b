import hashlib
from io import BytesIO

import numpy as np
import pytest
from factories import make_instance, put_instance, real_file
from fakes import FakeDecoder
from PIL import Image
from sqlalchemy import update

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.tables import AuditEvent, Generation, Instance, Rendering
from medr1_pacs.decoding import DecoderPool
from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import StorageUnavailable
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.words import GenerationState, Modality, RenderingState
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.receiving import ingest_file
from medr1_pacs.steps.rendering import render_planned

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def questionnaire():
    bank = load_bank(PACKAGED_BANK)
    return Questionnaire(bank, load_synonyms(), lambda requested: "demo", is_demo=True, think=True)


@pytest.fixture(scope="module")
def decoder():
    with DecoderPool() as pool:
        yield pool


@pytest.fixture
def plan(index, database, questionnaire):
    """Plan what is in the backlog."""

    def plan():
        index()
        complete_studies(database, quiet_s=0)
        while plan_study(database, questionnaire):
            pass

    return plan


@pytest.fixture
def render(database, store, pictures, decoder):
    def render(decoder=decoder):
        drawn = 0
        while (count := render_planned(database, store, pictures, decoder, owner="w")) is not None:
            drawn += count
        return drawn

    return render


def picture_of(pictures, rendering):
    return np.asarray(Image.open(BytesIO(pictures.read(rendering.png_sha256))))


@pytest.mark.parametrize("modality", list(Modality))
def test_every_modality_of_the_demo_is_drawn(store, pictures, plan, render, rows, modality):
    for ds in make_study(modality, 1):
        put_instance(store, ds)
    plan()

    assert render() == len(rows(Rendering)) > 0

    for row in rows(Rendering):
        assert row.state is RenderingState.RENDERED
        assert hashlib.sha256(pictures.read(row.png_sha256)).hexdigest() == row.png_sha256
        assert picture_of(pictures, row).shape[:2] == (392, 392)
        assert (row.claim_token, row.error, row.attempts) == (None, None, 0)
        assert row.seconds > 0
        is_color = modality not in (Modality.CT, Modality.MRI, Modality.XRAY, Modality.OCT)
        assert (row.window_source is None) == is_color


def test_a_picture_shows_what_was_drawn(store, pictures, plan, render, rows):
    put_instance(store, *make_study(Modality.XRAY, 1))
    plan()
    render()

    shown = picture_of(pictures, rows(Rendering)[0])
    drawn = Image.fromarray(make_phantom(Modality.XRAY, 1).display)
    expected = np.asarray(drawn.resize((384, 384), Image.BICUBIC).resize((392, 392), Image.BICUBIC))
    assert np.abs(shown[..., 0].astype(int) - expected if shown.ndim == 3 else shown.astype(int)
                  - expected).mean() < 2  # fmt: skip


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"]
)
def test_a_real_file_is_drawn(store, plan, render, rows, name):
    ingest_file(store, real_file(name), called_ae_title="MEDR1")
    plan()

    assert render() == len(rows(Rendering)) > 0


def test_a_picture_that_cannot_be_decoded_fails_alone_and_says_why(store, plan, render, rows):
    broken = make_study(Modality.XRAY, 1)[0]
    broken.PixelData = broken.PixelData[:100]
    put_instance(store, broken)
    for ds in make_study(Modality.ULTRASOUND, 1):
        put_instance(store, ds)
    plan()

    render()

    states = {}
    uids = {row.id: row.sop_instance_uid for row in rows(Instance)}
    for row in rows(Rendering):
        states.setdefault(uids[row.instance_id] == broken.SOPInstanceUID, set()).add(row.state)
        assert (row.error is None) == (row.state is RenderingState.RENDERED)
    assert states == {True: {RenderingState.FAILED}, False: {RenderingState.RENDERED}}
    failed = [row for row in rows(Generation) if row.state is GenerationState.FAILED]
    assert failed
    assert all("the picture could not be drawn: frame 1:" in row.error for row in failed)
    assert "rendering.failed" in {event.action for event in rows(AuditEvent)}


def test_a_resource_that_is_away_is_tried_again(store, plan, render, rows, database):
    put_instance(store, *make_study(Modality.XRAY, 1))
    plan()

    with pytest.raises(StorageUnavailable):
        render(FakeDecoder(StorageUnavailable("the share is away")))
    assert {(row.state, row.attempts) for row in rows(Rendering)} == {(RenderingState.PLANNED, 0)}
    with database.write() as session:
        session.execute(update(Rendering).values(due_at=rows(Rendering)[0].created_at))

    assert render() == len(rows(Rendering))


def test_a_file_that_is_gone_does_not_stop_the_others(store, plan, render, rows):
    for modality in (Modality.XRAY, Modality.ULTRASOUND):
        put_instance(store, *make_study(modality, 1))
    plan()
    gone = rows(Instance)[0]
    next(path for stored, path in store.settled() if stored.name == gone.stored_name).unlink()

    render()

    states = {row.instance_id: row.state for row in rows(Rendering)}
    assert states[gone.id] is not RenderingState.RENDERED
    assert RenderingState.RENDERED in states.values()


def test_the_same_frame_under_one_recipe_is_drawn_once(store, plan, render, rows):
    put_instance(store, *make_study(Modality.XRAY, 1))
    plan()
    decoder = FakeDecoder()

    render(decoder)

    assert len(decoder.decoded) == len(rows(Rendering)) < len(rows(Generation))


def test_nothing_planned_is_nothing_drawn(database, store, pictures, decoder):
    assert render_planned(database, store, pictures, decoder, owner="w") is None


def test_the_window_that_was_applied_is_recorded(store, plan, render, rows):
    ds = make_instance(WindowCenter=55, WindowWidth=333, BodyPartExamined="CHEST")
    put_instance(store, ds)
    plan()

    render()

    windows = {(row.window_center, row.window_width) for row in rows(Rendering)}
    assert (55, 333) in windows
