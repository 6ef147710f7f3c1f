"""The settings of the documentation site, which `make docs` builds from the pages of this folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]

project = "lightbulb"
author = project_copyright = "The lightbulb authors"
version = release = _metadata["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
root_doc = "index"

html_theme = "alabaster"
html_theme_options = {
    "description": "Is the same model, reached another way, still the same model?",
    "page_width": "1100px",
    "fixed_sidebar": True,
}
html_show_sourcelink = False
html_copy_source = False
