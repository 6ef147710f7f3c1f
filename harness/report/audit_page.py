"""An audit as one HTML page: the verdicts in plain words, the figures, the evidence.

Keeps: the page works offline and has no script; figures are SVG documents shown as images, which can run and
load nothing, whatever a method is named."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from harness.analysis.store_audit import ModelAudit
from harness.report import figures, plain
from harness.report.completeness import plays_lines
from harness.report.page import render
from harness.report.text import escape_control


def audit_page(models: Sequence[ModelAudit], *, store: str, made_at: float) -> str:
    """Returns the page as HTML.

    made_at   seconds since 1970"""
    return render(
        "audit.html.j2",
        store=store,
        made_at=made_at,
        reading=plain.READING,
        columns=plain.COLUMNS,
        parts=[_part(part) for part in models],
    )


def _part(part: ModelAudit) -> dict[str, object]:
    audit, replies = part.scores, part.replies
    return {
        "model": part.model,
        "opening": plain.opening(part),
        "alarm": plain.alarm(part),
        "plays": plays_lines(part.plays),
        "summaries": list(plain.summarise_methods(part)),
        "noise": plain.noise(part),
        "plan": plain.plan(part),
        "forest": _image(figures.forest(audit)),
        "heat": _image(figures.heat_map(audit)),
        "moved": [
            {"method": one.method, "figure": _image(figures.dumbbell(one, audit.reference))}
            for one in audit.comparisons
            if one.furthest
        ],
        "curves": list(_curves(part)),
        "spread": _image(figures.variance_shares(audit.spread)) if audit.spread else None,
        "pairs": _image(figures.pair_map(audit.pairs)) if len(audit.comparisons) > 1 else None,
        "comparisons": audit.comparisons,
        "evidence": [
            *(f"{one.method}: {one.sentence}" for one in audit.comparisons),
            *(f"{aside.method}: {aside.sentence}" for aside in audit.set_aside),
            *([audit.again.sentence] if audit.again else []),
            *(f"{match.method}: {match.sentence}" for match in (replies.across if replies else ())),
            *([replies.again.sentence] if replies and replies.again else []),
        ],
    }


def _curves(part: ModelAudit) -> Iterator[dict[str, str]]:
    replies = part.replies
    for match in (*([replies.again] if replies.again else []), *replies.across) if replies else ():
        if match.divergence is not None:
            curve = match.divergence
            words = (
                f"{escape_control(match.method)}: share of pairs of replies to one prompt that are equal up to "
                "each byte"
            )
            if curve.rho is not None:
                words += (
                    f". Replies of two methods diverge {curve.rho:.2f} times as often as replies of one method "
                    f"[{curve.low:.2f}, {curve.high:.2f}]"
                )
            yield {"figure": _image(figures.survival(match)), "words": words}


def _image(figure: figures.Figure) -> str:
    """Returns the figure as a data URL."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figures.as_svg(figure).encode()).decode()}"
