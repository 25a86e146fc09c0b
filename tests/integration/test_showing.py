import numpy as np
import pytest
from factories import make_instance, put_instance
from pydicom import dcmread
from reader_messages import read_message

from medr1_pacs.decoding import DecoderPool
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import InstanceDamaged, PixelDataUnusable
from medr1_pacs.part10 import read_file_meta
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering import encode_frame, render_frame
from medr1_pacs.steps.showing import show_frame
from medr1_pacs.storage.instances import sha256_from
from medr1_pacs.web.app import make_app
from medr1_pacs.web.dependencies import FrameDecoder


@pytest.fixture(scope="module")
def decoder():
    with DecoderPool() as pool:
        yield pool


@pytest.fixture
def keep(store):
    """Keep an instance; returns what shows its first frame."""

    def keep(ds, modality=Modality.CT, **changes):
        stored = put_instance(store, ds)
        store.keep(stored)
        path = store.instance_path(stored)
        with path.open("rb") as file:
            _, offset = read_file_meta(file)
            file.seek(offset)
            sha256 = sha256_from(file)
        return ShownFrame(stored.name, sha256, 1, modality, **changes), path

    return keep


@pytest.mark.parametrize("modality", list(Modality))
def test_a_frame_of_every_modality_is_shown_as_it_is_rendered(store, decoder, keep, modality):
    ds = make_study(modality, 1)[0]
    request = WindowRequest()
    shown, path = keep(ds, modality)

    message = read_message(encode_frame(show_frame(store, decoder, shown, PRESETS)))

    decoded = decoder.decode(path, 0)
    rendered = render_frame(
        decoded.stored_values,
        dcmread(path, stop_before_pixels=True),
        0,
        request,
        decoded.photometric_interpretation,
    )
    assert np.array_equal(message.draw(), rendered.display)


def test_a_reader_begins_with_the_window_of_the_models_picture(store, decoder, keep):
    request = WindowRequest(preset=VoiWindow(-600, 1500), preset_name="lung")
    shown, _ = keep(make_instance(), window_request=request)

    gray = show_frame(store, decoder, shown, PRESETS).gray

    assert gray.offered[gray.default].name == "lung"
    assert gray.default_source == "preset lung"


def test_every_frame_of_one_object_is_shown(store, decoder, keep):
    shown, _ = keep(make_instance(NumberOfFrames=2, Rows=4, PixelSpacing=[2, 3]))

    frames = [
        show_frame(
            store, decoder, ShownFrame(shown.stored_name, shown.sha256, number, Modality.CT), {}
        )
        for number in (1, 2)
    ]

    assert [frame.gray.scale.first for frame in frames] == [0, 32]
    assert {frame.spacing.rows_mm for frame in frames} == {2}


@pytest.mark.parametrize("frame_number", [0, 2, -1])
def test_a_frame_that_the_instance_does_not_have_is_refused(store, decoder, keep, frame_number):
    shown, _ = keep(make_instance())

    with pytest.raises(PixelDataUnusable, match="the instance has 1 frames"):
        show_frame(
            store,
            decoder,
            ShownFrame(shown.stored_name, shown.sha256, frame_number, Modality.CT),
            {},
        )


def test_nothing_is_shown_of_a_damaged_file(store, decoder, keep):
    shown, path = keep(make_instance())
    show_frame(store, decoder, shown, {})

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)

    with pytest.raises(InstanceDamaged, match="is not what was received"):
        show_frame(store, decoder, shown, {})


def test_nothing_is_shown_of_a_file_that_went(store, decoder, keep):
    shown, path = keep(make_instance())
    show_frame(store, decoder, shown, {})

    path.unlink()

    with pytest.raises(InstanceDamaged, match="is missing"):
        show_frame(store, decoder, shown, {})


@pytest.fixture
def ask_for_decoder(database, store, pictures, give_token):
    """Build the pages around a decoder; returns what a route that asks for it is answered."""

    def ask_for_decoder(decoder):
        app = make_app(database, store, pictures, decoder=decoder)

        @app.get("/api/probe")
        def probe(given: FrameDecoder) -> bool:
            return given is decoder

        return give_token(app).get("/api/probe")

    return ask_for_decoder


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_pages_hand_on_their_decoder(ask_for_decoder, decoder):
    assert ask_for_decoder(decoder).json() is True


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_pages_without_a_decoder_say_so(ask_for_decoder):
    answer = ask_for_decoder(None)

    assert answer.status_code == 503
    assert "no decoder" in answer.json()["detail"]
