"""The pages as a person uses them, in a real Chromium: the one in a file, and the live one beside a run."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from harness.analysis.report_data import store_story
from harness.store.file import open_to_read
from harness.view.pages import store_page
from tests.command import command
from tests.harness.report.browser import chromium, opened, watched
from tests.harness.report.telling import HOSTILE, ITEMS, PREFIX, REPEATS, telling_store

pytestmark = pytest.mark.docs

METHODS = 30
SWEEP = """
name = "many"
seed = 1
repeats = 12
budget = { cost_usd = 1000.0, tokens = 1_000_000_000 }
[games.referencegame]
items = 25
"""
METHOD = """
[models.model-{model}-with-a-name-that-is-far-wider-than-any-telephone.methods.a-provider-with-a-long-name-{number}]
emulator = {{ skill = 0.8, latency = {{ first_s = 1.0 }}, faults = {{ rate = 0.02, kinds = ["500", "429"] }} }}
concurrency = 2
price_input_usd_per_mtok = 0.5
price_output_usd_per_mtok = 1.5
"""
# Nothing sticks out, and a table that is wider than its frame shows that it goes on.
CUT_TABLES = """[...document.querySelectorAll('.wide')].filter((frame) =>
  frame.checkVisibility({contentVisibilityAuto: true}) && frame.scrollWidth > frame.clientWidth + 2
  && !frame.classList.contains('more-right')).map((frame) => frame.ariaLabel)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


# --- the page in one file --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    store = telling_store(folder / "told.duckdb")
    story = store_story(store, reference=None, margin=None, transcript_bytes=1_000_000, made_at=0.0)
    written = folder / "told.html"
    written.write_text(store_page(story, store), "utf-8")
    return written


@pytest.fixture
def tab(browser: Browser, told: Path) -> Iterator[Page]:
    shown, complaints = opened(browser, told)
    yield shown
    assert complaints == []
    shown.context.close()


def test_hostile_replies_are_read_not_run(tab: Page) -> None:
    """Every transcript is looked at; the words stand there, nothing ran, nothing was asked of the network."""
    seen = ""
    for link in tab.locator("#episode-list a").all():
        link.click()
        tab.wait_for_selector("#talk .bubble")
        seen += tab.inner_text("#talk")
    assert tab.locator("#episode-list a").count() == 2 * ITEMS * REPEATS
    for hostile in (HOSTILE[0], HOSTILE[1], HOSTILE[3]):
        assert hostile in seen
    assert tab.title().startswith("told.duckdb")
    assert tab.locator("main img, main iframe, main script, main textarea").count() == 0


def test_the_first_differing_character_is_marked(tab: Page) -> None:
    """The first difference of two plays is marked in characters, not in UTF-16's halves."""
    tab.locator("#episode-list a").first.click()
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
    """The link beside a cause opens a transcript with the game's parse on the reply that broke the format; by
    keyboard."""
    tab.locator("#causes a").first.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#talk .parse.broken")
    assert tab.inner_text("#talk .parse.broken") == f"✗ {PREFIX}"
    assert tab.evaluate("document.activeElement.id") == "talk"


def test_tables_sort_and_words_are_explained(tab: Page) -> None:
    """A button in a head sorts both ways; a word shows its meaning when it has the focus."""
    press = tab.locator("#scores button.sort").nth(1)
    scores = "[...document.querySelectorAll('table#scores tbody tr')].map((row) => parseFloat(row.cells[1].textContent))"
    press.press("Enter")
    down = tab.evaluate(scores)
    press.press("Enter")
    assert tab.evaluate(scores) == sorted(down) == down[::-1]
    tab.locator("#scores .term").first.focus()
    assert "percentage of episodes played" in tab.inner_text("#note")
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#note")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_no_table_is_cut_without_a_sign(browser: Browser, told: Path, width: int, dark: bool) -> None:
    """Nothing sticks out of the page; a frame that scrolls says so; ink differs from paper, dark or light."""
    shown, complaints = opened(browser, told, width=width, dark=dark)
    shown.wait_for_selector("#scores table")
    shown.wait_for_timeout(200)  # the frames are measured after they are drawn
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CUT_TABLES) == []
    paper, ink = shown.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    light = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
    assert (light[0] > light[1] + 400) is not dark
    assert (light[1] > light[0] + 400) is dark
    assert complaints == []
    shown.context.close()


def test_it_prints(tab: Page, tmp_path: Path) -> None:
    """On paper: tables and verdicts without the controls; captions no larger than the text."""
    tab.emulate_media(media="print")
    assert not tab.is_visible("nav")
    assert tab.is_visible("#scores table")
    sizes = "['td', 'caption', '.range'].map((name) => parseFloat(getComputedStyle(document.querySelector(name)).fontSize))"
    cell, caption, interval = tab.evaluate(sizes)
    assert caption <= cell
    assert interval <= cell
    tab.pdf(path=tmp_path / "told.pdf")
    assert (tmp_path / "told.pdf").read_bytes().startswith(b"%PDF")


# --- the live page ----------------------------------------------------------------------------------------


@contextmanager
def served(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Starts a command that serves a page; gives its address and the process."""
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                yield found[0], process
                break
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_live_page_shows_what_sql_says(browser: Browser, tmp_path: Path) -> None:
    """Thirty methods that play: at three moments calls, errors and cost are those of the same rows; nothing
    is asked of another server; no table is cut at three widths; a transcript is reached by keyboard."""
    sweep = tmp_path / "many.toml"
    parts = [METHOD.format(model=number % 6, number=number) for number in range(METHODS)]
    sweep.write_text(SWEEP + "".join(parts), "utf-8")
    store = tmp_path / "many.duckdb"
    with served("run", sweep, "--store", store, "--view") as (address, _):
        tab, complaints = watched(browser, address)
        while rows_shown(tab) == 0:  # on a busy machine the page is there before the first call
            tab.wait_for_timeout(100)
        for width in (1400, 800, 390):
            before = rows_shown(tab)
            assert_figures_are_those_of_sql(tab, store)
            tab.set_viewport_size({"width": width, "height": 900})
            while rows_shown(tab) == before:
                tab.wait_for_timeout(200)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            tab.wait_for_timeout(100)
            assert tab.evaluate(CUT_TABLES) == []
        assert "budget $1000.00" in tab.inner_text("#overview")
        assert "budget 1,000,000,000" in tab.inner_text("#overview")
        tab.wait_for_selector("#errors tbody tr", timeout=90_000)
        assert_causes_are_those_of_sql(tab, store)
        tab.wait_for_selector("#episode-list a")
        tab.locator("#episode-list a").first.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#talk .bubble", timeout=90_000)
        assert tab.evaluate("document.activeElement.id") == "talk"
        tab.fill("#sql", "SELECT count(*) AS calls FROM calls")
        tab.locator("#sql").press("Control+Enter")
        tab.wait_for_selector("#answer-table td, #answer-table tbody th")
        assert int(tab.inner_text("#answer-table tbody")) > 0
        tab.fill("#sql", "DELETE FROM calls")
        tab.locator("#sql").press("Control+Enter")
        tab.wait_for_selector("#answer .alarm")
        assert "read-only" in tab.inner_text("#answer")
        assert complaints == []
        tab.context.close()


def rows_shown(tab: Page) -> int:
    """Returns how many rows of `calls` the figures are of."""
    return int(str(tab.get_attribute("#overview [data-rows]", "data-rows")))


def assert_figures_are_those_of_sql(tab: Page, store: Path) -> None:
    """Compares the page's figures with a query over the same rows."""
    shown = tab.evaluate(
        "(() => { const all = document.querySelector('#overview [data-rows]');"
        " return [Number(all.dataset.rows), ...['calls', 'errors', 'cost'].map((name) =>"
        " all.querySelector(`[data-figure=${name}]`).textContent)]; })()"
    )
    with open_to_read(store) as connection:
        ((calls, errors, cost),) = connection.execute(
            f"SELECT count(*), count(error_class), sum(cost_usd) FROM calls WHERE rowid < {shown[0]}"
        ).fetchall()
    assert shown[1:3] == [f"{calls:,}", f"{errors:,}"]
    if cost is None:  # no call with a price has been stored yet
        assert shown[3] == "–"
    else:
        assert float(shown[3].removeprefix("$")) == pytest.approx(cost, abs=1e-4 if cost < 1 else 0.01)


def assert_causes_are_those_of_sql(tab: Page, store: Path) -> None:
    """Compares the table of failed requests with a query over the same rows."""
    rows, shown = tab.evaluate("""[Number(document.querySelector('#overview [data-rows]').dataset.rows),
        [...document.querySelectorAll('#errors tbody tr')].map((row) =>
            [...row.cells].map((cell) => cell.querySelector('.name')?.title || cell.textContent))]""")
    with open_to_read(store) as connection:
        counted = connection.execute(
            f"""SELECT method, error_class, http_status::VARCHAR, count(*)::VARCHAR FROM calls
            WHERE rowid < {rows} AND error_class IS NOT NULL GROUP BY ALL"""
        ).fetchall()
    assert sorted(tuple(line[:4]) for line in shown) == sorted(counted)


def test_the_stop_button_does_what_ctrl_c_does(browser: Browser, tmp_path: Path) -> None:
    """The run waits for its running calls and ends with 130; a request without the token stops nothing. The
    page says that its server has ended, and does not complain of it."""
    sweep = tmp_path / "long.toml"
    sweep.write_text(
        SWEEP.replace("repeats = 12", "repeats = 40") + METHOD.format(model=0, number=0), "utf-8"
    )
    with served("run", sweep, "--view") as (address, process):
        tab, complaints = watched(browser, address)
        tab.on("dialog", lambda dialog: dialog.accept())
        base = address.split("/?", 1)[0]
        for path, headers in (
            ("/", {}),
            ("/api/stop", {"Authorization": "Bearer wrong"}),
            ("/", {"Host": "evil.example"}),
        ):
            request = urllib.request.Request(
                f"{base}{path}", headers=headers, method="POST" if "stop" in path else "GET"
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10)
            assert refused.value.code in (403, 421)
        assert process.poll() is None
        tab.click("#stop")
        assert process.stderr is not None
        assert "stopping: waiting for" in "".join(process.stderr)
        assert process.wait(60) == 130
        tab.locator("#state", has_text="the server of this page has ended").wait_for()
        assert [one for one in complaints if not one.startswith("Stop the run?")] == []
        tab.context.close()


def test_hostile_names_and_replies_are_inert_live(browser: Browser, tmp_path: Path) -> None:
    """In a store that no run holds: names, causes and transcripts are text; the page asks this server only.
    A folder lists its stores and compares two. A list can be filtered by a name that is shown escaped."""
    names = ("m/here", "m/<b>there\u202e</b>")
    telling_store(tmp_path / "one.duckdb", methods=names)
    telling_store(tmp_path / "two.duckdb", methods=names)
    with served("view", tmp_path) as (address, _):
        tab, complaints = watched(browser, address)
        tab.wait_for_selector("#verdicts table", timeout=60_000)
        tab.click("#stores button:has-text('Compare')")
        tab.wait_for_selector("#compared")
        for link in tab.locator("#episode-list a").all()[:ITEMS]:
            link.click()
            tab.wait_for_selector("#talk .bubble")
        assert "m/<b>there\\u202e</b>" in tab.inner_text("main")
        tab.select_option("#by-method", "m/<b>there\\u202e</b>")
        tab.locator("#episode-list tbody tr").nth(ITEMS * REPEATS).wait_for(state="detached")
        assert tab.locator("#episode-list tbody tr").count() == ITEMS * REPEATS
        assert tab.locator("main img, main iframe, main script").count() == 0
        assert "there" not in tab.locator("main b").all_inner_texts()
        assert "owned" not in tab.title()
        assert complaints == []
        tab.context.close()
