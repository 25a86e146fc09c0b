"""The pages in a real browser, over a site that has something of everything.

A browser and a service live as long as a module: Playwright's event loop runs in the thread of the
tests meanwhile, where tests of other folders run loops of their own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from servers import find_program
from serving import serve_pages
from watching import Watch
from whole_site import PASSWORD, WholeSite, fill, have_exports, have_protocols, open_whole_site


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    # A container's root has no sandbox to build, and the pages are our own.
    browser = playwright.chromium.launch(
        executable_path=find_program("chromium"), args=["--no-sandbox"]
    )
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def browser_context_args(site_url: str) -> dict[str, Any]:
    return {"base_url": site_url, "viewport": {"width": 1440, "height": 900}, "locale": "en-US"}


@pytest.fixture(scope="session")
def filled_data_dir(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the whole site as it is before anybody works with it.

    The processes of one run share it: whoever comes first fills it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    data_dir = folder / "whole-site"
    with (folder / "whole-site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data_dir.exists():
            filling = folder / "whole-site.filling"
            shutil.copytree(migrated_sqlite, filling)
            with open_whole_site(filling) as site:
                fill(site)
                have_exports(site)
                have_protocols(site)
            filling.rename(data_dir)
    return data_dir


@pytest.fixture(scope="module")
def whole_site(
    filled_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WholeSite]:
    """The module's own copy of the whole site."""
    data_dir = tmp_path_factory.mktemp("service") / "data"
    shutil.copytree(filled_data_dir, data_dir)
    with open_whole_site(data_dir) as site:
        yield site


@pytest.fixture(scope="module")
def site_url(whole_site: WholeSite) -> Iterator[str]:
    """The address of the pages, which a process of the service serves."""
    with serve_pages(whole_site) as url:
        yield url


@pytest.fixture(autouse=True)
def watch(site_url: str) -> Iterator[Watch]:
    """What goes wrong unseen in any page of the test fails it."""
    watch = Watch(site_url)
    yield watch
    assert watch.finish() == []


@pytest.fixture
def new_context(
    watch: Watch, new_context: Callable[..., BrowserContext]
) -> Callable[..., BrowserContext]:
    """Open a browser of its own: with no cookie of another, and watched."""

    def new_watched_context(**options: Any) -> BrowserContext:
        context = new_context(**options)
        context.set_default_timeout(10_000)
        watch.watch(context)
        return context

    return new_watched_context


@pytest.fixture
def sign_in_by_form() -> Callable[..., Page]:
    """Sign in as people do; returns the page behind the form."""

    def sign_in_by_form(page: Page, account: str, password: str = PASSWORD) -> Page:
        page.goto("/sign-in")
        page.get_by_label("Name").fill(account)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        return page

    return sign_in_by_form


@pytest.fixture(scope="module")
def signed_in_states() -> dict[str, Any]:
    """Account -> the cookies of the browser in which it signed in."""
    return {}


@pytest.fixture
def page_of(
    new_context: Callable[..., BrowserContext],
    sign_in_by_form: Callable[..., Page],
    signed_in_states: dict[str, Any],
) -> Callable[..., Page]:
    """Open a page in the browser of an account, which signs in once a module."""

    def page_of(account: str, path: str = "/") -> Page:
        if account not in signed_in_states:
            page = sign_in_by_form(new_context().new_page(), account)
            signed_in_states[account] = page.context.storage_state()
        page = new_context(storage_state=signed_in_states[account]).new_page()
        page.goto(path)
        return page

    return page_of
