"""Makes the HTML around the values: the live page, and the page that is one file.

Keeps: values are JSON in a script element that is no script; no text in them can end the element or open
another one. The file loads nothing; its content policy names its own style and script by their hashes."""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from pathlib import Path

from harness.analysis.report_data import Story
from harness.report.text import escape_control
from harness.store.file import open_to_read
from harness.view.bench_values import bench_values
from harness.view.call_history import CallHistory
from harness.view.guard import file_policy
from harness.view.values import (
    GLOSSARY,
    cause_values,
    safe,
    score_values,
    size_values,
    tally_values,
    transcript_values,
    verdict_values,
)

# In the order in which one file needs them: each uses only those before it.
SCRIPTS = ("dom.js", "charts.js", "sections.js", "bench.js", "transcripts.js", "query.js", "app.js")
STYLE = "view.css"
ASSETS = (*SCRIPTS, STYLE)

_SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{policy}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title} · lightbulb</title>
{style}
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header class="top"><div class="wide-row"><h1 id="title">{title}</h1><p id="state" class="state" role="status"></p></div>
<nav id="nav" aria-label="Parts of this page"></nav></header>
<main id="main" tabindex="-1"></main>
<footer id="foot"></footer>
<noscript><p>This page is drawn by its script. The commands <code>lightbulb scores</code>, <code>audit</code>
and <code>show</code> print the same figures.</p></noscript>
{body}
</body>
</html>
"""


def asset(name: str) -> str:
    return resources.files("harness.view").joinpath("assets", name).read_text("utf-8")


def live_page(title: str) -> str:
    """Returns the page that fetches its values from the server."""
    return _SHELL.format(
        policy="",
        title=html.escape(escape_control(title)),
        style=f'<link rel="stylesheet" href="/assets/{STYLE}">',
        body='<script type="module" src="/assets/app.js"></script>',
    )


def story_values(story: Story, history: CallHistory) -> dict[str, object]:
    """Returns everything that the page in one file shows."""
    embedded = frozenset(one.episode_id for one in story.shown)
    methods = [
        {"method": one.method, "model": one.model, **history.method_values(one.method)}
        for one in story.tallies
    ]
    last = story.sweeps[-1] if story.sweeps else None
    values = {
        "live": False,
        "title": story.store,
        "made_at": story.made_at,
        "sweep": None
        if last is None
        else {"name": last.name, "version": last.version, "at": last.started_at},
        "runs": len(story.sweeps),
        "episodes_in_all": story.episodes,
        "glossary": GLOSSARY,
        "verdicts": verdict_values(story.audits, story.why_no_audit),
        "scores": score_values(story.scores),
        "sizes": size_values(story),
        "calls": methods,
        "cost": tally_values(story.tallies),
        "times": history.time_values(),
        "causes": cause_values(story.endings, embedded),
    }
    safe_values = safe(values)
    assert isinstance(safe_values, dict)
    return {**safe_values, "transcripts": transcript_values(story.shown)}


def store_page(story: Story, store: Path) -> str:
    """Returns the page of a store as one file."""
    history = CallHistory()
    with open_to_read(store) as connection:
        history.update(connection)
    return file_page(story_values(story, history))


def bench_page(store: Path, title: str, run_id: str) -> str:
    """Returns the page of one load test as one file."""
    with open_to_read(store) as connection:
        runs = [one for one in bench_values(connection) if one["run"] == run_id]
    values = safe({"only": "bench", "title": title, "glossary": GLOSSARY, "bench": runs})
    assert isinstance(values, dict)
    return file_page(values)


def file_page(values: dict[str, object]) -> str:
    """Returns the page that holds these values."""
    style, script = asset(STYLE), one_script()
    policy = html.escape(file_policy(style, script))
    return _SHELL.format(
        policy=f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        title=html.escape(str(values["title"])),
        style=f"<style>{style}</style>",
        body=f'<script type="application/json" id="values">{as_data(values)}</script>\n<script>{script}</script>',
    )


def one_script() -> str:
    """Returns the modules as one script: their imports name each other, and one scope holds them all."""
    parts = []
    for name in SCRIPTS:
        text = re.sub(r"^import [^;]*;\n", "", asset(name), flags=re.MULTILINE)
        parts.append(re.sub(r"^export ", "", text, flags=re.MULTILINE))
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def as_data(value: object) -> str:
    """Returns JSON for a script element: no text in it can end the element or open another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return (
        text.replace("&", r"\u0026")
        .replace("<", r"\u003c")
        .replace(">", r"\u003e")
        .replace("\u2028", r"\u2028")
        .replace("\u2029", r"\u2029")
    )
