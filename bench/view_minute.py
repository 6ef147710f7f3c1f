"""Tests the live page beside a run of a minute: thirty emulated methods, 3,000 episodes, a real Chromium.

python -m bench.view_minute

One method answers with hostile texts, and models, methods and error messages have hostile names. The bench
fails unless the figures equal SQL's over the same rows at three moments, nothing hostile runs, no table is
cut without a sign at three widths, a transcript is reached with Tab and Enter alone, the console stays empty,
and every request goes to this page's server."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

from bench.view import started
from harness.report.text import escape_control
from harness.store.file import open_to_read
from harness.store.view_queries import BINS_A_DECADE

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!-- <script> & \u2028 \x1b[31m \u202etxt {{ 7 * 7 }}",
    "</textarea></style><iframe src=https://example.com></iframe>",
    "javascript:alert(1)",
    "<svg onload=alert(1)>",
)
# Names hold no spaces; "/" joins them. All else is allowed.
MODELS = ("<img\u00adsrc=x>", "<b>bold", "\u0646\u0645\u0648\u0630\u062c", "'\">", "{{7*7}}", "a" * 70)
METHODS = ("<script>alert(1)", "\u202etxt", "<svg\u00adonload=alert(1)>", "&lt;i&gt;", "x" * 70)
SWEEP = """
name = "minute"
seed = 1
repeats = 4
[games.referencegame]
items = 25
[audit]
again = false
"""
METHOD = """
[models.{model}.methods.{method}]
emulator = {{ {behind}skill = 0.8, latency = {{ first_s = 1.1 }}, faults = {{ rate = 0.02, kinds = ["500", "429"] }} }}
concurrency = 3
price_input_usd_per_mtok = 0.5
price_output_usd_per_mtok = 1.5
"""
MOMENTS_S = (15.0, 30.0, 45.0)
WIDTHS = (1400, 800, 390)
TABS_MAX = 300
CUT_TABLES = """[...document.querySelectorAll('.wide')].filter((frame) =>
  frame.checkVisibility({contentVisibilityAuto: true}) && frame.scrollWidth > frame.clientWidth + 2
  && !frame.classList.contains('more-right')).map((frame) => frame.ariaLabel)"""
SHOWN = """(() => {
  const text = (cell) => cell.querySelector('.name')?.title || cell.textContent;
  const all = document.querySelector('#overview [data-rows]');
  const figure = (name) => all.querySelector(`[data-figure=${name}]`).textContent;
  const table = document.querySelector('#methods-all');
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.replace(' ⇅', ''));
  return {rows: Number(all.dataset.rows),
          all: Object.fromEntries(['calls', 'errors', 'cost', 'tokens'].map((name) => [name, figure(name)])),
          methods: [...table.tBodies[0].rows].map((row) =>
            Object.fromEntries(heads.map((head, place) => [head, text(row.cells[place])])))};
})()"""


@contextmanager
def hostile_server() -> Iterator[str]:
    """Serves OpenAI's chat dialect with hostile texts: as replies, and in one of ten answers as an error."""
    turn = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            number = next(turn)
            text = HOSTILE[number % len(HOSTILE)]
            usage = {"prompt_tokens": 100, "completion_tokens": 20}
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            is_error = number % 10 == 9
            body = {"error": {"message": text}} if is_error else {"choices": [choice], "usage": usage}
            encoded = json.dumps(body).encode()
            self.send_response(500 if is_error else 200)
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def sweep_text(hostile_url: str) -> str:
    """Returns the sweep; its first method is the one that answers with hostile texts."""
    parts: list[str] = []
    for model in MODELS:
        for method in METHODS:
            behind = "" if parts else f"behind = {json.dumps(hostile_url)}, "
            parts.append(METHOD.format(model=json.dumps(model), method=json.dumps(method), behind=behind))
    return SWEEP + "".join(parts)


def heard(tab: Page, address: str, complaints: list[str]) -> None:
    """Adds to the list all that the page will complain of, or ask of other servers."""
    own = address.split("/?", 1)[0]
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on(
        "request",
        lambda asked: complaints.append(asked.url) if not asked.url.startswith((own, "data:")) else None,
    )


class Figures(NamedTuple):
    """A comparison of the page with SQL over the same first `rows` rows of calls."""

    rows: int
    compared: int
    wrong: list[str]


def compare(tab: Page, store: Path) -> Figures:
    """Compares the sums of all methods and of each with SQL's."""
    shown: dict[str, Any] = tab.evaluate(SHOWN)
    sums = """count(*), count(error_class), sum(cost_usd),
        coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0)"""
    with open_to_read(store) as connection:
        ((calls, errors, cost, tokens),) = connection.execute(
            f"SELECT {sums} FROM calls WHERE rowid < {shown['rows']}"
        ).fetchall()
        by_method = connection.execute(
            f"""SELECT method, {sums}, count(*) FILTER (try_number > 0),
            quantile_disc(latency_s, 0.5) FILTER (error_class IS NULL)
            FROM calls WHERE rowid < {shown["rows"]} GROUP BY method"""
        ).fetchall()
    pairs = [  # what the page says, and SQL
        ("calls", shown["all"]["calls"], f"{calls:,}"),
        ("errors", shown["all"]["errors"], f"{errors:,}"),
        ("tokens", shown["all"]["tokens"], f"{tokens:,}"),
        ("cost", shown["all"]["cost"], same_dollars(shown["all"]["cost"], cost)),
    ]
    lines = {line["method"]: line for line in shown["methods"]}
    for method, calls, errors, cost, _, _, median_s in by_method:
        line = lines[escape_control(method)]
        pairs.append((f"calls of {method}", line["calls"], f"{calls:,}"))
        pairs.append((f"errors of {method}", line["errors"], f"{errors:,}"))
        pairs.append((f"cost of {method}", line["US$"], same_dollars(line["US$"], cost)))
        if median_s is not None:
            pairs.append((f"p50 of {method}", line["p50"], same_bin(line["p50"], median_s)))
    wrong = [f"{name}: the page says {page}, SQL {sql}" for name, page, sql in pairs if page != sql]
    return Figures(shown["rows"], len(pairs), wrong)


def same_dollars(page: str, cost: float | None) -> str:
    """Returns the page's words where they are SQL's amount, to its last digit, else SQL's amount."""
    if cost is None:
        return "–"
    digit = 1e-4 if cost < 1 else 1e-2
    is_same = page.startswith("$") and abs(float(page[1:]) - cost) <= 0.51 * digit
    return page if is_same else f"${cost:.6f}"


def same_bin(page: str, value_s: float) -> str:
    """Returns the page's words where they are SQL's median, to a bin of 10 %, else SQL's median."""
    shown_s = (
        float(page.removesuffix(" ms")) / 1000 if page.endswith(" ms") else float(page.removesuffix(" s"))
    )
    is_same = abs(math.log10(shown_s / value_s)) * BINS_A_DECADE <= 1.0
    return page if is_same else f"{value_s:.3f} s"


def tabs_to(tab: Page, selector: str) -> int:
    """Presses Tab until an element of this kind has the focus; returns how often."""
    for pressed in range(1, TABS_MAX + 1):
        tab.keyboard.press("Tab")
        if tab.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return pressed
    raise AssertionError(f"{TABS_MAX} presses of Tab do not reach {selector}")


def by_keyboard(tab: Page) -> int:
    """Opens a transcript with Tab and Enter alone; returns how many keys were pressed."""
    keys = tabs_to(tab, "nav a[href='#episodes']") + 1
    tab.keyboard.press("Enter")
    keys += tabs_to(tab, "#episode-list a") + 1
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#talk .bubble", timeout=60_000)
    assert tab.evaluate("document.activeElement.id") == "talk"
    return keys


def hostile_read(tab: Page) -> int:
    """Opens transcripts with hostile replies and looks whether any of it ran; returns how many."""
    wanted = escape_control(f"{MODELS[0]}/{METHODS[0]}")
    tab.select_option("#by-method", wanted)
    tab.wait_for_function(
        """(wanted) => { const names = [...document.querySelectorAll('#episode-list tbody .name')]
        .filter((one) => one.closest('th')); return names.length && names.every((one) => one.textContent === wanted); }""",
        arg=wanted,
    )
    words = ""
    keys = [str(link.get_attribute("data-key")) for link in tab.locator("#episode-list a").all()[:20]]
    for key in keys:
        tab.click(f"#episode-list [data-key='{key}']")
        tab.locator("#talk", has_text=f"id {key.removeprefix('play:')}").wait_for()
        words += tab.inner_text("#talk")
    assert all(text in words for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3]))
    assert tab.locator("main img, main iframe, main script, main textarea:not(#sql)").count() == 0
    assert tab.title() == "minute.duckdb · lightbulb"
    return len(keys)


def minute() -> bool:
    """Runs the sweep and tests its page; returns whether all of it is as it should be."""
    wrong: list[str] = []
    complaints: list[str] = []
    with tempfile.TemporaryDirectory() as name, hostile_server() as url, sync_playwright() as driver:
        sweep, store = Path(name) / "minute.toml", Path(name) / "minute.duckdb"
        sweep.write_text(sweep_text(url), "utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with started("run", sweep, "--store", store, "--view") as (address, process):
            assert process.stderr is not None
            # the run's lines are read, so that it does not wait for a reader
            threading.Thread(target=process.stderr.read, daemon=True).start()
            tab = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            heard(tab, str(address), complaints)
            tab.goto(str(address))
            tab.wait_for_selector("#overview [data-rows]", timeout=60_000)
            tab.uncheck("#grouped")
            began = time.monotonic()
            for moment_s, width in zip(MOMENTS_S, WIDTHS, strict=True):
                tab.wait_for_timeout(max(0.0, 1000 * (began + moment_s - time.monotonic())))
                tab.set_viewport_size({"width": width, "height": 900})
                tab.wait_for_timeout(300)  # the frames are measured after they are drawn
                found = compare(tab, store)
                cut = tab.evaluate(CUT_TABLES)
                over = tab.evaluate("document.documentElement.scrollWidth") - width
                wrong += [*found.wrong, *(f"{width} px: cut without a sign: {one}" for one in cut)]
                wrong += [f"{width} px: the page is {over} px too wide"] if over > 0 else []
                print(
                    f"after {time.monotonic() - began:.0f} s, {width} px: {found.compared} figures of"
                    f" {found.rows:,} calls, {len(found.wrong)} not SQL's; {len(cut)} tables cut",
                    flush=True,
                )
            tab.set_viewport_size({"width": 1400, "height": 900})
            tab.reload()
            tab.wait_for_selector("#episode-list a", timeout=60_000)
            print(f"a transcript by keyboard: {by_keyboard(tab)} keys", flush=True)
            process.wait()
            tab.context.close()
        with started("view", store) as (address, _):  # the page of the run ends with it
            tab = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            heard(tab, str(address), complaints)
            tab.goto(str(address))
            tab.wait_for_selector("#episode-list a", timeout=60_000)
            print(f"hostile transcripts opened: {hostile_read(tab)}", flush=True)
            tab.context.close()
        wrong += complaints
        browser.close()
        with open_to_read(store) as connection:
            ((episodes, seconds),) = connection.execute(
                "SELECT (SELECT count(*) FROM last_episodes), max(sent_at + latency_s) - min(sent_at) FROM calls"
            ).fetchall()
    print(f"{episodes:,} episodes in {seconds:.0f} s; console errors and foreign requests: {len(complaints)}")
    for one in wrong:
        print(f"WRONG {one}")
    return not wrong


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    raise SystemExit(0 if minute() else 1)


if __name__ == "__main__":
    main()
