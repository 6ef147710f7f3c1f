"""Size and training against score as one page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from harness.analysis.csv_tables import read_tables
from harness.audit.characteristics import characterise
from harness.report.characteristics import sentences
from harness.report.characteristics_page import characteristics_page

DATA = Path(__file__).parents[1] / "audit" / "data"


def test_the_page_of_the_published_table() -> None:
    """The page has every sentence, the figure as an image, and a table of fits, of classes of size and of
    access methods; it runs no script, and a model's name cannot add elements."""
    found = characterise(
        *read_tables(DATA / "published_scores.csv", DATA / "model_facts.csv"), reference=None
    )
    hostile = replace(found.methods[0], model="<script>alert(1)</script>")
    found = replace(found, methods=(hostile, *found.methods[1:]))
    page = characteristics_page(found, scores="s.csv", facts="f.csv", made_at=0.0)
    assert page.count('<img src="data:image/svg+xml;base64,') == 1
    assert len(re.findall("<p>", page)) == len(list(sentences(found)))
    assert re.findall("<h2>(.*)</h2>", page)[:2] == ["Fits", "Classes of size"]
    assert page.count("<table>") == 3
    assert page.count("<tr>") == 3 + sum(len(fit.slopes) for fit in found.fits) + len(found.brackets) + len(
        found.methods
    )
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
