"""What a page looks like, and whether anything on it keeps people from using it."""

from __future__ import annotations

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""What a page is held against in each color scheme: the other one differs in its colors alone."""


def keep_picture(page: Page, name: str) -> None:
    """Write what is seen of a page to the folder `MEDR1_SCREENSHOTS`, where there is one."""
    if folder := os.environ.get("MEDR1_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled", caret="hide")


def barriers(page: Page, rules: dict[str, object]) -> list[str]:
    """Return what keeps people from using a page, with where it is."""
    # Every row of answers is built alike; the first ones are enough.
    looked_at = {"exclude": [["table.answers tbody tr:nth-child(n + 9)"]]}
    found = (
        Axe().run(page, looked_at, {"resultTypes": ["violations"]} | rules).response["violations"]
    )
    return [
        f"{rule['impact']}: {rule['help']}: {node['html']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
