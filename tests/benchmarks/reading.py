"""How fast the next case is there: `python tests/benchmarks/reading.py`.

A reader judges cases of five modalities by keyboard, in a real Chromium without a GPU, over the
service as its own process and SQLite. A time begins with the key that locks a case, and ends when
the screen has a picture of the next one: it holds the lock, the opening and the first frame. The
time until the model's side is shown is that of the same key in the first phase.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Page, expect, sync_playwright
from reading_project import begin_protocol, fill_reading_project
from servers import find_program
from serving import serve_pages
from whole_site import PASSWORD, open_whole_site

from medr1_pacs.db.schema import Branch, upgrade_schema

LOOK_MS = 1_500
"""How long the reader looks at a case: meanwhile the next one is fetched."""

# When a key locks, and when a picture of what that opens is on the screen.
WATCH = """(() => {
  const times = { next: [], reveal: [] };
  let pressed = 0, kind = null;
  addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.ctrlKey) return;
    pressed = event.timeStamp;
  }, true);
  const isPicture = (context) => context.canvas.className === "viewer-picture";
  const { drawImage } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.drawImage = function (...given) {
    drawImage.apply(this, given);
    if (kind === null || !isPicture(this)) return;
    const [which, since] = [kind, pressed];
    kind = null;
    requestAnimationFrame(() => times[which].push(performance.now() - since));
  };
  addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => {
      if (pressed && document.body.dataset.state === "reading") kind = "next";
    }).observe(document.getElementById("bar"), { attributeFilter: ["value"] });
    new MutationObserver(() => {
      if (!document.getElementById("evidence").hidden && pressed) kind = "reveal";
    }).observe(document.getElementById("evidence"), { attributeFilter: ["hidden"] });
  });
  window.readingTimes = times;
})()"""


@contextmanager
def serve(folder: Path, cases: int) -> Iterator[str]:
    """Serve a project with a protocol of so many cases; gives the address of its page."""
    data_dir = folder / "data"
    data_dir.mkdir()
    with open_whole_site(data_dir) as site:
        upgrade_schema(site.database, Branch.RESEARCH)
        upgrade_schema(site.vault, Branch.VAULT)
        fill_reading_project(site, studies_each=-(-cases // 5))
        path = begin_protocol(site, "speed", readers=["anna"], cases=cases)
        with serve_pages(site) as url:
            yield url + path


def read(page: Page, cases: int) -> dict[str, list[float]]:
    """Judge all cases; returns the times of both kinds, in ms."""
    for number in range(cases):
        expect(page.locator("#progress")).to_have_text(f"{number} done, {cases - number} left")
        expect(page.locator("body[data-state=reading]")).to_be_attached()
        page.wait_for_timeout(LOOK_MS)
        page.keyboard.press("1")
        page.keyboard.press("Shift+7")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#steps [aria-current]")).to_have_text("With the model")
        page.wait_for_timeout(LOOK_MS)
        page.keyboard.press("g")
        page.keyboard.press("3")
        page.keyboard.press("Control+Enter")
    expect(page.locator("body[data-state=nothing]")).to_be_attached()
    return dict(page.evaluate("readingTimes"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    cases = parser.parse_args().cases
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), cases) as url,
        sync_playwright() as playwright,
    ):
        # A container's root has no sandbox to build, and the pages are our own.
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")
        page.add_init_script(WATCH)
        page.goto(url)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.goto(url)
        times = read(page, cases)
        browser.close()
    for name, label in (("next", "the next case"), ("reveal", "the model's side")):
        found = sorted(times[name])
        p95 = statistics.quantiles(found, n=20, method="inclusive")[-1]
        print(
            f"{label:18} p50 {statistics.median(found):6.1f} ms  p95 {p95:6.1f} ms"
            f"  worst {found[-1]:6.1f} ms  of {len(found)}"
        )


if __name__ == "__main__":
    main()
