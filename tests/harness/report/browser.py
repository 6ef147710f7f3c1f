"""A real Chromium for pages, or a clear sentence why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own, else playwright's; skips the test where neither is installed."""
    with sync_playwright() as driver:
        installed = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            browser = driver.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(
                f"no Chromium here ({str(error).splitlines()[0]}): apt-get install chromium, or playwright install chromium"
            )
        yield browser
        browser.close()


def opened(browser: Browser, page: Path, *, width: int = 1200, dark: bool = False) -> tuple[Page, list[str]]:
    """The page, and all that it complained of or asked the network for."""
    complaints: list[str] = []
    tab = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    ).new_page()
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda asked: complaints.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None,
    )
    tab.goto(page.as_uri())
    return tab, complaints


def watched(browser: Browser, address: str, *, width: int = 1400) -> tuple[Page, list[str]]:
    """The page at an address, and all that it complained of or asked of other servers."""
    complaints: list[str] = []
    tab = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    own = address.split("/?", 1)[0]
    tab.on(
        "request",
        lambda asked: complaints.append(asked.url) if not asked.url.startswith((own, "data:")) else None,
    )
    tab.goto(address)
    tab.wait_for_selector("body[data-ready=true]", timeout=60_000)
    return tab, complaints
