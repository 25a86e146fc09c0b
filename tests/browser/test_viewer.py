"""The viewer in a real browser: it shows what the renderer draws, and does what the hand says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from pydicom import Dataset
from pydicom.sequence import Sequence
from reader_messages import Decoded, decode_phantom, list_real_frames, read_message
from reading_site import ReadingSite, serve_reading_site

from medr1_pacs.demo.studies import make_study
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering import build_reader_frame, encode_frame, render_frame

ARBITRARY = VoiWindow(101.25, 333.5)
WINDOWS = {"lung": PRESETS["lung"], "bone": PRESETS["bone"], "arbitrary": ARBITRARY}

# Per frame and case: set the window, draw, and compare the canvas with what is expected of it.
COMPARE = """async ({ frames, windows }) => {
  const worst = {};
  for (let number = 1; number <= frames; number++) {
    viewer.show(number);
    while (!viewer.frame) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const name of ["own", "inverted", ...Object.keys(windows)]) {
      viewer.reset();
      if (name === "inverted") viewer.invert();
      if (windows[name]) viewer.setWindow(...windows[name]);
      viewer.draw();
      const { width, height } = viewer.picture;
      const copy = new OffscreenCanvas(width, height);
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(viewer.picture, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      const response = await fetch(`/expected/${name}/${number}`);
      const expected = new Uint8Array(await response.arrayBuffer());
      const samples = expected.length / (width * height); // 1 or 3
      let difference = 0;
      for (let place = 0; place < width * height; place++) {
        for (let channel = 0; channel < 3; channel++) {
          const wanted = expected[samples === 3 ? 3 * place + channel : place];
          difference = Math.max(difference, Math.abs(data[4 * place + channel] - wanted));
        }
      }
      worst[`${name} ${number}`] = difference;
    }
  }
  return worst;
}"""


def wait_for(page: Page, expression: str, timeout_s: float = 10.0) -> None:
    """Wait until an expression is true: Playwright's own way is what our CSP forbids, eval."""
    until = time.monotonic() + timeout_s
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < until, f"it never came true: {expression}"
        page.wait_for_timeout(10)


def header(**elements: object) -> Dataset:
    ds = Dataset()
    ds.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def sequence(**elements: object) -> Sequence:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


def ramp(low: int, high: int, dtype: type = np.int16) -> np.ndarray:
    return np.linspace(low, high, 64 * 80).reshape(64, 80).astype(dtype)


def list_odd_frames() -> dict[str, Decoded]:
    """Return frames that need what the real ones do not."""
    lut = sequence(LUTDescriptor=[256, 0, 12], LUTData=[4095 - (n * n) // 16 for n in range(256)])
    curve = {"WindowCenter": 40, "WindowWidth": 400}
    padding = header(PhotometricInterpretation="MONOCHROME1", **curve)
    padding.add_new("PixelPaddingValue", "SS", -2000)
    padding.add_new("PixelPaddingRangeLimit", "SS", -1500)
    return {
        "sigmoid": Decoded(ramp(-1000, 1000), header(VOILUTFunction="SIGMOID", **curve)),
        "exact": Decoded(ramp(-1000, 1000), header(VOILUTFunction="LINEAR_EXACT", **curve)),
        "lookup table": Decoded(ramp(-50, 300), header(VOILUTSequence=lut)),
        "width of one": Decoded(ramp(-5, 5), header(WindowCenter=1, WindowWidth=1)),
        "halves": Decoded(ramp(0, 510), header(WindowCenter=255.5, WindowWidth=511)),
        "padding": Decoded(ramp(-2000, 2000), padding),
        "a third": Decoded(ramp(0, 4095), header(RescaleSlope=1 / 3, RescaleIntercept=-0.1)),
        "floats": Decoded(ramp(-1, 1, np.float32) * np.float32(0.7), header()),
        "32 bits": Decoded(ramp(0, 1 << 30, np.uint32), header()),
    }


@pytest.fixture(scope="module")
def decoded_frames() -> dict[str, Decoded]:
    phantoms = {
        f"{modality} phantom": decode_phantom(make_study(modality, 1)[0], modality)
        for modality in Modality
    }
    return list_real_frames() | phantoms | list_odd_frames()


@pytest.fixture(scope="module")
def site() -> Iterator[ReadingSite]:
    with serve_reading_site() as site:
        yield site


@pytest.fixture(scope="module")
def site_url(site: ReadingSite) -> str:
    return site.url


@pytest.fixture
def page(new_context: Callable[..., Any]) -> Page:
    """A page with a viewer that shows nothing yet."""
    page = new_context().new_page()
    page.goto("/")
    wait_for(page, "window.viewer")
    return page


def encode(decoded: Decoded, presets: dict[str, VoiWindow] = PRESETS) -> bytes:
    return encode_frame(
        build_reader_frame(
            decoded.stored_values,
            decoded.header,
            0,
            modality=decoded.modality,
            presets=presets,
            photometric_interpretation=decoded.photometric_interpretation,
        )
    )


def ct_frame(first: int, **elements: object) -> bytes:
    """Encode a CT frame of 100 x 100 pixels: from left to right one HU more a pixel."""
    values = np.tile(np.arange(first, first + 100, dtype=np.int16), (100, 1))
    elements = {"RescaleSlope": 1, "RescaleIntercept": 0, **elements}
    return encode(Decoded(values, header(**elements), modality=Modality.CT))


@pytest.fixture
def open_ct(site: ReadingSite, page: Page) -> Callable[..., None]:
    """Open a CT series whose first values are those given; keywords are elements or `marks`."""

    def open_ct(*firsts: int, marks: tuple[int, ...] = (), **elements: object) -> None:
        given = {"WindowCenter": 50, "WindowWidth": 101, "PixelSpacing": [2, 0.5], **elements}
        messages = [ct_frame(first, **given) for first in firsts]
        series = site.add_series("ct", messages, marks=list(marks))
        page.evaluate("(series) => viewer.open(series)", series)
        wait_for(page, f"viewer.loader.countLoaded() === {len(firsts)} && viewer.frame")
        # Until the layout has settled: a place is where it is only then.
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    return open_ct


def place_of(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where a place of the picture is on the page."""
    return tuple(
        page.evaluate(
            """([x, y]) => {
              viewer.draw();
              const box = viewer.canvas.getBoundingClientRect();
              const place = viewer.view.toCanvas({ x, y });
              return [box.left + place.x / devicePixelRatio, box.top + place.y / devicePixelRatio];
            }""",
            [x, y],
        )
    )


def picture_place_of(page: Page, x: float, y: float) -> list[float]:
    """Return which place of the picture is at a place of the page."""
    return page.evaluate(
        """([x, y]) => {
          const { left, top } = viewer.canvas.getBoundingClientRect();
          const ratio = devicePixelRatio;
          const found = viewer.view.toPicture({ x: (x - left) * ratio, y: (y - top) * ratio });
          return [found.x, found.y];
        }""",
        [x, y],
    )


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], button="left") -> None:
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(*end, steps=4)
    page.mouse.up(button=button)


def window_of(page: Page) -> list[float]:
    return page.evaluate("[viewer.voi.center, viewer.voi.width]")


def test_every_picture_is_windowed_as_the_renderer_draws_it(site, page, decoded_frames):
    for number, decoded in enumerate(decoded_frames.values(), start=1):
        message = read_message(encode(decoded))
        for name, display in expected_displays(decoded, message).items():
            site.answers[f"/expected/{name}/{number}"] = display.tobytes()
    series = site.add_series("all", [encode(decoded) for decoded in decoded_frames.values()])
    page.evaluate("(series) => viewer.open(series)", series)

    windows = {name: [window.center, window.width] for name, window in WINDOWS.items()}
    worst = page.evaluate(COMPARE, {"frames": series["frames"], "windows": windows})

    assert len(worst) == series["frames"] * (2 + len(WINDOWS)) > 500
    assert {name: difference for name, difference in worst.items() if difference} == {}


def expected_displays(decoded: Decoded, message) -> dict[str, np.ndarray]:
    """Return what is to be seen, by the renderer wherever it has such a picture."""

    def render(request: WindowRequest) -> np.ndarray:
        return render_frame(
            decoded.stored_values,
            decoded.header,
            0,
            request,
            decoded.photometric_interpretation,
        ).display

    own = render(WindowRequest())
    gray = message.told["gray"]
    if gray is None:
        return {"own": own, "inverted": 255 - own, **dict.fromkeys(WINDOWS, own)}
    told = message.told | {"gray": gray | {"is_inverted": not gray["is_inverted"]}}
    expected = {"own": own, "inverted": type(message)(told, message.sections).draw()}
    curve = gray["offered"][gray["default"]]["function"] or "LINEAR"
    for name, window in WINDOWS.items():
        if curve == "LINEAR":
            expected[name] = render(WindowRequest(preset=window))
        else:  # a dragged window keeps the object's curve
            voi = {"center": window.center, "width": window.width, "function": curve}
            expected[name] = message.draw(voi)
    return expected


def test_what_is_seen_is_the_picture_enlarged(page, open_ct):
    open_ct(0, PixelSpacing=[1, 1])

    shown = page.evaluate(
        """() => {
          viewer.zoom(4 / viewer.view.scale);
          viewer.draw();
          const { x, y } = viewer.view.toCanvas({ x: 0.5, y: 50 });
          const { data } = viewer.canvas
            .getContext("2d").getImageData(Math.floor(x), Math.floor(y), 400, 1);
          return Array.from({ length: 100 }, (_, column) => data[4 * 4 * column]);
        }"""
    )

    wanted = np.rint((np.arange(100) - 49.5) / 100 * 255 + 127.5)
    assert np.abs(np.array(shown) - wanted).max() <= 3  # a quarter of a pixel is one level


def test_the_value_under_the_cursor_is_told_with_its_unit(page, open_ct):
    open_ct(-30)

    page.mouse.move(*place_of(page, 12.5, 70.5))

    expect(page.locator("#value")).to_have_text("−18\u2009HU")
    assert page.evaluate("told.at(-1)") == {
        "name": "value",
        "detail": {"value": -18, "units": "HU", "isPadding": False, "step": None},
    }


def test_nothing_is_told_beside_the_picture(page, open_ct):
    open_ct(-30)
    page.mouse.move(*place_of(page, 12.5, 70.5))

    page.mouse.move(*place_of(page, -1, 50))

    expect(page.locator("#value")).to_have_text("")


def test_the_color_under_the_cursor_is_told(site, page):
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[10, 20] = [1, 2, 3]
    message = encode(Decoded(pixels, header(PhotometricInterpretation="RGB", BitsStored=8)))
    page.evaluate("(series) => viewer.open(series)", site.add_series("rgb", [message]))
    wait_for(page, "viewer.frame")

    page.mouse.move(*place_of(page, 20.5, 10.5))

    expect(page.locator("#value")).to_have_text("RGB 1 2 3")
    expect(page.locator("#window")).to_have_text("")


def test_padding_is_told_as_such(page, open_ct):
    open_ct(0, PixelPaddingValue=0)

    page.mouse.move(*place_of(page, 0.5, 0.5))

    expect(page.locator("#value")).to_have_text("no picture here")


def test_a_left_drag_moves_the_window(page, open_ct):
    open_ct(0)
    x, y = place_of(page, 50, 50)

    drag(page, (x, y), (x + 50, y - 25))

    # 250 pixels are the width less one: 100 HU.
    assert window_of(page) == [50 - 10, 101 + 20]
    expect(page.locator("#window")).to_have_text("C 40  W 121")


def test_a_window_is_never_narrower_than_one(page, open_ct):
    open_ct(0)
    x, y = place_of(page, 50, 50)

    drag(page, (x, y), (x - 400, y))

    assert window_of(page)[1] == 1
    drag(page, (x, y), (x + 400, y))
    assert window_of(page)[1] > 1


def test_the_wheel_steps_and_stops_at_the_ends(page, open_ct):
    open_ct(0, 10, 20)
    page.mouse.move(*place_of(page, 50, 50))

    for _ in range(4):
        page.mouse.wheel(0, 120)
    expect(page.locator("#frame")).to_have_text("frame 3 of 3")
    expect(page.locator("#value")).to_have_text("70\u2009HU")

    page.mouse.wheel(0, -120)
    expect(page.locator("#frame")).to_have_text("frame 2 of 3")


def test_small_turns_of_the_wheel_add_up(page, open_ct):
    open_ct(0, 10, 20)
    page.mouse.move(*place_of(page, 50, 50))

    for _ in range(5):
        page.mouse.wheel(0, 30)

    expect(page.locator("#frame")).to_have_text("frame 2 of 3")


def test_ctrl_wheel_zooms_around_the_cursor(page, open_ct):
    open_ct(0, 10)
    place = tuple(map(round, place_of(page, 20, 30)))  # a wheel tells whole pixels
    page.mouse.move(*place)
    before = picture_place_of(page, *place)

    page.keyboard.down("Control")
    page.mouse.wheel(0, -480)
    page.keyboard.up("Control")

    wait_for(page, "viewer.view.zoom === 2")
    assert picture_place_of(page, *place) == pytest.approx(before)
    assert page.evaluate("viewer.number") == 1


def test_a_right_drag_zooms(page, open_ct):
    open_ct(0)
    x, y = place_of(page, 50, 50)

    drag(page, (x, y), (x, y - 70), button="right")

    assert page.evaluate("viewer.view.zoom") == pytest.approx(1.01**70)


@pytest.mark.parametrize("button", ["middle", "left"])
def test_a_middle_or_shift_drag_moves_the_picture(page, open_ct, button):
    open_ct(0)
    x, y = place_of(page, 50, 50)

    if button == "left":
        page.keyboard.down("Shift")
    drag(page, (x, y), (x + 40, y - 30), button=button)
    page.keyboard.up("Shift")

    assert place_of(page, 50, 50) == pytest.approx((x + 40, y - 30), abs=0.01)
    assert window_of(page) == [50, 101]


def test_window_zoom_and_place_stay_over_the_frames(page, open_ct):
    open_ct(0, 10, WindowCenter=[50], WindowWidth=[101])
    page.evaluate("viewer.setWindow(10, 20); viewer.zoom(3); viewer.pan(50, 60); viewer.invert()")
    before = (window_of(page), place_of(page, 50, 50))

    page.evaluate("viewer.step(1)")

    assert (window_of(page), place_of(page, 50, 50)) == before
    expect(page.locator("#window")).to_have_text("C 10  W 20  inverted")


def test_a_frame_that_nobody_windowed_has_its_own_window(site, page):
    messages = [ct_frame(0, WindowCenter=center, WindowWidth=100) for center in (10, 20)]
    page.evaluate("(series) => viewer.open(series)", site.add_series("two", messages))

    centers = []
    for number in (1, 2):
        page.evaluate(f"viewer.show({number})")
        wait_for(page, "viewer.frame")
        centers.append(window_of(page)[0])

    assert centers == [10, 20]


def test_a_double_click_resets(page, open_ct):
    open_ct(0)
    page.evaluate("viewer.setWindow(10, 20); viewer.zoom(3); viewer.pan(50, 60); viewer.invert()")

    page.mouse.dblclick(*place_of(page, 50, 50))

    assert window_of(page) == [50, 101]
    assert page.evaluate("[viewer.view.zoom, viewer.isInverted]") == [1, False]


def test_keys_do_what_the_buttons_say(page, open_ct):
    open_ct(*range(0, 300, 10))

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    press("ArrowDown", "ArrowDown", "ArrowUp", "PageDown")
    assert page.evaluate("viewer.number") == 12
    press("PageUp", "PageUp")
    assert page.evaluate("viewer.number") == 1
    press("w", "w")
    expect(page.locator("#window")).to_have_text("C 35  W 40  stroke")
    press("i", "r", "+", "+", "-")
    assert page.evaluate("[viewer.isInverted, viewer.rulerMode, viewer.view.zoom]") == [
        True,
        True,
        1.25,
    ]
    press("0")
    assert page.evaluate("[viewer.isInverted, viewer.view.zoom, viewer.voi.name]") == [
        False,
        1,
        "object",
    ]
    page.get_by_role("button", name="Next preset W").click()
    expect(page.locator("#window")).to_have_text("C 40  W 80  brain")


def test_presets_begin_anew_after_the_last(page, open_ct):
    open_ct(0)

    for _ in range(1 + len(PRESETS)):
        page.keyboard.press("w")

    assert page.evaluate("viewer.voi.name") == "object"


def test_keys_belong_to_a_field_that_has_the_focus(page, open_ct):
    open_ct(0, 10)

    page.get_by_label("Comment").press("i")
    page.get_by_label("Comment").press("ArrowDown")

    assert page.evaluate("[viewer.isInverted, viewer.number]") == [False, 1]


def test_the_ruler_measures_a_drag_in_mm(page, open_ct):
    open_ct(0)
    page.keyboard.press("r")

    drag(page, place_of(page, 10, 20), place_of(page, 70, 60))

    # 60 columns of 0.5 mm and 40 rows of 2 mm.
    assert ruler_text(page) == f"{np.hypot(30, 80):.1f} mm"


def test_the_ruler_measures_between_two_clicks(page, open_ct):
    open_ct(0)
    page.keyboard.press("r")

    page.mouse.click(*place_of(page, 10, 20))
    page.mouse.click(*place_of(page, 30, 20))
    page.mouse.move(*place_of(page, 90, 90))

    assert ruler_text(page) == "10.0 mm"


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ({"PixelSpacing": None}, "20.0 px; size of a pixel unknown"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.5, 0.5]}, "10.0 mm on the detector"),
    ],
    ids=["unknown", "of the detector"],
)
def test_the_ruler_says_what_its_length_is_worth(page, open_ct, elements, text):
    open_ct(0, **elements)
    page.keyboard.press("r")

    drag(page, place_of(page, 10, 20), place_of(page, 30, 20))

    assert ruler_text(page) == text


def test_a_ruler_belongs_to_its_frame(page, open_ct):
    open_ct(0, 10)
    page.keyboard.press("r")
    drag(page, place_of(page, 10, 20), place_of(page, 30, 20))

    page.evaluate("viewer.step(1)")
    assert ruler_text(page) is None

    page.evaluate("viewer.step(-1)")
    assert ruler_text(page) == "10.0 mm"


def ruler_text(page: Page) -> str | None:
    """Return what is written beside the ruler."""
    return next(iter(texts_of(page)), None)


def texts_of(page: Page) -> list[str]:
    """Return what is written on the canvas."""
    return page.evaluate(
        """() => {
          const written = [];
          const { fillText } = CanvasRenderingContext2D.prototype;
          CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
            written.push(text);
            return fillText.call(this, text, ...place);
          };
          viewer.draw();
          CanvasRenderingContext2D.prototype.fillText = fillText;
          return written;
        }"""
    )


def test_pixels_are_as_high_as_their_spacing_says(page, open_ct):
    open_ct(0, PixelSpacing=[2, 0.5])

    (left, top), (right, bottom) = place_of(page, 0, 0), place_of(page, 100, 100)

    assert (bottom - top) / (right - left) == pytest.approx(4)
    assert picture_place_of(page, left, bottom) == pytest.approx([0, 100])


def test_the_sides_of_the_patient_are_written_at_the_edges(page, open_ct):
    open_ct(0, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])

    assert texts_of(page) == ["R", "L", "A", "P"]


def test_cine_plays_round_and_stops(page, open_ct):
    open_ct(0, 10, 20, RecommendedDisplayFrameRate=50)

    page.keyboard.press("Space")
    wait_for(page, "told.filter(({ name }) => name === 'frame').length > 8")
    assert page.evaluate("[viewer.isPlaying, viewer.cine.rate]") == [True, 50]
    page.keyboard.press("Space")

    numbers = page.evaluate(
        "told.filter(({ name, detail }) => name === 'frame' && detail.isLoaded)"
        ".map(({ detail }) => detail.number)"
    )
    followed = {pair for pair in pairwise(numbers) if pair[0] != pair[1]}
    assert followed == {(1, 2), (2, 3), (3, 1)}
    stopped = page.evaluate("viewer.number")
    page.wait_for_timeout(100)
    assert page.evaluate("viewer.number") == stopped


def test_frames_are_asked_for_from_the_current_one_outward(site, page):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    series = site.add_series("far", [ct_frame(0)] * 9)

    page.evaluate("(series) => viewer.open(series, 5)", series)
    wait_for(page, "viewer.loader.countLoaded() === 9")

    numbers = [int(url.rsplit("/", 1)[1]) for url in asked]
    assert set(numbers[:4]) == {5, 6, 4, 7}
    assert sorted(numbers) == list(range(1, 10))


def test_another_series_ends_the_loading_of_the_first(site, page):
    gate = Event()
    messages = [ct_frame(0)] * 9
    slow = site.add_series("slow", messages)
    for number in range(1, 10):
        site.answers[f"/series/slow/frames/{number}"] = lambda: gate.wait(10) and messages[0]
    quick = site.add_series("quick", messages[:2])
    site.asked.clear()
    with page.expect_request("**/slow/frames/1"):
        page.evaluate("(series) => viewer.open(series)", slow)

    page.evaluate("(series) => viewer.open(series)", quick)

    wait_for(page, "viewer.loader.countLoaded() === 2")
    gate.set()
    expect(page.locator("#frame")).to_have_text("frame 1 of 2")
    assert sum("/slow/" in path for path in site.asked) <= 4


def test_frames_of_the_next_case_are_there_before_it(site, page):
    here = site.add_series("here", [ct_frame(0)] * 2)
    after = site.add_series("after", [ct_frame(0)] * 5)
    site.asked.clear()

    page.evaluate(
        "([one, other]) => { viewer.open(one); viewer.preload(other, 2); }", [here, after]
    )

    wait_for(page, f"viewer.loader.heldBytes === {4 * len(ct_frame(0))}")
    assert [path.split("/")[2] for path in site.asked] == ["here"] * 2 + ["after"] * 2
    page.evaluate("(series) => viewer.open(series)", after)
    assert page.evaluate("viewer.loader.countLoaded()") >= 2


def test_no_more_is_held_than_fits_and_what_is_near_is_kept(site, page):
    series = site.add_series("large", [ct_frame(0)] * 12)
    page.evaluate(f"viewer.loader.maxBytes = {5 * len(ct_frame(0))}")
    page.evaluate("(series) => viewer.open(series)", series)

    def held() -> list[int]:
        page.wait_for_timeout(300)
        return page.evaluate("[...Array(12).keys()].filter((n) => viewer.loader.get(n + 1))")

    assert held() == [0, 1, 2, 3, 4]
    page.evaluate("viewer.show(10)")
    assert set(held()) >= {8, 9, 10}
    assert page.evaluate("viewer.loader.heldBytes <= viewer.loader.maxBytes")


def test_a_frame_that_cannot_be_had_says_why_and_the_others_are_shown(site, page, watch):
    watch.expect_status(422)
    series = site.add_series("broken", [ct_frame(0)] * 3)
    site.answers["/series/broken/frames/2"] = 422
    page.evaluate("(series) => viewer.open(series)", series)
    wait_for(page, "viewer.loader.countLoaded() === 2")

    page.evaluate("viewer.step(1)")

    expect(page.locator("#message")).to_have_text("Frame 2 cannot be shown: it is not to be seen")
    assert page.evaluate("viewer.frame") is None
    page.evaluate("viewer.step(1)")
    expect(page.locator("#message")).to_have_text("")


def test_a_service_that_was_away_is_asked_again(site, page, watch):
    watch.expect_status(503)
    series = site.add_series("away", [ct_frame(0)])
    answers: list[bytes | int] = [503, ct_frame(0)]
    site.answers["/series/away/frames/1"] = lambda: answers.pop(0)

    page.evaluate("(series) => viewer.open(series)", series)

    expect(page.locator("#message")).to_have_text("Frame 1 cannot be shown: it is not to be seen")
    wait_for(page, "viewer.frame")
    expect(page.locator("#message")).to_have_text("")


def test_the_frame_that_the_model_saw_is_pointed_out(page, open_ct):
    open_ct(0, 10, 20, marks=(2,))
    bar = page.get_by_role("slider", name="Frame")
    expect(page.locator("#mark")).to_have_text("")

    page.keyboard.press("ArrowDown")

    expect(page.locator("#mark")).to_have_text("The model saw this frame")
    expect(bar).to_have_attribute("aria-valuetext", "frame 2 of 3, seen by the model")


def test_a_click_on_the_bar_goes_to_the_frame_there(page, open_ct):
    open_ct(0, 10, 20, 30)
    box = page.get_by_role("slider", name="Frame").bounding_box()

    page.mouse.click(box["x"] + 5, box["y"] + box["height"] * 0.6)

    expect(page.locator("#frame")).to_have_text("frame 3 of 4")


def test_a_large_frame_is_coarse_while_it_is_dragged_and_whole_at_rest(site, page):
    values = np.arange(2000 * 1500, dtype=np.uint32).reshape(2000, 1500) % 4096
    decoded = Decoded(values.astype(np.uint16), header(WindowCenter=2048, WindowWidth=4096))
    page.evaluate("(series) => viewer.open(series)", site.add_series("dx", [encode(decoded)]))
    wait_for(page, "viewer.frame && viewer.picture")
    x, y = place_of(page, 700, 900)

    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y)
    wait_for(page, "viewer.picture.width === 750")
    page.mouse.up()

    wait_for(page, "viewer.picture.width === 1500")


def test_the_picture_follows_the_size_and_density_of_the_screen(site, new_context):
    page = new_context(device_scale_factor=2).new_page()
    page.goto("/")
    wait_for(page, "window.viewer")
    page.evaluate("(series) => viewer.open(series)", site.add_series("one", [ct_frame(0)]))

    page.set_viewport_size({"width": 800, "height": 600})

    wait_for(page, "viewer.canvas.clientWidth < 800")
    wait_for(page, "viewer.canvas.width === 2 * viewer.canvas.clientWidth")
