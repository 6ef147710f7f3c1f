"""Renders a result as one HTML page. It works offline and loads nothing.

Keeps: text of models and providers is hostile, so templates escape it, and the page's content policy allows
only the hashes of its own style and script."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.text import escape_control


def render(template: str, *, script: str = "", **values: object) -> str:
    """Renders a template with the pages' style and this script; the content policy names both by hash."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": escape_control, "day": day}
    style = resources.files("harness.report").joinpath("templates", "page.css").read_text("utf-8")
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **values,
    )


def _hash(text: str) -> str:
    """Returns the hash by which a content policy names an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def seconds(value: float | None) -> str:
    """Formats a duration: 3.2 ms, 0.41 s, 12 min."""
    if value is None:
        return "–"
    if value < 0.1:
        return f"{1000 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def day(at: float) -> str:
    """Formats a moment in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
