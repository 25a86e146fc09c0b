"""How fast the viewer is in the hand: `python tests/benchmarks/viewer.py`.

In a real Chromium without a GPU, over 300 CT instances of 512 x 512 that are loaded, and one
radiograph of 3000 x 2500. Times are taken inside the page with `performance.now`, of the scripts
alone: from the event until the canvas was drawn, in a row. Frames are the pictures that came onto
the screen while a hand drags, wheels or plays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from playwright.sync_api import Page, sync_playwright
from pydicom.dataset import Dataset
from reading_site import ReadingSite, serve_reading_site
from servers import find_program

from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.demo.studies import CT_WINDOW, unwindow
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering import build_reader_frame, encode_frame

EVENTS = 300
SECONDS = 4

# The handler of an event, and the draw that it asked for, timed as one.
TIME_EVENTS = """async ({ kind, count }) => {
  const { canvas } = viewer;
  const box = canvas.getBoundingClientRect();
  const middle = { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  const there = { pointerId: 1, cancelable: true, clientX: middle.x, clientY: middle.y };
  const fire = (type, changes) =>
    canvas.dispatchEvent(new PointerEvent(type, { ...there, ...changes }));
  canvas.setPointerCapture = () => {}; // no pointer of that number is on the screen
  const times = [];
  const time = async (act) => {
    const start = performance.now();
    act();
    viewer.draw();
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  };
  if (kind === "drag") {
    fire("pointerdown", { button: 0, buttons: 1 });
    for (let at = 0; at < count; at++) {
      const [x, y] = [80 * Math.sin(at / 9), 60 * Math.cos(at / 7)];
      await time(() =>
        fire("pointermove", { buttons: 1, clientX: middle.x + x, clientY: middle.y + y }));
    }
    fire("pointerup", { button: 0 });
  } else {
    viewer.show(1);
    for (let at = 0; at < count - 1; at++) {
      await time(() =>
        canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 120, cancelable: true })));
    }
  }
  return times;
}"""
COUNT_DRAWS = """async (seconds) => {
  let draws = 0;
  const { draw } = viewer;
  viewer.draw = function () { draws++; draw.call(this); };
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  delete viewer.draw;
  return draws / ((performance.now() - start) / 1000);
}"""


def make_ct(number: int, of: int) -> bytes:
    """Encode a slice of a chest phantom, as large as a CT's."""
    offset = round(2 * number / of - 1, 2)
    small = unwindow(make_phantom(Modality.CT, 1, slice_offset=offset).display, CT_WINDOW)
    rows, columns = (np.arange(512) * side // 512 for side in small.shape)
    noise = np.random.default_rng(number).normal(0, 12, (512, 512))
    header = Dataset()
    header.PhotometricInterpretation, header.PixelSpacing = "MONOCHROME2", [0.7, 0.7]
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.WindowCenter, header.WindowWidth = 40, 400
    stored_values = (small[np.ix_(rows, columns)] + noise + 1024).astype(np.int16)
    frame = build_reader_frame(stored_values, header, 0, modality=Modality.CT, presets=PRESETS)
    return encode_frame(frame)


def make_radiograph() -> bytes:
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME1"
    header.WindowCenter, header.WindowWidth = 2048, 4096
    noise = np.random.default_rng(1).integers(0, 4096, (3000, 2500))
    return encode_frame(build_reader_frame(noise.astype(np.uint16), header, 0))


def open_series(page: Page, series: dict[str, Any]) -> float:
    """Open a series and wait until all of it is there; returns the seconds."""
    started = time.perf_counter()
    page.evaluate("(series) => viewer.open(series)", series)
    while page.evaluate("viewer.loader.countLoaded()") < series["frames"]:
        page.wait_for_timeout(20)
    return time.perf_counter() - started


def report(what: str, times_ms: list[float]) -> None:
    cuts = statistics.quantiles(times_ms, n=100)
    slowest = max(times_ms)
    print(f"{what:44} p50 {cuts[49]:6.2f}  p95 {cuts[94]:6.2f}  most {slowest:6.2f} ms")


def measure(page: Page, site: ReadingSite, count: int) -> None:
    slices = site.add_series("ct", [make_ct(number, count) for number in range(count)])
    radiograph = site.add_series("dx", [make_radiograph()])

    seconds = open_series(page, slices)
    print(f"{f'load {count} frames of 512 x 512':44} {seconds:.2f} s")
    drag = page.evaluate(TIME_EVENTS, {"kind": "drag", "count": EVENTS})
    report("drag a window, 512 x 512", drag)
    report(
        "step by wheel, 512 x 512", page.evaluate(TIME_EVENTS, {"kind": "wheel", "count": count})
    )

    canvas = page.locator(".viewer-picture").bounding_box()
    assert canvas is not None
    middle = (canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.evaluate(f"window.drawn = ({COUNT_DRAWS})({SECONDS}); 0")
    until, at = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        at += 1
        page.mouse.move(middle[0] + 80 * np.sin(at / 9), middle[1] + 60 * np.cos(at / 7))
    page.mouse.up()
    print(f"{'frames while a hand drags, 512 x 512':44} {page.evaluate('drawn'):.1f} a second")

    for rate in (30, 60):
        page.evaluate(f"viewer.show(1); viewer.play({rate})")
        shown = page.evaluate(COUNT_DRAWS, SECONDS)
        page.evaluate("viewer.pause()")
        print(f"{f'frames in cine at {rate} a second, 512 x 512':44} {shown:.1f} a second")

    open_series(page, radiograph)
    drag = page.evaluate(TIME_EVENTS, {"kind": "drag", "count": EVENTS})
    report("drag a window, 3000 x 2500", drag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    arguments = parser.parse_args()
    with serve_reading_site() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(site.url)
        while not page.evaluate("Boolean(window.viewer)"):
            page.wait_for_timeout(20)
        print(f"Chromium {browser.version}, 1440 x 900")
        measure(page, site, arguments.slices)
        browser.close()


if __name__ == "__main__":
    main()
