"""The page as a person uses it, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from harness.analysis.report_data import store_story
from harness.report.page import page
from tests.harness.report.browser import chromium, opened
from tests.harness.report.telling import HOSTILE, ITEMS, PREFIX, REPEATS, telling_store

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    story = store_story(
        telling_store(folder / "told.duckdb"),
        reference=None,
        margin=None,
        transcript_bytes=1_000_000,
        made_at=0.0,
    )
    written = folder / "told.html"
    written.write_text(page(story), "utf-8")
    return written


@pytest.fixture
def tab(browser: Browser, told: Path) -> Iterator[Page]:
    shown, complaints = opened(browser, told)
    yield shown
    assert complaints == []
    shown.context.close()


def test_hostile_replies_are_read_not_run(tab: Page) -> None:
    """Every transcript is looked at; the words stand there, nothing ran, nothing was asked of the network."""
    tab.locator("#transcripts").scroll_into_view_if_needed()
    tab.wait_for_selector("#talk .bubble")
    seen = ""
    for _ in range(2 * ITEMS * REPEATS):
        seen += tab.inner_text("#talk")
        tab.click("#next")
    for hostile in (HOSTILE[0], HOSTILE[1], HOSTILE[3]):
        assert hostile in seen
    assert tab.title().startswith("told.duckdb")
    assert tab.locator("#talk img, #talk iframe, #talk script").count() == 0


def test_the_first_differing_character_is_marked(tab: Page) -> None:
    """The first difference of two plays is marked in characters, not in UTF-16's halves."""
    tab.locator("#apart").scroll_into_view_if_needed()
    tab.wait_for_selector("#pair mark")
    assert tab.locator("#pair mark").all_inner_texts() in (["g", "."], [".", "g"])
    assert "character 19 of a reply of the describer, after 0 equal replies" in tab.inner_text(
        "#pair-summary"
    )
    same = tab.locator("#pair-left option").first.get_attribute("value")
    tab.select_option("#pair-left", same)
    tab.select_option("#pair-right", same)
    assert tab.inner_text("#pair-summary") == "The two transcripts are equal."
    assert tab.locator("#pair mark").count() == 0


def test_a_cause_leads_to_its_example(tab: Page) -> None:
    """The link beside a cause opens a transcript with the game's parse on the reply that broke the form; by
    keyboard."""
    tab.locator("#endings a").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#talk .parse.broken")
    assert tab.inner_text("#talk .parse.broken") == f"✗ {PREFIX}"
    assert tab.evaluate("document.activeElement.id") == "talk"


def test_tables_sort_and_everything_is_reached_by_keyboard(tab: Page) -> None:
    """A head is a button that sorts both ways; every control can hold the focus."""
    press = tab.locator("#scores table.sortable th button").nth(1)
    scores = "[...document.querySelectorAll('#scores table.sortable tbody tr')].map((row) => Number(row.cells[1].dataset.value))"
    press.press("Enter")
    down = tab.evaluate(scores)
    press.press("Enter")
    assert tab.evaluate(scores) == sorted(down) == down[::-1]
    assert tab.evaluate(
        "[...document.querySelectorAll('button, select, a')].every((one) => one.tabIndex >= 0)"
    )


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_one_way(browser: Browser, told: Path, dark: bool) -> None:
    """At 360 pixels nothing sticks out of the page, wide tables scroll in their own frame, and ink differs
    from paper, dark or light."""
    shown, complaints = opened(browser, told, width=360, dark=dark)
    shown.locator("#transcripts").scroll_into_view_if_needed()
    shown.wait_for_selector("#talk .bubble")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    paper, ink = shown.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    light = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
    assert (light[0] > light[1] + 400) is not dark
    assert (light[1] > light[0] + 400) is dark
    assert complaints == []
    shown.context.close()


def test_it_prints(tab: Page, tmp_path: Path) -> None:
    """On paper: tables and verdicts without the controls."""
    tab.emulate_media(media="print")
    assert not tab.is_visible("nav")
    assert tab.is_visible("#scores table")
    tab.pdf(path=tmp_path / "told.pdf")
    assert (tmp_path / "told.pdf").read_bytes().startswith(b"%PDF")
