"""Size and training against score as one HTML page: the sentences, the figure, the tables.

Keeps: the page works offline and has no script; the figure is an SVG document shown as an image."""

from __future__ import annotations

import base64

from harness.audit.characteristics import Characteristics
from harness.report.characteristics import sections, sentences
from harness.report.characteristics_chart import characteristics_chart
from harness.report.figures import as_svg
from harness.report.page import render


def characteristics_page(findings: Characteristics, *, scores: str, facts: str, made_at: float) -> str:
    """Returns the page as HTML.

    scores, facts  names of the two files
    made_at        seconds since 1970"""
    figure = base64.b64encode(as_svg(characteristics_chart(findings)).encode()).decode()
    return render(
        "characteristics.html.j2",
        scores=scores,
        facts=facts,
        made_at=made_at,
        sentences=list(sentences(findings)),
        figure=f"data:image/svg+xml;base64,{figure}",
        sections=list(sections(findings)),
    )
