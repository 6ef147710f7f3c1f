"""The page of a load test, in a real Chromium: as one file, and live in the page of the store."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.command import command, lightbulb
from tests.harness.report.browser import chromium, opened, watched

pytestmark = pytest.mark.docs

SWEEP = """
name = "b"
[games.taboo]
items = 4
[models.a-model-with-a-long-name.methods.a-method-with-a-long-name]
bots = { latency_s = 0.05 }
"""
# Frames in which something is cut: a table or a figure that is wider than its frame.
CUT = """[...document.querySelectorAll('#bench .wide, #bench figure')]
  .filter((frame) => frame.scrollWidth > frame.clientWidth + 2).map((frame) => frame.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store and the page of a load test."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "b.toml").write_text(SWEEP)
    load = (
        "--concurrency",
        "1,4,16",
        "--rates",
        "20,40",
        "--requests",
        60,
        "--repeats",
        2,
        "--label",
        "<i>one</i>",
    )
    ended = lightbulb("bench", folder / "b.toml", *load, "--html", folder / "b.html")
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_of_a_load_test(measured: Path, width: int) -> None:
    """It has the curves of both loops, the facts of what was measured and every stage; at 1,400 pixels
    nothing is cut, and nothing is wider than the window on a telephone; it asks for nothing, and a label is
    only text."""
    with chromium() as browser:
        tab, complaints = opened(browser, measured / "b.html", width=width)
        tab.wait_for_selector("#bench figure")
        titles = [one.split(" by ")[0] for one in tab.locator("#bench figcaption b").all_inner_texts()]
        assert titles.count("TTFT") + titles.count("E2E") >= 2
        assert titles.count("Throughput against latency") == 2
        assert tab.locator("#bench tbody tr").count() == 10
        assert "“<i>one</i>”" in tab.inner_text("#bench h3")
        tab.locator("#bench summary").click()
        assert "distinct prompts of the games" in tab.inner_text("#bench dl")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        if width == 1400:
            assert tab.evaluate(CUT) == []
        assert complaints == []
        tab.context.close()


def test_the_live_page_has_the_load_tests(measured: Path) -> None:
    """`lightbulb view` of the store draws the same curves."""
    with (
        subprocess.Popen(command("view", measured / "b.duckdb"), stderr=subprocess.PIPE, text=True) as server,
        chromium() as browser,
    ):
        assert server.stderr is not None
        found = re.search(r"http://\S+", server.stderr.readline())
        assert found is not None
        tab, complaints = watched(browser, found[0])
        tab.wait_for_selector("#bench figure", timeout=60_000)
        assert tab.locator("#bench tbody tr").count() == 10
        assert complaints == []
        tab.context.close()
        server.terminate()
